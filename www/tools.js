// Tools: does this device compute the published bits, and is a receipt true? In a worker of their own, beside mining.

import { Engine } from "./engine.js";
import { element } from "./dom.js";

/** Asks the known answers and the golden digests of a backend; tells each line, resolves to the verdict. */
export async function checkDevice(tell) {
  const engine = new Engine();
  try {
    const [device] = await engine.devices();
    const backend = device && !device.software ? "gpu" : "cpu";
    const where = backend === "gpu" ? device.name : "the CPU, through WebAssembly";
    tell(`Asking ${where}. The last step takes a while.`);
    let published;
    const same = await engine.check(backend, (event) => {
      if (event.event === "digest") published = { ...event };
      else if (event.error) tell(`${event.kernel}: ${event.error}`);
    });
    const found = published?.found ?? published?.error ?? "nothing";
    return same
      ? `Same bits: ${where} computes the published digest ${published.expected}.`
      : `Other bits: ${where} finds ${found}, published is ${published?.expected ?? "more"}.`;
  } finally {
    engine.terminate();
  }
}

/** Recomputes a receipt from the blocks of a node; resolves to the verdict. */
export async function verifyReceipt(text, options) {
  const engine = new Engine();
  try {
    const found = await engine.verify(text, options);
    return found.ok ? `True: recomputed to the same bytes, ${found.cid}.` : `False: ${found.reason}`;
  } finally {
    engine.terminate();
  }
}

/** Runs one of these behind a button, and shows what it says. */
export function tool(button, findings, work) {
  button.addEventListener("click", async () => {
    button.disabled = true;
    const show = (text) => findings.replaceChildren(element("p", text));
    show("Working …");
    try {
      show(await work(show));
    } catch (error) {
      show(error.message);
    } finally {
      button.disabled = false;
    }
  });
}
