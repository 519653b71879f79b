// A mining session, which lasts from Start to Stop. The session owns the engine (in a Web Worker) and the lock that
// only one tab of a browser can hold. It restarts the engine after failures, and tells the engine when to pause. It
// does not change the page.

import { Engine } from "./engine.js";
import { PauseReasons } from "./pauses.js";

/** @import { MinerEvent, MinerOptions } from "./r3mes_www.js" */

/**
 * What the miner is doing while a session is running. "elsewhere" means that another tab is mining, and that this one
 * will mine as soon as the other one has ended.
 * @typedef {"opening" | "mining" | "paused" | "waiting" | "offline" | "finishing" | "elsewhere"} ActiveState
 */

/** @typedef {ActiveState | "ready" | "stopped" | "error"} State what the miner is doing */

/** The name of the Web Lock that a mining tab holds. It prevents a second tab from mining. */
const LOCK = "r3mes-miner";
/** The number of consecutive failures after which the engine is still restarted. One more failure ends the session. */
const MAX_RESTARTS = 3;
/** The longest delay before a restart of the engine, in seconds. */
const MAX_BACKOFF_SECS = 60;

/** @type {ReadonlySet<State>} the values of `ActiveState` */
const ACTIVE = new Set(["opening", "mining", "paused", "waiting", "offline", "finishing", "elsewhere"]);

/**
 * Returns the delay before the engine is restarted, in seconds: 1, 2, 4, and so on, up to 60. (The engine has its own
 * delays between requests, but each restart creates a new engine, which does not continue the delays of the old one.)
 * @param {number} failures the number of consecutive failures, at least 1
 */
export const backoffSecs = (failures) => Math.min(2 ** (failures - 1), MAX_BACKOFF_SECS);

/**
 * Functions that a session calls to report what happens.
 *
 * @typedef {object} SessionListeners
 * @property {(state: State, reason: string) => void} onState called after each change of the state or of its reason
 * @property {(event: MinerEvent) => void} onEvent called with each event of the engine
 * @property {(address: string) => void} onAddress called with the session key's address when the engine has started
 * @property {(error: Error) => void} onFailure called after each failure of the engine
 */

/** The mining session of this tab. It can be started again after it has stopped. */
export class Session {
  /** @type {State} */
  state = "ready";
  /** The reason for the state, as a sentence for the visitor. */
  reason = "";
  pauses = new PauseReasons(() => this.#applyPauses());

  #loadOptions;
  #listeners;
  #intensity = 1;
  /** @type {Engine | undefined} */
  #engine;
  /**
   * The latest state that the engine has reported.
   * @type {{ state: State, reason: string }}
   */
  #engineState = { state: "opening", reason: "" };
  /** The reason that is shown after the session has finished its last task, or "" if it is not finishing. */
  #finishReason = "";
  #failures = 0;
  /** @type {(() => void) | undefined} */
  #releaseLock;
  /** The index of the current start of the engine. Results and events of earlier starts are ignored. */
  #run = 0;

  /**
   * @param {() => Promise<MinerOptions>} loadOptions called before each start of the engine
   * @param {SessionListeners} listeners
   */
  constructor(loadOptions, listeners) {
    this.#loadOptions = loadOptions;
    this.#listeners = listeners;
  }

  /** Whether a session is running. */
  get active() {
    return ACTIVE.has(this.state);
  }

  /** Starts mining, and resolves after mining has ended. Has no effect if a session is running. */
  async start() {
    if (this.active) return;
    const run = ++this.#run;
    this.#setState("opening");
    let release = await acquireLock({ ifAvailable: true });
    if (run === this.#run && !release) {
      this.#setState(
        "elsewhere",
        "Only one tab of a browser can mine. This tab will mine when the miner in the other tab has stopped.",
      );
      release = await acquireLock({});
    }
    if (run !== this.#run) {
      release?.();
      return;
    }
    this.#releaseLock = release;
    this.#failures = 0;
    this.#finishReason = "";
    await this.#runEngine();
  }

  /** Completes the current task, then stops. */
  finish(reason = "The last task is complete.") {
    if (!this.active) return;
    if (!this.#engine || this.#engineState.state !== "mining") {
      this.stop(reason);
      return;
    }
    this.#finishReason = reason;
    this.pauses.override();
    this.#send(this.#engine.call("finish", []));
    this.#showEngineState();
  }

  /** Stops immediately. After this call, nothing is computed, and nothing is sent to the node. */
  stop(reason = "The current task stays claimed. Start again to complete it.") {
    if (!this.active) return;
    this.#run += 1;
    this.#end();
    this.#setState("stopped", reason);
  }

