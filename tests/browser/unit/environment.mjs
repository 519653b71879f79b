// Replacements in Node for what the page's modules need of a browser: a document, storage, and workers whose answers
// the test decides.

/** @import { MinerEvent } from "../../../www/r3mes_www.js" */
/** @import { Message, Request } from "../../../www/worker.js" */

/** Node's own `Event`, which its `EventTarget` requires; `installPage` replaces the global one. */
const NodeEvent = globalThis.Event;

/** The origin of the page. */
export const ORIGIN = "http://127.0.0.1:7717";

/** A worker of the page. It answers calls with the results in `answers`, and records the calls. */
export class FakeWorker extends EventTarget {
  /** @type {FakeWorker[]} every worker since the test began */
  static opened = [];
  /**
   * Results of the worker's functions by name. A call of another function stays pending.
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

  /** The newest worker. */
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
   * Reports an event of the miner.
   * @param {MinerEvent} event
   */
  report(event) {
    this.send({ id: this.#idOf("create"), event });
  }

  /**
   * Answers the latest call of a function with an error.
   * @param {string} call
   * @param {string} name
   * @param {string} error
   */
  fail(call, name, error) {
    this.send({ id: this.#idOf(call), error, name });
  }

  /**
   * Answers the latest call of a function.
   * @param {string} call
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
 * Defines a global, also one that Node defines itself.
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

/** Defines `indexedDB`, empty. */
export async function installStorage() {
  const { IDBFactory, IDBKeyRange } = await import("fake-indexeddb");
  setGlobal("indexedDB", new IDBFactory());
  setGlobal("IDBKeyRange", IDBKeyRange);
}

/**
 * Defines a document with this body, its classes and functions, workers, and storage.
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
  // the element's interval and its frame counter must not keep the process of a test alive
  const { setInterval } = globalThis;
  setGlobal("setInterval", (/** @type {() => void} */ work, /** @type {number} */ ms) => setInterval(work, ms).unref());
  setGlobal("requestAnimationFrame", () => 0);
  window.document.body.innerHTML = body;
  installWorkers();
  await installStorage();
}

/** Lets everything run that waits for no timer: promises, answers of workers, and requests to the storage. */
export async function settle() {
  for (let turn = 0; turn < 500; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}
