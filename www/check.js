// The conformance page: compares the results that this device computes with the published ones.

import { element, find } from "./dom.js";
import { Engine } from "./engine.js";
import { errorMessage } from "./format.js";

/** @import { CheckEvent, DeviceCard } from "./r3mes_www.js" */

/**
 * The outcome of the check of a backend. "same": all results equal the published ones. "different": a result differs,
 * or could not be computed. "missing": the browser offers no GPU.
 * @typedef {"same" | "different" | "missing"} Verdict
 */

/**
 * The results of one backend. Visitors can copy them into a bug report.
 *
 * @typedef {object} Execution
 * @property {"cpu" | "gpu"} backend
 * @property {DeviceCard | null} device the GPU; null for the CPU
 * @property {Record<string, { lowering: string, lowerings: string[], refused: string[], error?: string }>} kernels for
 *   each kernel, by name: the chosen lowering (WGSL implementation), the times of the correct lowerings, the errors of
 *   the other lowerings, and the error if no lowering is correct
 * @property {string | null} stepDigest the computed digest of one training step, in hexadecimal
 * @property {string | null} runDigest the computed digest of the longer training run, in hexadecimal
 * @property {boolean} ok whether all results equal the published ones
 * @property {string | null} error why the check could not be completed; null if it was completed
 */

const startButton = find(document, "#start", HTMLButtonElement);
const copyButton = find(document, "#copy", HTMLButtonElement);
const status = find(document, "#status", HTMLElement);
const engine = new Engine();
/** @type {{ userAgent: string, executions: Execution[] }} */
let report = { userAgent: navigator.userAgent, executions: [] };

startButton.addEventListener("click", async () => {
  startButton.disabled = copyButton.disabled = true;
  report = { userAgent: navigator.userAgent, executions: [] };
  delete document.body.dataset.verdict;
  const verdicts = [await checkBackend("cpu"), await checkBackend("gpu")];
  const different = verdicts.includes("different");
  document.body.dataset.verdict = different ? "different" : "same";
  if (different) {
    say("This device does not compute the published results. Please report it, with the text of “Copy as JSON”.");
  } else if (verdicts.includes("missing")) {
    say("The CPU computes the published results. This browser offers no GPU.");
  } else {
    say("The GPU and the CPU compute the published results.");
  }
  startButton.disabled = copyButton.disabled = false;
});

copyButton.addEventListener("click", async () => {
  await navigator.clipboard.writeText(JSON.stringify(report, null, 2));
  say("Copied.");
});

/**
 * Checks a backend, and shows the results in the section of the page for this backend.
 * @param {"cpu" | "gpu"} backend
 */
async function checkBackend(backend) {
  const section = find(document, `#${backend}`, HTMLElement);
  for (const old of section.querySelectorAll(":scope > :not(h2)")) old.remove();
  /** @type {Execution} */
  const execution = { backend, device: null, kernels: {}, stepDigest: null, runDigest: null, ok: false, error: null };
  report.executions.push(execution);
  const verdict = await runCheck(execution, section);
  if (verdict !== "missing") section.dataset.verdict = verdict;
  return verdict;
}

/**
 * Checks the backend `execution.backend`, records the results in `execution`, and shows them in `section`.
 * @param {Execution} execution
 * @param {HTMLElement} section
 * @returns {Promise<Verdict>}
 */
async function runCheck(execution, section) {
  const { backend } = execution;
  try {
    if (backend === "gpu") {
      const [device] = await engine.devices();
      if (!device) {
        section.append(element("p", "This browser offers no GPU: WebGPU is missing or disabled."));
        return "missing";
      }
      execution.device = device;
      section.append(element("p", describeDevice(device)));
    }
    const kernels = addTable(section, "Kernel", "Lowering", "Known answers");
    const digests = addTable(section, "Digest of", "Published digest", "Digest on this device");
    execution.ok = await engine.check(backend, (event) => {
      if (event.event === "kernel") addKernel(execution, kernels, event);
      else addDigest(execution, digests, event);
    });
  } catch (error) {
    execution.error = errorMessage(error);
    section.append(element("p", execution.error));
  }
  return execution.ok ? "same" : "different";
}

/**
 * Records whether a kernel reproduces its known answers (expected outputs), and adds a table row that shows the result.
 * @param {Execution} execution
 * @param {HTMLElement} table the body of the table
 * @param {Extract<CheckEvent, { event: "kernel" }>} event
 */
function addKernel(execution, table, { kernel, lowering, lowerings, refused, error }) {
  execution.kernels[kernel] = { lowering, lowerings, refused, error };
  const notUsed = refused.length ? `; not used: ${refused.join("; ")}` : "";
  addRow(table, !error, kernel, lowering, error ?? `correct${notUsed}`);
  say(`${execution.backend.toUpperCase()}: checked the kernel ${kernel}`);
}

/**
 * Records a computed digest, and adds a table row that compares it with the published one.
 * @param {Execution} execution
 * @param {HTMLElement} table the body of the table
 * @param {Extract<CheckEvent, { event: "digest" }>} event
 */
function addDigest(execution, table, { digest, steps, expected, found, error }) {
  execution[`${digest}Digest`] = found ?? null;
  const what = steps === 1 ? "1 step" : `${steps} steps`;
  addRow(table, found === expected, what, expected, found ?? error ?? "–");
  say(`${execution.backend.toUpperCase()}: computed ${what}`);
}

/**
 * Returns a line that describes a GPU: its name, its vendor and architecture if they are known, and a note if it is a
 * software GPU.
 * @param {DeviceCard} device
 */
function describeDevice({ name, vendor, architecture, software }) {
  const known = [vendor, architecture].filter((word) => word !== "unknown").join(" ");
  return [name, known, software && "a software GPU, which runs on the CPU"].filter(Boolean).join(" · ");
}

/**
 * Appends an empty table to a section, and returns the body of the table.
 * @param {HTMLElement} section
 * @param {...string} heads the headings of the columns
 */
function addTable(section, ...heads) {
  const body = element("tbody");
  const head = element("tr", ...heads.map((text) => element("th", text)));
  section.append(element("div", element("table", element("thead", head), body)));
  return body;
}

/**
 * Appends a row to the body of a table.
 * @param {HTMLElement} body
 * @param {boolean} correct whether the row shows a correct result
 * @param {...string} cells
 */
function addRow(body, correct, ...cells) {
  const row = element("tr", ...cells.map((text) => element("td", text)));
  row.className = correct ? "right" : "wrong";
  body.append(row);
}

/** @param {string} text */
function say(text) {
  status.textContent = text;
}
