// Reasons to pause mining: the Pause button, and conditions of the device and the page, such as battery power. The
// visitor can override each reason.

/** The frame rate below which the page counts as slow, in frames per second. */
const MIN_FRAME_RATE = 10;
/** The length of the windows over which the frame rate is measured, in milliseconds. */
const FRAME_RATE_WINDOW = 2000;
/** How long mining pauses after a window with a low frame rate, in milliseconds. */
const SLOW_PAUSE = 5000;
/** How long the page counts as in use after the last input event, in milliseconds. */
const IN_USE_PAUSE = 10_000;

/** @typedef {"battery" | "hidden" | "frames" | "user"} Condition a condition under which the miner can pause */

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

  /** The reason why mining is paused, as a sentence, or `undefined` if mining is not paused. */
  get reason() {
    for (const [name, text] of this.#active) if (!this.#overridden.has(name)) return text;
    return undefined;
  }

  /**
   * Adds or removes a pause reason. Has no effect if the reason is already present, or already absent.
   * @param {Condition | "button"} name
   * @param {boolean} active true to add the reason, false to remove it
   * @param {string} text the reason as a sentence for the visitor
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

  /** Ignores each current reason until it has ended. When the same reason occurs again, mining pauses again. */
  override() {
    this.#active.delete("button");
    for (const name of this.#active.keys()) this.#overridden.add(name);
    this.#onChange();
  }

  /** Removes all overrides and the reason that the Pause button has set. All other reasons remain. */
  clear() {
    this.#active.delete("button");
    this.#overridden.clear();
    this.#onChange();
  }
}

/**
 * Watches the device and the page. Adds a pause reason when a condition begins, and removes it when the condition ends.
 * Returns a function that the caller must call whenever the result of `isEnabled` has changed.
 * @param {PauseReasons} pauses
 * @param {(name: Condition) => boolean} isEnabled returns whether mining should pause under a condition
 * @param {AbortSignal} signal ends the watch when it is aborted
 */
export function watchConditions(pauses, isEnabled, signal) {
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
    addEventListener(event, onInput, { passive: true, signal });
  }
  document.addEventListener("visibilitychange", update, { signal });
  navigator.getBattery?.().then(
    (battery) => {
      const onCharging = () => {
        onBattery = !battery.charging;
        update();
      };
      battery.addEventListener("chargingchange", onCharging, { signal });
      onCharging();
    },
    () => {},
  );
  measureFrameRate((framesPerSecond) => {
    if (framesPerSecond < MIN_FRAME_RATE) lastSlow = performance.now();
    update();
  }, signal);
  return update;
}

/**
 * Measures the frame rate of the page over windows of 2 seconds. A new window begins whenever the page is shown or
 * hidden.
 * @param {(framesPerSecond: number) => void} onFrameRate called after each completed window
 * @param {AbortSignal} signal ends the measurement when it is aborted
 */
function measureFrameRate(onFrameRate, signal) {
  let frames = 0;
  let windowStart = performance.now();
  const restart = () => {
    frames = 0;
    windowStart = performance.now();
  };
  document.addEventListener("visibilitychange", restart, { signal });
  const onFrame = () => {
    if (signal.aborted) return;
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
