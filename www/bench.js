// The bench page: what this browser computes in a second, as ratios to what was timed in the same rounds.
//
// A script that opens the page may import this module too, and mix its own rounds with `round`.

import { element } from "./dom.js";
import { Engine } from "./engine.js";

const form = document.querySelector("#shape");
const copy = document.querySelector("#copy");
const results = document.querySelector("#results");
const status = document.querySelector("#status");
const engine = new Engine();

/** Device, lowerings and subjects with their samples in milliseconds, as they are known so far. */
export let report;

/** Has everything checked and ready, for `BenchOptions`. */
export async function prepare(options) {
  report = { userAgent: navigator.userAgent, ...options, device: null, lowerings: [], subjects: [] };
  await engine.bench(options, heard);
  const digests = new Set(report.subjects.flatMap(({ digest }) => digest ?? []));
  if (digests.size > 1) throw new Error("The steps' digests differ: this device computes other bits.");
  return report;
}

/** Times each subject once more. */
export async function round() {
  await engine.round(heard);
  return report;
}

function heard(told) {
  const { event, ...rest } = told;
  if (event === "device") report.device = rest;
  else if (event === "preparing") say(`Preparing ${rest.what}`);
  else if (event === "lowering") report.lowerings.push(rest);
  else if (event === "subject") report.subjects.push({ ...rest, samples: [] });
  else report.subjects[rest.subject].samples.push(rest.milliseconds);
}

form.addEventListener("submit", async (submitted) => {
  submitted.preventDefault();
  const { rounds, step, ...sizes } = Object.fromEntries(new FormData(form));
  const [button] = form.querySelectorAll("button");
  button.disabled = copy.disabled = true;
  delete document.body.dataset.verdict;
  try {
    await prepare({ tokens: Number(sizes.tokens), features: Number(sizes.features), step });
    for (let done = 1; done <= rounds; done++) {
      say(`Round ${done} of ${rounds}`);
      await round();
      show();
    }
    say(report.device ? "Done." : "Done, on the CPU. This browser offers no GPU: WebGPU is missing or switched off.");
    document.body.dataset.verdict = "done";
  } catch (error) {
    say(error.message);
    document.body.dataset.verdict = "failed";
  }
  button.disabled = copy.disabled = false;
});

copy.addEventListener("click", async () => {
  await navigator.clipboard.writeText(JSON.stringify(report, null, 2));
  say("Copied.");
});

/** The tables of the report: products on each backend, then steps. */
function show() {
  results.replaceChildren();
  const { device, tokens, features, subjects } = report;
  for (const backend of ["gpu", "cpu"]) {
    const products = subjects.filter((subject) => subject.backend === backend && subject.operations);
    if (products.length === 0) continue;
    const title = backend === "gpu" ? `WebGPU: ${device.name}` : "CPU through WebAssembly";
    const [heading, unit] = [element("h2", title), backend === "gpu" ? "× f32" : "× scalar"];
    const body = table("Product", "By", "Fastest", "Median", "GOP/s", unit);
    for (const product of products) {
      const base = products.find(({ what, by }) =>
        backend === "gpu" ? what.startsWith("f32") : what === product.what && by === "scalar",
      );
      const [fastest, median] = [least(product), middle(product)];
      row(
        body,
        product.what,
        product.by,
        ms(fastest),
        ms(median),
        (product.operations / fastest / 1e6).toFixed(1),
        (least(base) / fastest).toFixed(2),
      );
    }
    results.append(heading, element("p", `${tokens} tokens by ${features} × ${features}`), scrolled(body));
  }
  const steps = subjects.filter(({ what }) => what === "whole step");
  if (steps.length === 0) return;
  const body = table("Backend", "By", "Fastest", "Tokens/s at best", "In the middle", "Digest");
  for (const step of steps) {
    const rate = (milliseconds) => ((1000 * step.tokens) / milliseconds).toFixed(1);
    row(
      body,
      step.backend.toUpperCase(),
      step.by,
      ms(least(step)),
      rate(least(step)),
      rate(middle(step)),
      step.digest.slice(0, 16),
    );
  }
  results.append(
    element("h2", "Whole step"),
    element("p", "Forward, backward and AdamW on one sequence."),
    scrolled(body),
  );
}

const least = ({ samples }) => Math.min(...samples);
const middle = ({ samples }) => samples.toSorted((a, b) => a - b)[samples.length >> 1];
const ms = (milliseconds) => `${milliseconds.toFixed(2)} ms`;

function table(...heads) {
  const body = element("tbody");
  element("table", element("thead", element("tr", ...heads.map((text) => element("th", text)))), body);
  return body;
}

const scrolled = (body) => element("div", body.parentElement);

function row(body, ...cells) {
  body.append(element("tr", ...cells.map((text) => element("td", text))));
}

function say(text) {
  status.textContent = text;
}
