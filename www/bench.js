// The benchmark page: measures how fast this browser computes the matrix products of training, and a whole training
// step.
//
// A script that opens the page can import this module. Each call of `round` measures the time of each product and
// of each step once. Between two calls, the script can take measurements of its own.

import { element, find, tableRow } from "./dom.js";
import { Engine } from "./engine.js";
import { errorMessage } from "./format.js";

/** @import { BenchEvent, BenchOptions } from "./r3mes_www.js" */

/**
 * A matrix product or a training step, with the time that it took in each round (`samples`, in milliseconds).
 * @typedef {Omit<Extract<BenchEvent, { event: "subject" }>, "event"> & { samples: number[] }} Subject
 */

/**
 * The results so far: the options of the benchmark, the GPU, the lowering (WGSL implementation) that was chosen for
 * each kernel, and the measured times.
 *
 * @typedef {object} Results
 * @property {string} userAgent
 * @property {number} tokens the number of input rows of each matrix product, one row for each token
 * @property {number} features the number of input features and of output features of each matrix product
 * @property {BenchOptions["step"]} step the size of the model whose training step is timed
 * @property {{ name: string, software: boolean } | null} device the GPU, or null if the browser offers none
 * @property {{ kernel: string, lowering: string, lowerings: string[] }[]} lowerings the lowering chosen for each kernel
 * @property {Subject[]} subjects
 */

const PRODUCT_HEADS = ["Product", "Implementation", "Fastest", "Median", "GOP/s, fastest"];

const form = find(document, "#shape", HTMLFormElement);
const startButton = find(form, "button[type=submit]", HTMLButtonElement);
const copyButton = find(document, "#copy", HTMLButtonElement);
const resultsSection = find(document, "#results", HTMLElement);
const status = find(document, "#status", HTMLElement);
const engine = new Engine();

/** @type {Results | undefined} */
let results;

/**
 * Prepares the matrix products and training steps that are timed, and checks their results.
 * @param {BenchOptions} options
 * @returns {Promise<Results>} the products and steps, still without measured times
 */
export async function prepare(options) {
  /** @type {Results} */
  const prepared = { userAgent: navigator.userAgent, ...options, device: null, lowerings: [], subjects: [] };
  results = prepared;
  await engine.bench(options, (event) => addEvent(prepared, event));
  const digests = new Set(prepared.subjects.flatMap(({ digest }) => digest ?? []));
  if (digests.size > 1)
    throw new Error("The digests of the steps differ: a backend of this device computes wrong results.");
  return prepared;
}

/**
 * Times every matrix product and training step once more.
 * @returns {Promise<Results>} all results so far, which now include the new time of each product and step
 */
export async function round() {
  if (!results) throw new Error("call prepare() before round()");
  const measured = results;
  await engine.round((event) => addEvent(measured, event));
  return measured;
}

/**
 * Adds to `results` what an event of the engine reports. For the event `preparing`, shows what is being prepared.
 * @param {Results} results
 * @param {BenchEvent} event
 */
function addEvent(results, event) {
  switch (event.event) {
    case "device":
      results.device = { name: event.name, software: event.software };
      break;
    case "preparing":
      say(`Preparing ${event.what}`);
      break;
    case "lowering":
      results.lowerings.push({ kernel: event.kernel, lowering: event.lowering, lowerings: event.lowerings });
      break;
    case "subject": {
      const { event: _, ...subject } = event;
      results.subjects.push({ ...subject, samples: [] });
      break;
    }
    case "time":
      results.subjects[event.subject]?.samples.push(event.milliseconds);
      break;
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  startButton.disabled = copyButton.disabled = true;
  delete document.body.dataset.verdict;
  try {
    const rounds = numberField("rounds");
    const step = /** @type {BenchOptions["step"]} */ (find(form, "[name=step]", HTMLSelectElement).value);
    const { device } = await prepare({ tokens: numberField("tokens"), features: numberField("features"), step });
    for (let done = 1; done <= rounds; done++) {
      say(`Round ${done} of ${rounds}`);
      show(await round());
    }
    say(device ? "Done." : "Done, on the CPU only. This browser offers no GPU: WebGPU is missing or disabled.");
    document.body.dataset.verdict = "done";
  } catch (error) {
    say(errorMessage(error));
    document.body.dataset.verdict = "failed";
  }
  startButton.disabled = copyButton.disabled = false;
});

