// The engine as the page sees it: a worker whose functions return promises.

/** @import { BenchEvent, BenchOptions, CheckEvent, ProgressEvent, VerifyOptions } from "./r3mes_www.js" */
/** @import { Calls, Message } from "./worker.js" */

/**
 * The arguments of each function of the worker.
 * @typedef {{ [Name in keyof Calls]: Parameters<Calls[Name]> extends [infer Args, ...unknown[]] ? Args : [] }} Arguments
 */

/**
 * The event listener of each function of the worker, for those that report events.
 * @typedef {{ [Name in keyof Calls]: Parameters<Calls[Name]>[1] }} Listeners
 */

/** A worker that runs the engine. */
export class Engine {
  #worker = openWorker();
  /** @type {Map<number, { resolve: (result: unknown) => void, reject: (error: Error) => void }>} */
  #pending = new Map();
  /**
   * Event listeners by the ID of their call. They stay after the call has returned, because a miner reports events
   * until it stops.
   * @type {Map<number, (event: unknown) => void>}
   */
  #listeners = new Map();
  #lastId = 0;

  /** @param {(error: Error) => void} [onCrash] called if the worker cannot be loaded or throws outside of a call */
  constructor(onCrash = () => {}) {
    this.#worker.addEventListener("message", ({ data }) => this.#receive(data));
    this.#worker.addEventListener("error", (event) => {
      const error = namedError("Crash", event.message || "the worker could not be loaded");
      this.#rejectPending(error);
      onCrash(error);
    });
  }

  /** Lists the GPUs that the browser offers. */
  devices() {
    return this.call("devices", []);
  }

  /**
   * Runs the known answers and the golden digests on a backend; resolves to whether all are correct.
   * @param {"cpu" | "gpu"} backend
   * @param {(event: CheckEvent) => void} onEvent called with each result
   */
  check(backend, onEvent) {
    return this.call("check", [backend], onEvent);
  }

  /**
   * Recomputes the gradient of a receipt and compares every bit.
   * @param {string | object} receipt JSON text, or the object that it parses to
   * @param {VerifyOptions} options
   * @param {(event: ProgressEvent) => void} [onEvent]
   */
  verify(receipt, options, onEvent) {
    return this.call("verify", [receipt, options], onEvent);
  }

  /**
   * Prepares a benchmark: checks the result of every product and step before it is timed.
   * @param {BenchOptions} options
   * @param {(event: BenchEvent) => void} onEvent
   */
  bench(options, onEvent) {
    return this.call("bench", [options], onEvent);
  }

  /**
   * Times everything that `bench` prepared, once.
   * @param {(event: BenchEvent) => void} onEvent
   */
  round(onEvent) {
    return this.call("round", [], onEvent);
  }

  /**
   * Calls a function of the worker.
   * @template {keyof Calls} Name
   * @param {Name} name
   * @param {Arguments[Name]} args
   * @param {Listeners[Name]} [onEvent]
   * @returns {Promise<Awaited<ReturnType<Calls[Name]>>>}
   */
  call(name, args, onEvent) {
    const id = ++this.#lastId;
    if (onEvent) this.#listeners.set(id, /** @type {(event: unknown) => void} */ (onEvent));
    const result = new Promise((resolve, reject) => this.#pending.set(id, { resolve, reject }));
    this.#worker.postMessage({ id, call: name, arguments: args });
    return /** @type {Promise<Awaited<ReturnType<Calls[Name]>>>} */ (result);
  }

  /** Stops the worker immediately, whatever it is doing. Pending calls are rejected. */
  terminate() {
    this.#worker.terminate();
    this.#rejectPending(new Error("the engine was stopped"));
  }

  /** @param {Message} message */
  #receive(message) {
    if ("event" in message) {
      this.#listeners.get(message.id)?.(message.event);
      return;
    }
    const call = this.#pending.get(message.id);
    this.#pending.delete(message.id);
    if ("error" in message) call?.reject(namedError(message.name, message.error));
    else call?.resolve(message.result);
  }

  /** @param {Error} error */
  #rejectPending(error) {
    for (const call of this.#pending.values()) call.reject(error);
    this.#pending.clear();
  }
}

/**
 * Creates an error whose name tells the caller what failed: `Session` decides by it whether to restart.
 * @param {string} name
 * @param {string} message
 */
function namedError(name, message) {
  return Object.assign(new Error(message), { name });
}

/** Opens the worker. A page of another origin cannot load it directly, so such a page loads a blob that imports it. */
function openWorker() {
  const url = new URL("./worker.js", import.meta.url);
  if (url.origin === location.origin) return new Worker(url, { type: "module" });
  const blob = URL.createObjectURL(new Blob([importerSource(url.href)], { type: "text/javascript" }));
  const worker = new Worker(blob, { type: "module" });
  worker.addEventListener("message", () => URL.revokeObjectURL(blob), { once: true });
  return worker;
}

/**
 * Returns the source of a module that imports another one. It uses `import()`, which the site's `script-src` governs; a
 * static import would be governed by `worker-src`. Messages that arrive during the import are dispatched again
 * afterwards.
 * @param {string} url
 */
function importerSource(url) {
  return `
    const early = [];
    const keep = (event) => early.push(event.data);
    addEventListener("message", keep);
    import(${JSON.stringify(url)}).then(
      () => {
        removeEventListener("message", keep);
        for (const data of early) dispatchEvent(new MessageEvent("message", { data }));
      },
      (error) => setTimeout(() => { throw error; }),
    );`;
}
