// Emulates in Node what the page's modules need from a browser: a document, storage, and Web Workers. The tests
// determine the answers of the Web Workers.

/** @import { MinerEvent } from "../../../www/r3mes_www.js" */
/** @import { Message, Request } from "../../../www/worker.js" */

/** Node's own `Event`, which its `EventTarget` requires; `installPage` replaces the global one. */
const NodeEvent = globalThis.Event;

/** The origin of the page. */
export const ORIGIN = "http://127.0.0.1:7717";

/** A Web Worker of the page. It records all calls, and answers them with the results of the functions in `answers`. */
export class FakeWorker extends EventTarget {
  /** @type {FakeWorker[]} all Web Workers that the page has opened since the test began */
  static opened = [];
  /**
   * The emulated functions of the Web Worker. A key is the name of such a function, and its value computes the result
   * of a call. If the page calls a function that has no entry here, the call stays pending.
   * @type {Record<string, (worker: FakeWorker) => unknown>}
   */
  static answers = {};

  /** @type {Request[]} the calls so far */
  calls = [];
  terminated = false;

  constructor() {
    super();
    FakeWorker.opened.push(this);
  }

  /** The Web Worker that was opened last. */
  static get latest() {
    const worker = FakeWorker.opened.at(-1);
    if (!worker) throw new Error("no worker was opened");
    return worker;
  }

  /** The names of the functions called so far. */
  get called() {
    return this.calls.map(({ call }) => call);
  }

  /** @param {Request} request */
  postMessage(request) {
    this.calls.push(request);
    const answer = FakeWorker.answers[request.call];
    if (answer) Promise.resolve().then(() => this.send({ id: request.id, result: answer(this) }));
  }

  terminate() {
    this.terminated = true;
  }

  /** @param {Message} message */
  send(message) {
    this.dispatchEvent(Object.assign(new NodeEvent("message"), { data: message }));
  }

  /**
   * Sends an event of the miner to the page.
   * @param {MinerEvent} event
   */
  report(event) {
    this.send({ id: this.#idOf("create"), event });
  }

  /**
   * Answers the latest call of a function with an error.
   * @param {string} call the name of the function
   * @param {string} name the name of the error
   * @param {string} error the message of the error
   */
  fail(call, name, error) {
    this.send({ id: this.#idOf(call), error, name });
  }

  /**
   * Answers the latest call of a function with a result.
   * @param {string} call the name of the function
   * @param {unknown} [result]
   */
  resolve(call, result) {
    this.send({ id: this.#idOf(call), result });
  }

  /** @param {string} call */
  #idOf(call) {
    const request = this.calls.findLast((request) => request.call === call);
    if (!request) throw new Error(`${call} was not called`);
    return request.id;
  }
}

/**
 * Defines a global variable, or replaces it if Node itself defines it.
 * @param {string} name
 * @param {unknown} value
 */
export function setGlobal(name, value) {
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
}

/** Defines `Worker`, `location`, and a `navigator` without locks, batteries or storage. */
export function installWorkers() {
  setGlobal("Worker", FakeWorker);
  setGlobal("location", new URL(ORIGIN));
  setGlobal("navigator", { userAgent: "test" });
}

/** Defines an empty `indexedDB`. */
export async function installStorage() {
  const { IDBFactory, IDBKeyRange } = await import("fake-indexeddb");
  setGlobal("indexedDB", new IDBFactory());
  setGlobal("IDBKeyRange", IDBKeyRange);
}

/**
 * Defines the globals of a page: a document with this body, the classes and functions of the DOM, Web Workers, and
 * empty storage.
 * @param {string} body HTML
 */
export async function installPage(body) {
  const { Window } = await import("happy-dom");
  const window = new Window({ url: `${ORIGIN}/` });
  for (const name of Object.getOwnPropertyNames(window)) {
    if (!(name in globalThis)) setGlobal(name, Reflect.get(window, name));
  }
  for (const name of ["document", "Event", "CustomEvent", "EventTarget", "FormData"]) {
    setGlobal(name, Reflect.get(window, name));
  }
  setGlobal("window", window);
  setGlobal("parent", window);
  setGlobal("addEventListener", window.addEventListener.bind(window));
  // neither the element's timer nor its measurement of the frame rate may keep the process of a test alive
  const { setInterval } = globalThis;
  setGlobal("setInterval", (/** @type {() => void} */ work, /** @type {number} */ ms) => setInterval(work, ms).unref());
  setGlobal("requestAnimationFrame", () => 0);
  window.document.body.innerHTML = body;
  installWorkers();
  await installStorage();
}

/** Waits until all work that needs no timer is done: promises, answers of Web Workers, and requests to storage. */
export async function settle() {
  for (let turn = 0; turn < 500; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}
