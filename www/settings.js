// The settings panel: intensity, pause conditions, time limit, backend, and whether the screen stays awake.

import { find } from "./dom.js";
import { loadSetting, saveSetting } from "./storage.js";

/** @import { MinerOptions } from "./r3mes_www.js" */
/** @import { Condition } from "./pauses.js" */

/** Range of the intensity, as a share of time. */
export const MIN_INTENSITY = 0.05;
export const MAX_INTENSITY = 1;

/** Settings that apply until the visitor changes them, unless an attribute of the element sets another value. */
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

/** The fields of the settings. A change by the visitor is stored in this browser. */
export class Settings {
  #root;
  #onIntensity;

  /**
   * @param {ParentNode} root contains the fields
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
   * Fills each field with the stored setting, otherwise with the attribute, otherwise with the default.
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

  /** The number of minutes after which mining stops; 0 for no limit. */
  get minutes() {
    return Number(this.#input("cap").value);
  }

  /** Whether to keep the screen awake. */
  get awake() {
    return this.#input("awake").checked;
  }

  /**
   * Returns whether mining should pause for a condition.
   * @param {Condition} condition
   */
  pausesOn(condition) {
    return this.#input(condition).checked;
  }

  /**
   * Sets and stores the intensity.
   * @param {number} share the share of time to compute; values outside 0.05 to 1 are limited to this range
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

  /** The buttons Eco, Balanced and Max. */
  get #presets() {
    return /** @type {NodeListOf<HTMLInputElement>} */ (this.#root.querySelectorAll("input[name=preset]"));
  }

  /** @param {string} id */
  #input(id) {
    return find(this.#root, `#${id}`, HTMLInputElement);
  }
}

/**
 * Returns an intensity limited to its range, or the default intensity if `share` is not a number.
 * @param {number} share
 */
export function clampIntensity(share) {
  if (Number.isNaN(share)) return DEFAULTS.intensity;
  return Math.min(Math.max(share, MIN_INTENSITY), MAX_INTENSITY);
}
