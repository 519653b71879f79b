// The script of the Web Worker that runs the engine: it loads the engine and calls the engine's functions for the page.
//
// For each call, the page sends a `Request`. The worker answers with any number of event messages, and with one result
// or one error. The miner reports events even after the call that created it has returned.

import init, * as engine from "./r3mes_www.js";
import { openBlockCache } from "./block-cache.js";

/** @import { BenchEvent, BenchOptions, CheckEvent, MinerEvent, MinerOptions } from "./r3mes_www.js" */
/** @import { ProgressEvent, VerifyOptions } from "./r3mes_www.js" */

/** @typedef {typeof calls} Calls the functions that the page can call */
/** @typedef {{ id: number, call: keyof Calls, arguments: unknown }} Request */
/** @typedef {{ id: number, event: unknown }} EventMessage */
/** @typedef {{ id: number, result: unknown }} ResultMessage */
/** @typedef {{ id: number, error: string, name: string }} ErrorMessage */
/** @typedef {EventMessage | ResultMessage | ErrorMessage} Message */

/**
 * A function that receives the events of a call.
 * @template Event
 * @typedef {(event: Event) => void} Listener
 */

const loaded = init().catch((error) => {
  // `fetch` fails with a TypeError
  if (!(error instanceof TypeError)) throw error;
  const message = `The miner's WebAssembly file could not be loaded (${error.message}). Check that its server is running`;
  throw Object.assign(new Error(message), { name: "Offline" });
});
/** @type {engine.Miner | undefined} the miner; a worker has at most one */
let miner;
/** @type {engine.Bench | undefined} the prepared benchmark; a worker has at most one */
let bench;

/** The functions that the page can call. Each takes its arguments as an array, and a listener if it reports events. */
const calls = {
  devices: () => engine.devices(),

  /** @type {(args: ["cpu" | "gpu"], onEvent: Listener<CheckEvent>) => Promise<boolean>} */
  check: ([backend], onEvent) => engine.check(backend, onEvent),

  /** @type {(args: [string | object, VerifyOptions], onEvent?: Listener<ProgressEvent>) => Promise<engine.Verdict>} */
  verify: async ([receipt, options], onEvent) =>
    engine.verify(receipt, { ...options, cache: await openBlockCache() }, onEvent),

  /** @type {(args: [BenchOptions], onEvent: Listener<BenchEvent>) => Promise<void>} */
  async bench([options], onEvent) {
    bench?.free();
    bench = undefined;
    bench = await engine.Bench.create(options, onEvent);
  },

  /** @type {(args: [], onEvent: Listener<BenchEvent>) => Promise<void>} */
  async round(_, onEvent) {
    if (!bench) throw new Error("no benchmark is prepared");
    await bench.round(onEvent);
  },

  /**
   * Creates the miner, after stopping an earlier one. Resolves to the address of the miner's session key.
   * @type {(args: [MinerOptions], onEvent: Listener<MinerEvent>) => Promise<string>}
   */
  async create([options], onEvent) {
    miner?.stop();
    miner = await engine.Miner.create({ ...options, cache: await openBlockCache() }, onEvent);
    return miner.address;
  },

  async start() {
    if (!miner) throw new Error("no miner was created");
    await miner.start();
  },
  pause: () => miner?.pause(),
  resume: () => miner?.resume(),
  finish: () => miner?.finish(),

  /** @type {(args: [number]) => void} */
  setIntensity: ([share]) => miner?.setIntensity(share),

  /** @type {(args: Parameters<typeof engine.sessionAddress>) => string} */
  sessionAddress: (args) => engine.sessionAddress(...args),
  /** @type {(args: Parameters<typeof engine.addressOf>) => string} */
  addressOf: (args) => engine.addressOf(...args),
  /** @type {(args: Parameters<typeof engine.sessionGrant>) => engine.Unsigned} */
  sessionGrant: (args) => engine.sessionGrant(...args),
  /** @type {(args: Parameters<typeof engine.sessionRevoke>) => engine.Unsigned} */
  sessionRevoke: (args) => engine.sessionRevoke(...args),
  /** @type {(args: Parameters<typeof engine.assemble>) => Uint8Array} */
  assemble: (args) => engine.assemble(...args),
  /** @type {(args: Parameters<typeof engine.inAmino>) => engine.AminoUnsigned} */
  inAmino: (args) => engine.inAmino(...args),
  /** @type {(args: Parameters<typeof engine.assembleAmino>) => Uint8Array} */
  assembleAmino: (args) => engine.assembleAmino(...args),
  /** @type {(args: Parameters<typeof engine.openingStatement>) => string} */
  openingStatement: (args) => engine.openingStatement(...args),
  /** @type {(args: Parameters<typeof engine.openSession>) => Uint8Array} */
  openSession: (args) => engine.openSession(...args),
  /** @type {(args: Parameters<typeof engine.closingStatement>) => string} */
  closingStatement: (args) => engine.closingStatement(...args),
  /** @type {(args: Parameters<typeof engine.closeSession>) => Uint8Array} */
  closeSession: (args) => engine.closeSession(...args),
};

self.addEventListener(
  "message",
  async (/** @type {MessageEvent<Request>} */ { data: { id, call, arguments: args } }) => {
    /** @type {(message: Message) => void} */
    const send = (message) => self.postMessage(message);
    try {
      await loaded;
      // the type of `Engine.call` in the page ensures that the arguments fit the function
      const run = /** @type {(args: unknown, onEvent: Listener<unknown>) => unknown} */ (calls[call]);
      send({ id, result: await run(args, (event) => send({ id, event })) });
    } catch (error) {
      const { message, name } = error instanceof Error ? error : { message: String(error), name: "Error" };
      send({ id, error: message, name });
    }
  },
);
