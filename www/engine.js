// The engine, as the page sees it: promises instead of messages.

/** A worker with the engine inside. `terminate()` stops it, whatever it does. */
export class Engine {
  #worker = open();
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

  /** Recomputes a receipt's gradient: `{ ok, reason, cid, gradientDigest, … }`. `options`: `{ node, backend }`. */
  verify(receipt, options, tell) {
    return this.call("verify", [receipt, options], tell);
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

/** The worker. Browsers load one from the page's own origin only: on another site's page, a blob imports it. */
function open() {
  const url = new URL("./worker.js", import.meta.url);
  if (url.origin === location.origin) return new Worker(url, { type: "module" });
  const blob = URL.createObjectURL(new Blob([importer(url.href)], { type: "text/javascript" }));
  const worker = new Worker(blob, { type: "module" });
  worker.addEventListener("message", () => URL.revokeObjectURL(blob), { once: true });
  return worker;
}

/**
 * A module that imports another by `import()`, which the site's script-src is asked about: a plain import would be
 * worker-src's affair. What is said to it meanwhile it says again.
 */
function importer(url) {
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
