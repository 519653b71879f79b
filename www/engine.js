// The page's access to the engine. The engine runs in a Web Worker, so each of its functions returns a promise.

/** @import { BenchEvent, BenchOptions, CheckEvent, ProgressEvent, VerifyOptions } from "./r3mes_www.js" */
/** @import { Calls, Message } from "./worker.js" */

/**
 * For each function of the worker, the type of its arguments.
 * @typedef {{ [Name in keyof Calls]: Parameters<Calls[Name]> extends [infer Args, ...unknown[]] ? Args : [] }} Arguments
 */

/**
 * For each function of the worker that reports events, the type of its event listener.
 * @typedef {{ [Name in keyof Calls]: Parameters<Calls[Name]>[1] }} Listeners
 */

/** The engine, in a Web Worker of its own. */
export class Engine {
  #worker = openWorker();
  /** @type {Map<number, { resolve: (result: unknown) => void, reject: (error: Error) => void }>} */
  #pending = new Map();
  /**
   * The event listeners: maps the ID of a call to the listener that was passed with the call. A listener is kept after
   * the call has returned, because a miner reports events until it stops.
   * @type {Map<number, (event: unknown) => void>}
   */
  #listeners = new Map();
  #lastId = 0;

  /** @param {(error: Error) => void} [onCrash] called if the worker cannot be loaded, or throws outside of a call */
  constructor(onCrash = () => {}) {
    /** @type {(error: Error) => void} */
    const crash = (error) => {
      this.#rejectPending(error);
      onCrash(error);
    };
    this.#worker.addEventListener("message", async ({ data }) =>
      "unloaded" in data ? crash(await loadError()) : this.#receive(data),
    );
    // browsers report a script that they could not load without a message
    this.#worker.addEventListener("error", async ({ message }) =>
      crash(message ? namedError("Crash", message) : await loadError()),
    );
  }

  /** Lists the GPUs that the browser offers. */
  devices() {
    return this.call("devices", []);
  }

  /**
   * Tests a backend against the known answers (expected outputs) of all kernels and the golden digests (expected
   * hashes) of training. Resolves to whether all results are correct.
   * @param {"cpu" | "gpu"} backend
   * @param {(event: CheckEvent) => void} onEvent called with each result
   */
  check(backend, onEvent) {
    return this.call("check", [backend], onEvent);
  }

  /**
   * Recomputes the gradient of a receipt, and compares every bit with the gradient in the artifact whose CID the
   * receipt states. Resolves to the verdict.
   * @param {string | object} receipt JSON text, or the object that it parses to
   * @param {VerifyOptions} options
   * @param {(event: ProgressEvent) => void} [onEvent]
   */
  verify(receipt, options, onEvent) {
    return this.call("verify", [receipt, options], onEvent);
  }

  /**
   * Prepares a benchmark: sets up the matrix products and training steps that are timed, and checks the results of the
   * products.
   * @param {BenchOptions} options
   * @param {(event: BenchEvent) => void} onEvent
   */
  bench(options, onEvent) {
    return this.call("bench", [options], onEvent);
  }

  /**
   * Times each matrix product and training step that `bench` has prepared. Each is timed once.
   * @param {(event: BenchEvent) => void} onEvent
   */
  round(onEvent) {
    return this.call("round", [], onEvent);
  }

  /**
   * Calls a function of the worker. Resolves to its result, or rejects with its error.
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

  /** Stops the worker immediately, even during a computation. The promises of pending calls are rejected. */
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
 * Creates an error whose name says what failed. `Session` uses the name to decide whether to restart the engine.
 * @param {string} name
 * @param {string} message
 */
function namedError(name, message) {
  return Object.assign(new Error(message), { name });
}

/**
 * Returns the error of an engine whose script could not be loaded. The error says whether the server of the script can
 * be reached, and has the same name as that of an offline node if not.
 */
async function loadError() {
  const module = import.meta.url.startsWith("http") ? import.meta.url : location.href;
  try {
    await fetch(module, { method: "HEAD", cache: "no-store" });
  } catch {
    const { host } = new URL(module);
    const advice = "Check that the server is running and that this device is online";
    return namedError("Offline", `The miner's program could not be loaded from ${host}. ${advice}`);
  }
  return namedError("Crash", "The miner's program could not be started. Reload the page, and use a current browser");
}

/**
 * Starts the worker. A page of another origin than this module cannot load the worker's script directly, so it loads a
 * blob that imports the script.
 * @param {string} module the URL of this module
 */
export function openWorker(module = import.meta.url) {
  const { origin, protocol } = new URL(module);
  if (origin === location.origin || !protocol.startsWith("http")) {
    // bundlers find the worker by this expression
    return new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  }
  const blob = URL.createObjectURL(
    new Blob([importerSource(new URL("worker.js", module).href)], { type: "text/javascript" }),
  );
  const worker = new Worker(blob, { type: "module" });
  worker.addEventListener("message", () => URL.revokeObjectURL(blob), { once: true });
  return worker;
}

/**
 * Returns the source code of a worker that imports the module at `url`. The import is dynamic: the site's Content
 * Security Policy then only needs to allow the module in `script-src`, whereas a static import would need `worker-src`.
 * Messages that arrive during the import are delivered to the module afterwards. If the module cannot be loaded, the
 * worker says so by the message `{ unloaded: true }`.
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
      (error) => (error instanceof TypeError ? postMessage({ unloaded: true }) : setTimeout(() => { throw error; })),
    );`;
}
