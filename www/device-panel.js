// The device panel: shows which device computes, why it was chosen, and what its limits are.

import { element, find } from "./dom.js";
import { formatMegabytes } from "./format.js";

/** @import { ProgressEvent } from "./r3mes_www.js" */

/** Shows the backend that the engine has opened. */
export class DevicePanel {
  #root;

  /** @param {ParentNode} root contains the elements to fill */
  constructor(root) {
    this.#root = root;
  }

  /**
   * Shows the device, the reason for its choice, its limits, and the lowering (WGSL implementation) of each kernel.
   * @param {Extract<ProgressEvent, { event: "backend" }>} event
   */
  show({ backend, name, class: deviceClass, software, reason, bufferBytes, bindingBytes, lowerings }) {
    this.#part("device").textContent = software ? `${name}, a software GPU` : name;
    this.#part("device-reason").textContent = `${backend === "gpu" ? "Using the GPU" : "Using the CPU"}: ${reason}.`;
    const facts = [
      ["Class", deviceClass],
      ["API", backend === "gpu" ? "WebGPU" : "WebAssembly"],
      ["Largest buffer", bufferBytes && formatMegabytes(bufferBytes)],
      ["Largest binding", bindingBytes && formatMegabytes(bindingBytes)],
    ].flatMap(([term, fact]) => (term && fact ? [element("div", element("dt", term), element("dd", fact))] : []));
    const memory = element("dd", "–");
    memory.id = "memory";
    this.#part("device-facts").replaceChildren(...facts, element("div", element("dt", "Engine memory"), memory));
    this.#part("lowerings").replaceChildren(...lowerings.map((text) => element("li", text)));
  }

  /**
   * Shows how much memory the engine uses.
   * @param {number} bytes the size of the WebAssembly memory
   */
  showMemory(bytes) {
    this.#part("memory").textContent = formatMegabytes(bytes);
  }

  /** @param {string} id */
  #part(id) {
    return find(this.#root, `#${id}`, HTMLElement);
  }
}
