// The device: what computes, why it was chosen, and what it offers.

import { element, megabytes } from "./dom.js";

export class Device {
  #at;

  /** `at` gives the parts to fill by their ids. */
  constructor(at) {
    this.#at = at;
  }

  /** Of the engine's event "backend". */
  show({ backend, name, class: kind, software, reason, bufferBytes, bindingBytes, lowerings }) {
    this.#at("device").textContent = software ? `${name}, a software GPU` : name;
    this.#at("device-reason").textContent =
      `${backend === "gpu" ? "Taken because " : "The CPU works because: "}${reason}.`;
    const facts = { Class: kind, API: backend === "gpu" ? "WebGPU" : "WebAssembly" };
    if (bufferBytes) facts["Largest buffer"] = megabytes(bufferBytes);
    if (bindingBytes) facts["Largest binding"] = megabytes(bindingBytes);
    const memory = element("dd", "–");
    memory.id = "memory";
    const made = Object.entries(facts).map(([term, fact]) => element("div", element("dt", term), element("dd", fact)));
    this.#at("device-facts").replaceChildren(...made, element("div", element("dt", "Engine's memory"), memory));
    this.#at("lowerings").replaceChildren(...lowerings.map((text) => element("li", text)));
  }

  /** Bytes that the engine holds. */
  memory(bytes) {
    this.#at("memory").textContent = megabytes(bytes);
  }
}
