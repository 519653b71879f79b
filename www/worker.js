// The worker: loads the engine and calls its functions for the page.
//
// In:  { id, call, arguments }. Out: { id, event } any number of times, then { id, result } or { id, error }.

import init, * as engine from "./r3mes_www.js";

const loaded = init();

const calls = {
  devices: () => engine.devices(),
  check: (backend, tell) => engine.check(backend, tell),
};

self.addEventListener("message", async ({ data: { id, call, arguments: given = [] } }) => {
  try {
    await loaded;
    const result = await calls[call](...given, (event) => self.postMessage({ id, event }));
    self.postMessage({ id, result });
  } catch (error) {
    self.postMessage({ id, error: String(error?.message ?? error) });
  }
});
