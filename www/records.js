// Records: settings and submissions, in IndexedDB.

const STORES = ["settings", "submissions"];

let opened;

function database() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open("r3mes", 1);
    request.onupgradeneeded = () => STORES.forEach((store) => request.result.createObjectStore(store));
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

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
export const record = (entry) => ask("submissions", "readwrite", (store) => store.put(entry, entry.cid));
/** All of them, the latest first. */
export async function submissions() {
  const all = await ask("submissions", "readonly", (store) => store.getAll());
  return all.sort((a, b) => b.time - a.time);
}

/** The session's key: 32 random bytes, made once. */
export async function secret() {
  const known = await setting("secret");
  if (known) return known;
  const made = crypto.getRandomValues(new Uint8Array(32));
  await remember("secret", made);
  return made;
}
