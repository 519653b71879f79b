// The engine, as the page sees it: promises instead of messages.

/** A worker with the engine inside. `terminate()` stops it, whatever it does. */
export class Engine {
  #worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  #pending = new Map();
  #last = 0;

  /** `crashed` hears of a worker that broke outside of any call. */
  constructor(crashed = () => {}) {
    this.#worker.addEventListener("message", ({ data }) => {
      const call = this.#pending.get(data.id);
      if (data.event) return call?.tell?.(data.event);
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

  /** Has products and steps checked and ready to be timed; `tell` hears `BenchEvent`s. */
  bench(options, tell) {
    return this.call("bench", [options], tell);
  }

  /** Times everything that `bench` made ready, once. */
  round(tell) {
    return this.call("round", [], tell);
  }

  /** Calls a function of the worker. */
  call(call, given = [], tell = undefined) {
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject, tell });
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
