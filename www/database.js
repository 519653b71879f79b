// The storage of settings and submissions in this browser's IndexedDB.

/** @import { Settings, Submission, Store } from "./storage.js" */

const VERSION = 1;

/**
 * An open database.
 * @implements {Store}
 */
export class Database {
  #database;

  /** @param {IDBDatabase} database */
  constructor(database) {
    this.#database = database;
  }

  /**
   * Opens the database, and creates it if there is none. Rejects if the browser lets the page store nothing.
   * @returns {Promise<Database>}
   */
  static open() {
    return new Promise((resolve, reject) => {
      const request = indexedDB.open("r3mes", VERSION);
      request.onupgradeneeded = () => {
        request.result.createObjectStore("settings");
        request.result.createObjectStore("submissions", { keyPath: "cid" }).createIndex("time", "time");
      };
      request.onsuccess = () => resolve(new Database(request.result));
      request.onerror = () => reject(request.error);
    });
  }

  /**
   * @template {keyof Settings} Name
   * @param {Name} name
   * @returns {Promise<Settings[Name] | undefined>}
   */
  loadSetting(name) {
    return this.#transact("settings", "readonly", (store) => store.get(name));
  }

  /**
   * @template {keyof Settings} Name
   * @param {Name} name
   * @param {Settings[Name]} value
   */
  async saveSetting(name, value) {
    await this.#transact("settings", "readwrite", (store) => store.put(value, name));
  }

  /** @param {keyof Settings} name */
  async deleteSetting(name) {
    await this.#transact("settings", "readwrite", (store) => store.delete(name));
  }

  /**
   * @param {string} cid
   * @returns {Promise<Submission | undefined>}
   */
  loadSubmission(cid) {
    return this.#transact("submissions", "readonly", (store) => store.get(cid));
  }

  /**
   * @param {Submission} submission
   * @param {number} max
   */
  async saveSubmission(submission, max) {
    await this.#transact("submissions", "readwrite", (store) => {
      const put = store.put(submission);
      const count = store.count();
      count.onsuccess = () => {
        let surplus = count.result - max;
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

  /** @param {number} limit */
  async listSubmissions(limit) {
    /** @type {Submission[]} */
    const found = [];
    await this.#transact("submissions", "readonly", (store) => {
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

  /**
   * Runs a request on an object store of the database, in a transaction. As soon as the transaction has been
   * committed, resolves to the result of the request.
   * @template Result
   * @param {"settings" | "submissions"} name
   * @param {"readonly" | "readwrite"} mode
   * @param {(store: IDBObjectStore) => IDBRequest<Result>} makeRequest
   * @returns {Promise<Result>}
   */
  #transact(name, mode, makeRequest) {
    const transaction = this.#database.transaction(name, mode);
    const request = makeRequest(transaction.objectStore(name));
    return new Promise((resolve, reject) => {
      transaction.oncomplete = () => resolve(request.result);
      transaction.onerror = transaction.onabort = () => reject(transaction.error);
    });
  }
}
