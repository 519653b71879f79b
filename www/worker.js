// The worker: loads the engine and calls its functions for the page.
//
// In:  { id, call, arguments }. Out: { id, event } any number of times, then { id, result } or { id, error, name }.

import init, * as engine from "./r3mes_www.js";
import { openCache } from "./cache.js";

const loaded = init();
/** The one miner of this worker. */
let miner;
/** What this worker times. */
let bench;

const calls = {
  devices: () => engine.devices(),
  check: (backend, tell) => engine.check(backend, tell),
  verify: async (receipt, options, tell) => engine.verify(receipt, { ...options, cache: await openCache() }, tell),
  async bench(options, tell) {
    bench?.free();
    bench = undefined;
    bench = await engine.Bench.create(options, tell);
  },
  round: (tell) => bench.round(tell),
  async create(options, tell) {
    miner?.stop();
    miner = await engine.Miner.create({ ...options, cache: await openCache() }, tell);
    return miner.address;
  },
  start: () => miner.start(),
  pause: () => miner?.pause(),
  resume: () => miner?.resume(),
  finish: () => miner?.finish(),
  sessionAddress: (secret) => engine.sessionAddress(secret),
  addressOf: (publicKey) => engine.addressOf(publicKey),
  sessionGrant: (options) => engine.sessionGrant(options),
  sessionRevoke: (options) => engine.sessionRevoke(options),
  assemble: (body, info, signature) => engine.assemble(body, info, signature),
  openingStatement: (opening) => engine.openingStatement(opening),
  openSession: (opening, carried) => engine.openSession(opening, carried),
  closingStatement: (closing) => engine.closingStatement(closing),
  closeSession: (closing, carried) => engine.closeSession(closing, carried),
  setIntensity: (share) => miner?.setIntensity(share),
};

self.addEventListener("message", async ({ data: { id, call, arguments: given = [] } }) => {
  try {
    await loaded;
    const result = await calls[call](...given, (event) => self.postMessage({ id, event }));
    self.postMessage({ id, result });
  } catch (error) {
    self.postMessage({ id, error: String(error?.message ?? error), name: error?.name ?? "Error" });
  }
});
