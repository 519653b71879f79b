// Two checks that the visitor can start: whether this device computes the published digests, and whether a receipt is
// valid. Each check runs in a Web Worker of its own, so mining continues meanwhile.

import { element } from "./dom.js";
import { Engine } from "./engine.js";
import { errorMessage } from "./format.js";

/** @import { VerifyOptions } from "./r3mes_www.js" */

/**
 * Tests the GPU, or the CPU if there is no hardware GPU, against the known answers (expected outputs of kernels) and
 * the golden digests (expected hashes of training). Resolves to a sentence that states the result.
 * @param {(text: string) => void} onProgress called with a sentence that says what is being checked
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
 * Recomputes the gradient of a receipt from data blocks that a node delivers, and compares every bit with the gradient
 * in the artifact whose CID the receipt states. Resolves to a sentence that states the result.
 * @param {string} receipt the receipt as JSON text
 * @param {VerifyOptions} options
 */
export async function verifyReceipt(receipt, options) {
  const engine = new Engine();
  try {
    const { ok, reason, cid } = await engine.verify(receipt, options);
    return ok ? `Valid: the recomputed gradient has the same bytes as the artifact ${cid}.` : `Invalid: ${reason}`;
  } finally {
    engine.terminate();
  }
}

/**
 * Runs `check` whenever `button` is clicked, and shows the progress and the result of the check in `output`.
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