copyButton.addEventListener("click", async () => {
  await navigator.clipboard.writeText(JSON.stringify(results, null, 2));
  say("Copied.");
});

/** @param {string} name */
const numberField = (name) => find(form, `[name=${name}]`, HTMLInputElement).valueAsNumber;

/**
 * Shows the results in tables: the matrix products of each backend, then the training steps.
 * @param {Results} results
 */
function show({ device, tokens, features, subjects }) {
  resultsSection.replaceChildren();
  const shape = `${tokens} tokens, ${features} input features, ${features} output features`;
  const products = subjects.filter(({ operations }) => operations);
  const [onGpu, onCpu] = ["gpu", "cpu"].map((name) => products.filter(({ backend }) => backend === name));
  if (onGpu?.length) {
    const base = onGpu.find(({ what }) => what.startsWith("f32"));
    const rows = onGpu.map((product) => productRow(product, base));
    showTable(`WebGPU: ${device?.name}`, shape, [...PRODUCT_HEADS, "Speedup over f32"], rows);
  }
  if (onCpu?.length) {
    const rows = onCpu.map((product) => {
      const base = onCpu.find(({ what, by }) => what === product.what && by === "scalar");
      return productRow(product, base);
    });
    showTable("CPU through WebAssembly", shape, [...PRODUCT_HEADS, "Speedup over scalar"], rows);
  }
  const steps = subjects.filter(({ what }) => what === "whole step");
  if (steps.length === 0) return;
  const heads = ["Backend", "Implementation", "Fastest", "Tokens/s, fastest", "Tokens/s, median", "Digest"];
  showTable("Whole step", "Forward pass, backward pass and AdamW on one sequence.", heads, steps.map(stepRow));
}

/**
 * Returns the table row of a matrix product.
 * @param {Subject} product
 * @param {Subject | undefined} base the product relative to which the speedup is computed
 */
function productRow(product, base) {
  const { what, by, operations = 0 } = product;
  const time = fastest(product);
  const speedup = base ? (fastest(base) / time).toFixed(2) : "–";
  return tableRow(what, by, formatMs(time), formatMs(median(product)), (operations / time / 1e6).toFixed(1), speedup);
}

/** @param {Subject} step */
function stepRow(step) {
  const [best, middle] = [fastest(step), median(step)];
  const rates = [best, middle].map((milliseconds) => ((1000 * step.tokens) / milliseconds).toFixed(1));
  return tableRow(step.backend.toUpperCase(), step.by, formatMs(best), ...rates, step.digest?.slice(0, 16) ?? "–");
}

/**
 * Appends a table, with a heading and a description above it, to the results on the page.
 * @param {string} title
 * @param {string} description
 * @param {string[]} heads the headings of the columns
 * @param {HTMLElement[]} rows
 */
function showTable(title, description, heads, rows) {
  const head = element("tr", ...heads.map((text) => element("th", text)));
  const table = element("table", element("thead", head), element("tbody", ...rows));
  resultsSection.append(element("h2", title), element("p", description), element("div", table));
}

/** @param {Subject} subject */
const fastest = ({ samples }) => Math.min(...samples);

/** @param {Subject} subject */
const median = ({ samples }) => samples.toSorted((a, b) => a - b)[samples.length >> 1] ?? NaN;

/** @param {number} milliseconds */
const formatMs = (milliseconds) => `${milliseconds.toFixed(2)} ms`;

/** @param {string} text */
function say(text) {
  status.textContent = text;
}
