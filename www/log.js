// The log: what happened, for people and for bug reports. It holds no secrets, because nobody puts any in.

import { element } from "./dom.js";

const KEPT = 500;

export class Log {
  #entries = [];
  #list;
  #filter;

  /** `list` shows what contains the text of `filter`. */
  constructor(list, filter) {
    this.#list = list;
    this.#filter = filter;
    filter.addEventListener("input", () => this.#draw());
  }

  note(text) {
    const entry = `${new Date().toISOString()} ${text}`;
    this.#entries.push(entry);
    if (this.#entries.length > KEPT) this.#entries.shift();
    if (!this.#wanted(entry)) return;
    this.#list.append(element("li", entry));
    if (this.#list.children.length > KEPT) this.#list.firstChild.remove();
  }

  toString() {
    return this.#entries.join("\n");
  }

  #wanted(entry) {
    return entry.toLowerCase().includes(this.#filter.value.toLowerCase());
  }

  #draw() {
    this.#list.replaceChildren(
      ...this.#entries.filter((entry) => this.#wanted(entry)).map((entry) => element("li", entry)),
    );
  }
}