  /** Restarts the engine with new options, if a session is running. The new engine continues the current task. */
  restart() {
    // without the lock, the engine has not been started yet; with a reason to finish, it computes its last task
    if (!this.#releaseLock || this.#finishReason) return;
    this.#engine?.terminate();
    this.#runEngine();
  }

  /**
   * Sets the intensity, the share of the time during which the engine computes.
   * @param {number} share from 0.05 to 1
   */
  setIntensity(share) {
    this.#intensity = share;
    if (this.#engine) this.#send(this.#engine.call("setIntensity", [share]));
  }

  async #runEngine() {
    const run = ++this.#run;
    this.#engineState = { state: "opening", reason: "" };
    this.#setState("opening");
    const engine = new Engine((error) => this.#fail(run, error));
    this.#engine = engine;
    try {
      const options = await this.#loadOptions();
      if (run !== this.#run) return;
      const address = await engine.call("create", [options], (event) => {
        if (run === this.#run) this.#handleEvent(event);
      });
      if (run !== this.#run) return;
      this.#listeners.onAddress(address);
      await engine.call("setIntensity", [this.#intensity]);
      if (run !== this.#run) return;
      const mining = engine.call("start", []);
      if (this.pauses.reason) this.#send(engine.call("pause", []));
      await mining;
      if (run !== this.#run) return;
      this.#run += 1;
      this.#end();
      this.#setState("stopped", this.#finishReason);
    } catch (error) {
      this.#fail(run, error instanceof Error ? error : new Error(String(error)));
    }
  }

  /**
   * Handles a failure of the engine. What happens depends on the name of the error. After "Offline" (the node cannot be
   * reached), the engine is always restarted. "Refused" (the node refused a request) and "Error" (an option is wrong)
   * end the session, because a restart cannot help. After any other error, the engine is restarted, unless it has
   * already failed three times in a row. There is a delay before each restart.
   * @param {number} run the number of the engine start that failed; the failure is ignored if `#run`, the number of the
   *   current start, is different
   * @param {Error} error
   */
  #fail(run, error) {
    if (run !== this.#run) return;
    this.#engine?.terminate();
    this.#engine = undefined;
    this.#listeners.onFailure(error);
    this.#failures += 1;
    const offline = error.name === "Offline";
    const fatal = error.name === "Error" || error.name === "Refused";
    const next = ++this.#run;
    if (fatal || (!offline && this.#failures > MAX_RESTARTS)) {
      this.#end();
      this.#setState("error", error.message);
      return;
    }
    const delay = backoffSecs(this.#failures);
    this.#setState(offline ? "offline" : "opening", `${error.message}; retrying in ${delay} s`);
    setTimeout(() => {
      if (next === this.#run) this.#runEngine();
    }, 1000 * delay);
  }

  #end() {
    this.#engine?.terminate();
    this.#engine = undefined;
    this.pauses.clear();
    this.#releaseLock?.();
    this.#releaseLock = undefined;
  }

  /** @param {MinerEvent} event */
  #handleEvent(event) {
    if (event.event === "accepted") this.#failures = 0;
    if (event.event === "state") {
      this.#engineState = event;
      if (event.state !== "stopped") this.#showEngineState();
    }
    this.#listeners.onEvent(event);
  }

  #applyPauses() {
    if (!this.#engine) return;
    this.#send(this.#engine.call(this.pauses.reason ? "pause" : "resume", []));
    this.#showEngineState();
  }

  /** Derives the state of the session from the state of the engine, the pause reasons, and whether it is finishing. */
  #showEngineState() {
    if (!this.#engine) return;
    const { state, reason } = this.#engineState;
    const pauseReason = this.pauses.reason;
    if (state === "opening") this.#setState("opening", reason);
    else if (pauseReason) this.#setState("paused", pauseReason);
    else if (this.#finishReason) this.#setState("finishing");
    else this.#setState(state, reason);
  }

  /**
   * Sets the state of the session and the reason for it, and reports a change of either to the listener `onState`.
   * @param {State} state
   * @param {string} [reason]
   */
  #setState(state, reason = "") {
    if (state === this.state && reason === this.reason) return;
    this.state = state;
    this.reason = reason;
    this.#listeners.onState(state, reason);
  }

  /**
   * Ignores the failure of a call to the engine, because `#runEngine` reports every failure of the engine.
   * @param {Promise<unknown>} call
   */
  #send(call) {
    call.catch(() => {});
  }
}

/**
 * Acquires the lock that only one tab can hold. Resolves to a function that releases the lock, or to `undefined` if
 * another tab holds the lock and `ifAvailable` is true. If the browser has no Web Locks API, or denies access to it,
 * every tab acquires the lock.
 * @param {{ ifAvailable?: boolean }} options
 * @returns {Promise<(() => void) | undefined>}
 */
async function acquireLock(options) {
  return new Promise((resolve) => {
    const denied = () => resolve(() => {});
    if (!navigator.locks) return denied();
    return void navigator.locks
      .request(LOCK, options, (lock) => {
        if (!lock) {
          resolve(undefined);
          return undefined;
        }
        // the browser holds the lock until this promise resolves
        return new Promise((release) => resolve(() => release(undefined)));
      })
      .catch(denied);
  });
}
