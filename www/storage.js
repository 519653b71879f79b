// Stores the visitor's settings and submissions in this browser's IndexedDB.

const VERSION = 1;
/** The largest number of stored submissions. Beyond it, the oldest ones are deleted. */
const MAX_SUBMISSIONS = 1000;

/**
 * The settings that are stored in this browser.
 *
 * @typedef {object} Settings
 * @property {number} consent when consent was given, in milliseconds since 1970
 * @property {Uint8Array<ArrayBuffer>} secret the 32-byte secret of this browser's session key
 * @property {string} payout the payout address that the visitor has entered
 * @property {string} granter the address of the account that has granted a session to this browser's session key
 * @property {number} intensity the share of the time during which to compute, from 0.05 to 1
 * @property {string} backend "auto", "gpu" or "cpu"
 * @property {boolean} battery whether to pause on battery power
 * @property {boolean} hidden whether to pause while the tab is hidden
 * @property {boolean} frames whether to pause while the page draws too slowly
 * @property {boolean} user whether to pause while someone uses the page
 * @property {number} cap the number of minutes after which mining stops, or 0 for no limit
 * @property {boolean} awake whether to keep the screen awake
 */

/**
 * A computed gradient that the miner has submitted or is about to submit, and whether it was accepted or rejected.
 *
 * @typedef {object} Submission
 * @property {string} cid the CID of the artifact, which contains the gradient
 * @property {"pending" | "accepted" | "rejected"} status
 * @property {number} time the time of the latest change of the status, in milliseconds since 1970
 * @property {string} [task] the CID of the task
 * @property {string} [receipt] the receipt as JSON
 * @property {string} [transaction] the hash of the transaction that submitted the gradient
 * @property {string} [reason] why the gradient was rejected
 * @property {string} [gradientDigest] the gradient root, a hash that identifies the gradient, in hexadecimal
 * @property {number} [loss] the mean loss in nats per token; missing for a void task
 * @property {number} [reward] the reward for the task in micro-units
 * @property {number} [balance] the balance of the payout address after the task was accepted, in micro-units
 * @property {number} [escrow] the miner's rewards in escrow after the task was accepted, in micro-units
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
 * Runs a request on an object store of the database, in a transaction. As soon as the transaction has been committed,
 * resolves to the result of the request.
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
 * Returns a stored setting, or `undefined` if the setting is not stored.
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
 * Returns the 32-byte secret of this browser's session key. If none is stored yet, creates a random one and stores it.
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
 * Returns a stored submission, or `undefined` if there is none with this CID.
 * @param {string} cid the CID of the artifact
 * @returns {Promise<Submission | undefined>}
 */
export const loadSubmission = (cid) => transact("submissions", "readonly", (store) => store.get(cid));

/**
 * Stores a submission. It replaces the stored submission with the same CID, if there is one. If more than 1000 are
 * stored afterwards, the oldest ones are deleted.
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
 * Returns the stored submissions, latest first.
 * @param {number} [limit] the largest number of submissions to return; by default, all are returned
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
