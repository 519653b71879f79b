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
      if ("error" in data) call?.reject(Object.assign(new Error(data.error), { name: data.name }));
      else call?.resolve(data.result);
    });
    this.#worker.addEventListener("error", (event) => {
      const message = event.message || "the worker could not be loaded";
      const error = Object.assign(new Error(message), { name: "Crash" });
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
