// Pauses: reasons not to work for a while. Each comes and goes by itself; whoever looks at the page may override it.

/** Frames a second below which the page is thought to suffer, and how long it then gets to recover. */
const LOW_FRAMES = 10;
const WINDOW = 2000;
const RECOVERY = 5000;
/** How long after the last touch nobody is thought to use the page. */
const QUIET = 10_000;

/** Tells "change" when `reason` may be another. */
export class Pauses extends EventTarget {
  #held = new Map();
  #overridden = new Set();

  /** Why work rests, in words; nothing where it does not. */
  get reason() {
    for (const [name, text] of this.#held) if (!this.#overridden.has(name)) return text;
    return undefined;
  }

  /** Holds work for a reason, or lets go of it. */
  set(name, held, text) {
    if (held === this.#held.has(name)) return;
    if (held) {
      this.#held.set(name, text);
    } else {
      this.#held.delete(name);
      this.#overridden.delete(name);
    }
    this.#changed();
  }

  /** Works in spite of the reasons there are; each counts again once it has passed. */
  override() {
    for (const name of this.#held.keys()) this.#overridden.add(name);
    this.#held.delete("you");
    this.#overridden.delete("you");
    this.#changed();
  }

  /** Forgets what was asked for; what the device is like stays. */
  clear() {
    this.#held.delete("you");
    this.#overridden.clear();
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/** Watches what may be a reason, as long as `wanted(name)`: "battery", "hidden", "frames", "user". Returns a function to
 * call when a wish changed. */
export function watch(pauses, wanted) {
  let battery;
  let usedAt = -QUIET;
  let slowAt = -RECOVERY;
  const look = () => {
    const now = performance.now();
    pauses.set("battery", wanted("battery") && battery?.charging === false, "Paused: this device runs on its battery.");
    pauses.set("hidden", wanted("hidden") && document.hidden, "Paused: this tab is hidden.");
    pauses.set("user", wanted("user") && now - usedAt < QUIET, "Paused: somebody is using this page.");
    pauses.set("frames", wanted("frames") && now - slowAt < RECOVERY, "Paused: this page draws too slowly.");
  };
  const used = () => {
    usedAt = performance.now();
    look();
  };
  for (const event of ["pointermove", "pointerdown", "keydown", "wheel"])
    addEventListener(event, used, { passive: true });
  document.addEventListener("visibilitychange", look);
  navigator.getBattery?.().then(
    (found) => {
      battery = found;
      found.addEventListener("chargingchange", look);
      look();
    },
    () => {},
  );
  frames((perSecond) => {
    if (perSecond < LOW_FRAMES) slowAt = performance.now();
    look();
  });
  return look;
}

/** Tells the frames a second of each window in which the page was shown throughout. */
function frames(tell) {
  let [count, since] = [0, performance.now()];
  const restart = () => ([count, since] = [0, performance.now()]);
  document.addEventListener("visibilitychange", restart);
  const frame = () => {
    count += 1;
    const passed = performance.now() - since;
    if (passed >= WINDOW) {
      tell((1000 * count) / passed);
      restart();
    }
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}
