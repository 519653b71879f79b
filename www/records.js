// Records: settings and submissions, in IndexedDB.

const VERSION = 1;
/** Submissions that are kept. */
const KEPT = 1000;

let opened;

function database() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open("r3mes", VERSION);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("settings");
      request.result.createObjectStore("submissions", { keyPath: "cid" }).createIndex("time", "time");
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

/** Runs `work` on a store; resolves to its request's result once all of it is on disk. */
async function ask(store, mode, work) {
  const transaction = (await database()).transaction(store, mode);
  const request = work(transaction.objectStore(store));
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve(request.result);
    transaction.onerror = transaction.onabort = () => reject(transaction.error);
  });
}

export const setting = (name) => ask("settings", "readonly", (store) => store.get(name));
export const remember = (name, value) => ask("settings", "readwrite", (store) => store.put(value, name));
export const forget = (name) => ask("settings", "readwrite", (store) => store.delete(name));

/** `{ cid, status, time, … }` by the artifact's CID. */
export const submission = (cid) => ask("submissions", "readonly", (store) => store.get(cid));

/** Keeps a submission, and forgets the oldest of too many. */
export async function record(entry) {
  await ask("submissions", "readwrite", (store) => {
    store.count().onsuccess = ({ target }) => {
      let surplus = target.result - KEPT;
      if (surplus <= 0) return;
      store.index("time").openCursor().onsuccess = ({ target: { result: cursor } }) => {
        if (!cursor || surplus-- <= 0) return;
        cursor.delete();
        cursor.continue();
      };
    };
    return store.put(entry);
  });
}

/** The latest ones first; all of them where no number is given. */
export async function submissions(most = Infinity) {
  const found = [];
  await ask("submissions", "readonly", (store) => {
    const request = store.index("time").openCursor(null, "prev");
    request.onsuccess = () => {
      const cursor = request.result;
      if (!cursor || found.length >= most) return;
      found.push(cursor.value);
      cursor.continue();
    };
    return request;
  });
  return found;
}

/** The session's key: 32 random bytes, made once. */
export async function secret() {
  const known = await setting("secret");
  if (known) return known;
  const made = crypto.getRandomValues(new Uint8Array(32));
  await remember("secret", made);
  return made;
}
