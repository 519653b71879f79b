// The conformance page: this device's digests beside the published ones.

import { element } from "./dom.js";
import { Engine } from "./engine.js";

const start = document.querySelector("#start");
const copy = document.querySelector("#copy");
const status = document.querySelector("#status");
const engine = new Engine();
let report;

start.addEventListener("click", async () => {
  start.disabled = copy.disabled = true;
  report = { userAgent: navigator.userAgent, executions: [] };
  delete document.body.dataset.verdict;
  const verdicts = [await run("cpu"), await run("gpu")];
  const wrong = verdicts.includes("different");
  document.body.dataset.verdict = wrong ? "different" : "same";
  say(
    wrong
      ? "This device computes other bits. Please report what “Copy as JSON” gives."
      : verdicts.includes("missing")
        ? "The same bits on the CPU. This browser offers no GPU."
        : "The same bits, on the GPU and on the CPU.",
  );
  start.disabled = copy.disabled = false;
});

copy.addEventListener("click", async () => {
  await navigator.clipboard.writeText(JSON.stringify(report, null, 2));
  say("Copied.");
});

/** Checks one backend into its section: "same", "different" or "missing". */
async function run(backend) {
  const section = document.querySelector(`#${backend}`);
  section.querySelectorAll(":scope > :not(h2)").forEach((old) => old.remove());
  const execution = { backend, device: null, kernels: {}, stepDigest: null, runDigest: null, ok: false, error: null };
  report.executions.push(execution);
  let verdict;
  try {
    if (backend === "gpu") {
      [execution.device = null] = await engine.devices();
      if (!execution.device) {
        section.append(element("p", "This browser offers no GPU: WebGPU is missing or switched off."));
        return "missing";
      }
      section.append(element("p", describe(execution.device)));
    }
    const rows = table(section, "Kernel", "Runs by", "Known answers");
    const digests = table(section, "Digest", "Published", "This device");
    execution.ok = await engine.check(backend, (event) => {
      if (event.event === "kernel") {
        execution.kernels[event.kernel] = { lowering: event.lowering, lowerings: event.lowerings, error: event.error };
        row(rows, !event.error, event.kernel, event.lowering, event.error ?? "right");
        say(`${backend.toUpperCase()}: kernel ${event.kernel}`);
      } else {
        execution[`${event.digest}Digest`] = event.found ?? null;
        const steps = event.steps === 1 ? "one step" : `${event.steps} steps`;
        row(digests, event.found === event.expected, steps, event.expected, event.found ?? event.error);
        say(`${backend.toUpperCase()}: ${steps} done`);
      }
    });
    verdict = execution.ok ? "same" : "different";
  } catch (error) {
    execution.error = error.message;
    section.append(element("p", error.message));
    verdict = "different";
  }
  section.dataset.verdict = verdict;
  return verdict;
}

function describe({ name, vendor, architecture, software }) {
  const known = [vendor, architecture].filter((word) => word !== "unknown").join(" ");
  return `${name}${known ? ` · ${known}` : ""}${software ? " · a software GPU: the CPU plays it" : ""}`;
}

function table(section, ...heads) {
  const body = element("tbody");
  const head = element("tr", ...heads.map((text) => element("th", text)));
  section.append(element("div", element("table", element("thead", head), body)));
  return body;
}

function row(body, right, ...cells) {
  const line = element("tr", ...cells.map((text) => element("td", text)));
  line.className = right ? "right" : "wrong";
  body.append(line);
}

function say(text) {
  status.textContent = text;
}
