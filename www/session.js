// A session: the engine from Start to Stop. Owns the worker, the lock that one tab holds, restarts after failures and
// what a pause does; draws nothing.

import { Engine } from "./engine.js";
import { Pauses } from "./pauses.js";

const LOCK = "r3mes-miner";
/** Restarts after the engine failed, before giving up. */
const RESTARTS = 3;
const SECOND = 1000;
const MAX_BACKOFF = 60 * SECOND;

export const ACTIVE = new Set(["opening", "mining", "paused", "waiting", "offline", "finishing"]);

/** Events, with their `detail`: "state" (`{ state, reason }`), "engine" (a `MinerEvent`), "address" (the session's own),
 * "failure" (an error). */
export class Session extends EventTarget {
  pauses = new Pauses();
  /** What is shown: of `ACTIVE`, or `ready`, `stopped`, `elsewhere`, `error`. */
  state = "ready";
  reason = "";

  #options;
  #intensity = 1;
  #engine;
  /** What the engine itself says it does. */
  #doing = { state: "opening", reason: "" };
  #finishing = "";
  #failures = 0;
  #release;
  /** Tells runs apart: what a worker of an earlier one still says is not heard. */
  #run = 0;

  /** `options`: gives `MinerOptions` for each start. */
  constructor(options) {
    super();
    this.#options = options;
    this.pauses.addEventListener("change", () => this.#applyPauses());
  }

  get active() {
    return ACTIVE.has(this.state);
  }

  /** Resolves when mining has ended. */
  async start() {
    if (this.active) return;
    const run = ++this.#run;
    this.#tell("opening");
    const release = await lock();
    if (run !== this.#run) return release?.();
    if (!release)
      return this.#tell("elsewhere", "One miner a browser is enough: stop it in the other tab, or close that.");
    this.#release = release;
    this.#failures = 0;
    this.#finishing = "";
    await this.#work();
  }

  /** Completes the task at hand, then stops. */
  finish(reason = "The last task is done.") {
    if (!this.active) return;
    if (!this.#engine || this.#doing.state !== "mining") return this.stop(reason);
    this.#finishing = reason;
    this.pauses.override();
    this.#engine.call("finish").catch(() => {});
    this.#refresh();
  }

  /** Stops at once: when this returns nothing runs, and nothing is sent any more. */
  stop(reason = "The task at hand stays claimed; starting again completes it.") {
    if (!this.active) return;
    this.#run += 1;
    this.#end();
    this.#tell("stopped", reason);
  }

  /** The part of the time that is worked: 0.05 to 1. */
  set intensity(share) {
    this.#intensity = share;
    this.#engine?.call("setIntensity", [share]).catch(() => {});
  }

  async #work() {
    const run = ++this.#run;
    this.#doing = { state: "opening", reason: "" };
    this.#tell("opening");
    const engine = new Engine((error) => this.#failed(run, error));
    this.#engine = engine;
    try {
      const options = await this.#options();
      if (run !== this.#run) return;
      const address = await engine.call("create", [options], (event) => run === this.#run && this.#hear(event));
      this.dispatchEvent(new CustomEvent("address", { detail: address }));
      await engine.call("setIntensity", [this.#intensity]);
      if (run !== this.#run) return;
      const mined = engine.call("start");
      if (this.pauses.reason) engine.call("pause");
      await mined;
      if (run !== this.#run) return;
      this.#end();
      this.#tell("stopped", this.#finishing);
    } catch (error) {
      this.#failed(run, error);
    }
  }

  /** Begins anew after a while; after three failures in a row, or where the same must fail again, says why and ends. */
  #failed(run, error) {
    if (run !== this.#run) return;
    this.#engine?.terminate();
    this.#engine = undefined;
    this.dispatchEvent(new CustomEvent("failure", { detail: error }));
    this.#failures += 1;
    const offline = error.name === "Offline";
    if (error.name === "Error" || error.name === "Refused" || (!offline && this.#failures > RESTARTS)) {
      this.#run += 1;
      this.#end();
      return this.#tell("error", error.message);
    }
    const wait = Math.min(2 ** (this.#failures - 1) * SECOND, MAX_BACKOFF);
    const next = ++this.#run;
    this.#tell(offline ? "offline" : "opening", `${error.message}; trying again in ${wait / SECOND} s`);
    setTimeout(() => next === this.#run && this.#work(), wait);
  }

  #end() {
    this.#engine?.terminate();
    this.#engine = undefined;
    this.pauses.clear();
    this.#release?.();
    this.#release = undefined;
  }

  #hear(event) {
    if (event.event === "accepted") this.#failures = 0;
    if (event.event === "state") {
      this.#doing = event;
      if (event.state !== "stopped") this.#refresh();
    }
    this.dispatchEvent(new CustomEvent("engine", { detail: event }));
  }

  #applyPauses() {
    if (!this.#engine) return;
    this.#engine.call(this.pauses.reason ? "pause" : "resume").catch(() => {});
    this.#refresh();
  }

  #refresh() {
    if (!this.#engine) return;
    const paused = this.pauses.reason;
    if (this.#doing.state === "opening") this.#tell("opening", this.#doing.reason);
    else if (paused) this.#tell("paused", paused);
    else if (this.#finishing) this.#tell("finishing");
    else this.#tell(this.#doing.state, this.#doing.reason);
  }

  #tell(state, reason = "") {
    if (state === this.state && reason === this.reason) return;
    this.state = state;
    this.reason = reason;
    this.dispatchEvent(new CustomEvent("state", { detail: { state, reason } }));
  }
}

/** Resolves to what gives the lock back, or to nothing where another tab has it. */
function lock() {
  if (!navigator.locks) return Promise.resolve(() => {});
  return new Promise((got) => {
    navigator.locks.request(LOCK, { ifAvailable: true }, (lock) => {
      if (!lock) return got(undefined);
      return new Promise((release) => got(release));
    });
  });
}
