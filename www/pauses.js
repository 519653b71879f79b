// Reasons to pause mining: conditions of the device and the page, and the Pause button. A visitor can override each.

/** The page counts as slow below this frame rate, in frames per second. */
const MIN_FRAME_RATE = 10;
/** Milliseconds over which the frame rate is measured. */
const FRAME_RATE_WINDOW = 2000;
/** Milliseconds for which mining pauses after a slow window. */
const SLOW_PAUSE = 5000;
/** Milliseconds after the last input event for which the page counts as in use. */
const IN_USE_PAUSE = 10_000;

/** @typedef {"battery" | "hidden" | "frames" | "user"} Condition a condition for which a setting lets mining pause */

/** The set of current pause reasons. Mining pauses while `reason` is not `undefined`. */
export class PauseReasons {
  /** @type {Map<Condition | "button", string>} */
  #active = new Map();
  /** @type {Set<Condition | "button">} */
  #overridden = new Set();
  #onChange;

  /** @param {() => void} onChange called when `reason` may have changed */
  constructor(onChange) {
    this.#onChange = onChange;
  }

  /** Why mining is paused, as a sentence, or `undefined` if it is not. */
  get reason() {
    for (const [name, text] of this.#active) if (!this.#overridden.has(name)) return text;
    return undefined;
  }

  /**
   * Adds a reason or removes it. Has no effect if the reason is in that state already.
   * @param {Condition | "button"} name
   * @param {boolean} active
   * @param {string} text
   */
  set(name, active, text) {
    if (active === this.#active.has(name)) return;
    if (active) {
      this.#active.set(name, text);
    } else {
      this.#active.delete(name);
      this.#overridden.delete(name);
    }
    this.#onChange();
  }

  /** Ignores every current reason until it has ended; the next time it occurs, mining pauses again. */
  override() {
    this.#active.delete("button");
    for (const name of this.#active.keys()) this.#overridden.add(name);
    this.#onChange();
  }

  /** Forgets the Pause button and all overrides. Conditions of the device and the page remain. */
  clear() {
    this.#active.delete("button");
    this.#overridden.clear();
    this.#onChange();
  }
}

/**
 * Adds and removes pause reasons as the conditions of the device and the page change. Returns a function to call after
 * the result of `isEnabled` has changed.
 * @param {PauseReasons} pauses
 * @param {(name: Condition) => boolean} isEnabled returns whether mining should pause for a condition
 */
export function watchConditions(pauses, isEnabled) {
  let onBattery = false;
  let lastInput = -Infinity;
  let lastSlow = -Infinity;
  const update = () => {
    const now = performance.now();
    pauses.set("battery", isEnabled("battery") && onBattery, "This device is running on battery power.");
    pauses.set("hidden", isEnabled("hidden") && document.hidden, "This tab is hidden.");
    pauses.set("user", isEnabled("user") && now - lastInput < IN_USE_PAUSE, "Someone is using this page.");
    pauses.set("frames", isEnabled("frames") && now - lastSlow < SLOW_PAUSE, "This page is drawing too slowly.");
  };

  const onInput = () => {
    lastInput = performance.now();
    update();
  };
  for (const event of ["pointermove", "pointerdown", "keydown", "wheel"]) {
    addEventListener(event, onInput, { passive: true });
  }
  document.addEventListener("visibilitychange", update);
  navigator.getBattery?.().then(
    (battery) => {
      const onCharging = () => {
        onBattery = !battery.charging;
        update();
      };
      battery.addEventListener("chargingchange", onCharging);
      onCharging();
    },
    () => {},
  );
  measureFrameRate((framesPerSecond) => {
    if (framesPerSecond < MIN_FRAME_RATE) lastSlow = performance.now();
    update();
  });
  return update;
}

/**
 * Calls a function with the frame rate of each window of 2 seconds in which the visibility of the page did not change.
 * @param {(framesPerSecond: number) => void} onFrameRate
 */
function measureFrameRate(onFrameRate) {
  let frames = 0;
  let windowStart = performance.now();
  const restart = () => {
    frames = 0;
    windowStart = performance.now();
  };
  document.addEventListener("visibilitychange", restart);
  const onFrame = () => {
    frames += 1;
    const elapsed = performance.now() - windowStart;
    if (elapsed >= FRAME_RATE_WINDOW) {
      onFrameRate((1000 * frames) / elapsed);
      restart();
    }
    requestAnimationFrame(onFrame);
  };
  requestAnimationFrame(onFrame);
}
