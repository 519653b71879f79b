// Settings and submissions of this browser, in IndexedDB.

const VERSION = 1;
/** Largest number of stored submissions. */
const MAX_SUBMISSIONS = 1000;

/**
 * The stored settings.
 *
 * @typedef {object} Settings
 * @property {number} consent when consent was given, in milliseconds since 1970
 * @property {Uint8Array<ArrayBuffer>} secret the 32-byte secret of this browser's session key
 * @property {string} payout the payout address that was entered
 * @property {string} granter the address of the account that granted a session to the session key
 * @property {number} intensity the share of time to compute, 0.05 to 1
 * @property {string} backend "auto", "gpu" or "cpu"
 * @property {boolean} battery whether to pause on battery power
 * @property {boolean} hidden whether to pause while the tab is hidden
 * @property {boolean} frames whether to pause while the page draws too slowly
 * @property {boolean} user whether to pause while someone uses the page
 * @property {number} cap minutes after which mining stops; 0 for no limit
 * @property {boolean} awake whether to keep the screen awake
 */

/**
 * A computed task and its result.
 *
 * @typedef {object} Submission
 * @property {string} cid the CID of the artifact
 * @property {"pending" | "accepted" | "rejected"} status
 * @property {number} time when the status changed, in milliseconds since 1970
 * @property {string} [task] the CID of the task
 * @property {string} [receipt] the receipt as JSON
 * @property {string} [transaction] the hash of the submitting transaction
 * @property {string} [reason] why it was rejected
 * @property {string} [gradientDigest]
 * @property {number} [loss] mean loss in nats; missing for a void task
 * @property {number} [reward] micro-units
 * @property {number} [balance] micro-units that the payout address had when the task was accepted
 * @property {number} [escrow] micro-units that were held back when the task was accepted
 */

/** @type {Promise<IDBDatabase> | undefined} */
let database;

function openDatabase() {
  database ??= new Promise((resolve, reject) => {
    const request = indexedDB.open("r3mes", VERSION);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("settings");
      request.result.createObjectStore("submissions", { keyPath: "cid" }).createIndex("time", "time");
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return database;
}

/**
 * Runs a request on an object store. Resolves to its result after the whole transaction has been committed.
 * @template Result
 * @param {"settings" | "submissions"} store
 * @param {"readonly" | "readwrite"} mode
 * @param {(store: IDBObjectStore) => IDBRequest<Result>} makeRequest
 * @returns {Promise<Result>}
 */
async function transact(store, mode, makeRequest) {
  const transaction = (await openDatabase()).transaction(store, mode);
  const request = makeRequest(transaction.objectStore(store));
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve(request.result);
    transaction.onerror = transaction.onabort = () => reject(transaction.error);
  });
}

/**
 * Returns a setting, or `undefined` if it was never stored.
 * @template {keyof Settings} Name
 * @param {Name} name
 * @returns {Promise<Settings[Name] | undefined>}
 */
export const loadSetting = (name) => transact("settings", "readonly", (store) => store.get(name));

/**
 * Stores a setting.
 * @template {keyof Settings} Name
 * @param {Name} name
 * @param {Settings[Name]} value
 */
export async function saveSetting(name, value) {
  await transact("settings", "readwrite", (store) => store.put(value, name));
}

/**
 * Deletes a setting.
 * @param {keyof Settings} name
 */
export async function deleteSetting(name) {
  await transact("settings", "readwrite", (store) => store.delete(name));
}

/**
 * Returns the 32-byte secret of this browser's session key. The first call creates it at random.
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 */
export async function sessionSecret() {
  const stored = await loadSetting("secret");
  if (stored) return stored;
  const created = crypto.getRandomValues(new Uint8Array(32));
  await saveSetting("secret", created);
  return created;
}

/**
 * Returns the submission with this artifact CID, or `undefined` if there is none.
 * @param {string} cid
 * @returns {Promise<Submission | undefined>}
 */
export const loadSubmission = (cid) => transact("submissions", "readonly", (store) => store.get(cid));

/**
 * Stores a submission; replaces the one with the same CID. Deletes the oldest submissions if there are more than 1000.
 * @param {Submission} submission
 */
export async function saveSubmission(submission) {
  await transact("submissions", "readwrite", (store) => {
    const put = store.put(submission);
    const count = store.count();
    count.onsuccess = () => {
      let surplus = count.result - MAX_SUBMISSIONS;
      if (surplus <= 0) return;
      const oldest = store.index("time").openCursor();
      oldest.onsuccess = () => {
        if (!oldest.result || surplus <= 0) return;
        surplus -= 1;
        oldest.result.delete();
        oldest.result.continue();
      };
    };
    return put;
  });
}

/**
 * Returns the submissions, latest first: all of them, or at most `limit`.
 * @param {number} [limit]
 */
export async function listSubmissions(limit = Infinity) {
  /** @type {Submission[]} */
  const found = [];
  await transact("submissions", "readonly", (store) => {
    const request = store.index("time").openCursor(null, "prev");
    request.onsuccess = () => {
      const cursor = request.result;
      if (!cursor || found.length >= limit) return;
      found.push(cursor.value);
      cursor.continue();
    };
    return request;
  });
  return found;
}
