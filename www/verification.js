// Two checks that a visitor can start: whether this device computes the published digests, and whether a receipt is
// valid. Each runs in a worker of its own, while mining continues.

import { element } from "./dom.js";
import { Engine } from "./engine.js";
import { errorMessage } from "./format.js";

/** @import { VerifyOptions } from "./r3mes_www.js" */

/**
 * Runs the known answers and the golden digests on the GPU, or on the CPU if there is no hardware GPU. Resolves to the
 * result as a sentence.
 * @param {(text: string) => void} onProgress
 */
export async function checkDevice(onProgress) {
  const engine = new Engine();
  try {
    const [gpu] = await engine.devices();
    const hasGpu = gpu && !gpu.software;
    const device = hasGpu ? gpu.name : "the CPU (WebAssembly)";
    onProgress(`Checking ${device}. The last check takes the longest.`);
    let digest = "";
    /** @type {string[]} */
    const failures = [];
    const correct = await engine.check(hasGpu ? "gpu" : "cpu", (event) => {
      if (event.event === "kernel") {
        if (event.error) failures.push(`${event.kernel}: ${event.error}`);
      } else if (event.found === event.expected) {
        digest = event.found;
      } else {
        failures.push(event.error ?? `computed the digest ${event.found}, but ${event.expected} is published`);
      }
    });
    if (correct) return `Passed: ${device} computes the published digest ${digest}.`;
    return `Failed: ${device} gives wrong results: ${failures.join("; ")}.`;
  } finally {
    engine.terminate();
  }
}

/**
 * Recomputes the gradient of a receipt from the blocks of a node. Resolves to the result as a sentence.
 * @param {string} receipt JSON text
 * @param {VerifyOptions} options
 */
export async function verifyReceipt(receipt, options) {
  const engine = new Engine();
  try {
    const { ok, reason, cid } = await engine.verify(receipt, options);
    return ok ? `Valid: the recomputed gradient has the same bytes, ${cid}.` : `Invalid: ${reason}`;
  } finally {
    engine.terminate();
  }
}

/**
 * Runs a check when a button is pressed, and shows its progress and its result.
 * @param {HTMLButtonElement} button
 * @param {HTMLElement} output
 * @param {(onProgress: (text: string) => void) => Promise<string>} check
 */
export function runOnClick(button, output, check) {
  button.addEventListener("click", async () => {
    button.disabled = true;
    /** @param {string} text */
    const show = (text) => output.replaceChildren(element("p", text));
    show("Running …");
    try {
      show(await check(show));
    } catch (error) {
      show(errorMessage(error));
    } finally {
      button.disabled = false;
    }
  });
}
