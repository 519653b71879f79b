// The log: lists what has happened since the page was loaded. Visitors can copy it into a bug report, so callers must
// not log secrets.

import { element } from "./dom.js";

const MAX_ENTRIES = 500;

/** A list of the last 500 log entries, filtered by a text field. */
export class Log {
  /** @type {string[]} */
  #entries = [];
  #list;
  #filter;

  /**
   * @param {HTMLElement} list the element that shows the entries
   * @param {HTMLInputElement} filter the text field; only entries that contain its text are shown
   */
  constructor(list, filter) {
    this.#list = list;
    this.#filter = filter;
    filter.addEventListener("input", () => this.#draw());
  }

  /**
   * Adds an entry that begins with the current time.
   * @param {string} text
   */
  add(text) {
    const entry = `${new Date().toISOString()} ${text}`;
    this.#entries.push(entry);
    if (this.#entries.length > MAX_ENTRIES) this.#entries.shift();
    if (!this.#matches(entry)) return;
    this.#list.append(element("li", entry));
    if (this.#list.children.length > MAX_ENTRIES) this.#list.firstElementChild?.remove();
  }

  /** Returns all entries, one on each line. */
  toString() {
    return this.#entries.join("\n");
  }

  /** @param {string} entry */
  #matches(entry) {
    return entry.toLowerCase().includes(this.#filter.value.toLowerCase());
  }

  #draw() {
    const entries = this.#entries.filter((entry) => this.#matches(entry));
    this.#list.replaceChildren(...entries.map((entry) => element("li", entry)));
  }
}
