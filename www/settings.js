// The settings panel: the intensity, the conditions under which mining pauses, the time limit, the backend, and whether
// the screen stays awake.

import { find } from "./dom.js";
import { loadSetting, saveSetting } from "./storage.js";

/** @import { MinerOptions } from "./r3mes_www.js" */
/** @import { Condition } from "./pauses.js" */

/** The smallest intensity. The intensity is the share of the time during which the miner computes. */
export const MIN_INTENSITY = 0.05;
/** The largest intensity: the miner computes all the time. */
export const MAX_INTENSITY = 1;

/** The default settings. Attributes of <r3mes-miner> can replace the default intensity and backend. */
const DEFAULTS = {
  intensity: 0.6,
  /** @type {MinerOptions["backend"]} */
  backend: "auto",
  battery: true,
  hidden: false,
  frames: true,
  user: false,
  cap: 0,
  awake: false,
};
const CHECKBOXES = /** @type {const} */ (["battery", "hidden", "frames", "user", "awake"]);

/** The input fields of the settings. Every change that the visitor makes is stored in this browser. */
export class Settings {
  #root;
  #onIntensity;

  /**
   * @param {ParentNode} root the element that contains the input fields
   * @param {object} listeners
   * @param {(share: number) => void} listeners.onIntensity called with each new intensity
   * @param {() => void} listeners.onChange called after any other setting has changed
   */
  constructor(root, { onIntensity, onChange }) {
    this.#root = root;
    this.#onIntensity = onIntensity;
    for (const name of CHECKBOXES) {
      this.#input(name).addEventListener("change", () => {
        saveSetting(name, this.#input(name).checked);
        onChange();
      });
    }
    this.#input("cap").addEventListener("change", () => saveSetting("cap", this.minutes));
    this.#backend.addEventListener("change", () => saveSetting("backend", this.backend));
    const intensity = this.#input("intensity");
    intensity.addEventListener("input", () => this.setIntensity(Number(intensity.value)));
    for (const preset of this.#presets) {
      preset.addEventListener("change", () => this.setIntensity(Number(preset.value)));
    }
  }

  /**
   * Fills each input field: with the stored setting if there is one, otherwise with the attribute of <r3mes-miner> if
   * it is present, otherwise with the default.
   * @param {{ intensity: string | null, backend: string | null }} attributes
   */
  async restore(attributes) {
    for (const name of CHECKBOXES) this.#input(name).checked = (await loadSetting(name)) ?? DEFAULTS[name];
    this.#input("cap").value = String((await loadSetting("cap")) ?? DEFAULTS.cap);
    this.#backend.value = (await loadSetting("backend")) ?? attributes.backend ?? DEFAULTS.backend;
    const stored = (await loadSetting("intensity")) ?? attributes.intensity ?? DEFAULTS.intensity;
    this.#applyIntensity(clampIntensity(Number(stored)));
  }

  /** The backend to compute on. */
  get backend() {
    return /** @type {MinerOptions["backend"]} */ (this.#backend.value || DEFAULTS.backend);
  }

  /**
   * Sets and stores the backend.
   * @param {string | null} backend "auto", "gpu" or "cpu"; other values mean the default
   */
  setBackend(backend) {
    this.#backend.value = backend ?? "";
    this.#backend.value = this.backend;
    saveSetting("backend", this.backend);
  }

  /** The share of the time during which to compute, from 0.05 to 1. */
  get intensity() {
    return Number(this.#input("intensity").value);
  }

  /** The number of minutes after which mining stops; 0 for no limit. */
  get minutes() {
    return Number(this.#input("cap").value);
  }

  /** Whether to keep the screen awake. */
  get awake() {
    return this.#input("awake").checked;
  }

  /**
   * Returns whether the visitor wants mining to pause under a condition, such as battery power.
   * @param {Condition} condition
   */
  pausesOn(condition) {
    return this.#input(condition).checked;
  }

  /**
   * Sets and stores the intensity.
   * @param {number} share the share of the time during which to compute; a value outside of 0.05 to 1 is moved to the
   *   nearest limit
   */
  setIntensity(share) {
    const intensity = clampIntensity(share);
    this.#applyIntensity(intensity);
    saveSetting("intensity", intensity);
  }

  /** @param {number} intensity */
  #applyIntensity(intensity) {
    this.#input("intensity").value = String(intensity);
    find(this.#root, "#intensity-value", HTMLOutputElement).textContent =
      `${Math.round(100 * intensity)} % of the time`;
    for (const preset of this.#presets) preset.checked = Number(preset.value) === intensity;
    this.#onIntensity(intensity);
  }

  get #backend() {
    return find(this.#root, "#backend", HTMLSelectElement);
  }

  /** The radio buttons Eco, Balanced and Max, which set the intensity. */
  get #presets() {
    return /** @type {NodeListOf<HTMLInputElement>} */ (this.#root.querySelectorAll("input[name=preset]"));
  }

  /** @param {string} id */
  #input(id) {
    return find(this.#root, `#${id}`, HTMLInputElement);
  }
}

/**
 * Returns the intensity nearest to `share` in the range 0.05 to 1, or the default intensity if `share` is `NaN`.
 * @param {number} share
 */
export function clampIntensity(share) {
  if (Number.isNaN(share)) return DEFAULTS.intensity;
  return Math.min(Math.max(share, MIN_INTENSITY), MAX_INTENSITY);
}
