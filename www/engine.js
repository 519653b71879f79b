// The engine, as the page sees it: promises instead of messages.

/** A worker with the engine inside. `terminate()` stops it, whatever it does. */
export class Engine {
  #worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  #pending = new Map();
  /** By call; they outlive it, since a miner tells of its work long after it was created. */
  #listeners = new Map();
  #last = 0;

  /** `crashed` hears of a worker that broke outside of any call. */
  constructor(crashed = () => {}) {
    this.#worker.addEventListener("message", ({ data }) => {
      if (data.event) return this.#listeners.get(data.id)?.(data.event);
      const call = this.#pending.get(data.id);
      this.#pending.delete(data.id);
      if ("error" in data) call?.reject(new Error(data.error));
      else call?.resolve(data.result);
    });
    this.#worker.addEventListener("error", (event) => {
      const error = new Error(event.message || "the worker could not be loaded");
      this.#fail(error);
      crashed(error);
    });
  }

  /** The GPUs that the browser offers. */
  devices() {
    return this.call("devices", []);
  }

  /** Known answers and golden digests of "cpu" or "gpu", told as they come. */
  check(backend, tell) {
    return this.call("check", [backend], tell);
  }

  /** Calls a function of the worker. */
  call(call, given = [], tell = undefined) {
    const id = ++this.#last;
    if (tell) this.#listeners.set(id, tell);
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.#worker.postMessage({ id, call, arguments: given });
    });
  }

  terminate() {
    this.#worker.terminate();
    this.#fail(new Error("stopped"));
  }

  #fail(error) {
    for (const call of this.#pending.values()) call.reject(error);
    this.#pending.clear();
  }
}
