// The page's bench and onnxruntime-web's products in one Chromium, a round of each in turn, and the native binary's
// step on the same software GPU by the same lowerings. Prints milliseconds and ratios; tests nothing.
//
// node bench.mjs [--tokens 128] [--features 1024] [--step small] [--rounds 5] [--native BINARY|JSON] [--json]

import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { DIST, chromium, serve } from "./browsers.mjs";

const text = (byDefault) => ({ type: "string", default: byDefault });
const { values } = parseArgs({
  options: {
    tokens: text("128"),
    features: text("1024"),
    step: text("small"),
    rounds: text("5"),
    native: { type: "string" },
    json: { type: "boolean", default: false },
  },
});
const [tokens, features, rounds] = [values.tokens, values.features, values.rounds].map(Number);
const SWIFTSHADER = process.env.VK_ICD_FILENAMES ?? "/usr/lib/chromium/vk_swiftshader_icd.json";

const sites = [await serve(DIST), await serve(fileURLToPath(new URL(".", import.meta.url)))];
const browser = await chromium();
try {
  const [engine, peers] = [await browser.newPage(), await browser.newPage()];
  await engine.goto(`${sites[0].address}/bench.html`);
  await peers.goto(`${sites[1].address}/peers.html`);
  /** Calls a function that a page's module exports. */
  const call = (page, module, name, options) =>
    page.evaluate(async ([module, name, options]) => (await import(module))[name](options), [module, name, options]);

  const watch = setInterval(async () => say(await engine.textContent("#status").catch(() => "")), 10_000);
  let report = await call(engine, `${sites[0].address}/bench.js`, "prepare", { tokens, features, step: values.step });
  clearInterval(watch);
  say("preparing onnxruntime-web");
  let others = await call(peers, `${sites[1].address}/peers.mjs`, "prepare", { tokens, features });
  const native = [];
  for (let done = 0; done < rounds; done++) {
    say(`round ${done + 1} of ${rounds}`);
    report = await call(engine, `${sites[0].address}/bench.js`, "round");
    others = await call(peers, `${sites[1].address}/peers.mjs`, "round");
    if (values.native && values.step !== "none") native.push(await nativeStep(report));
  }
  const summary = summarize(report, others, native);
  print(
    values.json ? JSON.stringify({ report, others, native, summary }, null, 2) : table(report, others, native, summary),
  );
} finally {
  await browser.close();
  sites.forEach((site) => site.close());
}

/** What the binary says of the same step on SwiftShader, by the lowerings that the browser chose; or a file that it wrote. */
async function nativeStep({ lowerings, step }) {
  if (values.native.endsWith(".json")) return JSON.parse(await readFile(values.native, "utf8"));
  say("the native step");
  const forced = lowerings.flatMap(({ kernel, lowering }) => ["--lowering", `${kernel}=${lowering}`]);
  const flags = [
    "bench",
    "--json",
    "--backend",
    "gpu",
    "--device",
    "SwiftShader",
    "--shape",
    step,
    "--steps",
    "1",
    ...forced,
  ];
  const { stdout } = await promisify(execFile)(values.native, flags, {
    env: { ...process.env, VK_ICD_FILENAMES: SWIFTSHADER },
  });
  return JSON.parse(stdout);
}

function least({ samples }) {
  return Math.min(...samples);
}

function median({ samples }) {
  return samples.toSorted((a, b) => a - b)[samples.length >> 1];
}

/** Each claim as a ratio of the fastest times, above 1 where the engine wins. */
function summarize({ subjects, device }, others, native) {
  const of = (backend, what, by) =>
    subjects.filter((one) => one.backend === backend && one.what.startsWith(what) && (!by || one.by === by));
  const best = (list) => Math.min(...list.filter(({ samples }) => samples.length).map(least));
  const ratios = {};
  const f32 = best(of("gpu", "f32"));
  for (const product of ["forward, int8", "backward, int8", "backward, int16"]) {
    if (device) ratios[`WebGPU ${product} ÷ plain f32 WGSL`] = f32 / best(of("gpu", product));
    const simd = best(of("cpu", product).filter(({ by }) => by !== "scalar"));
    ratios[`wasm simd128 ${product} ÷ scalar`] = best(of("cpu", product, "scalar")) / simd;
  }
  const fastest = (backend) => best(others.filter((peer) => peer.backend === backend));
  if (device) ratios["WebGPU forward ÷ onnxruntime-web MatMulNBits"] = fastest("gpu") / best(of("gpu", "forward"));
  ratios["wasm forward ÷ onnxruntime-web int8"] =
    fastest("cpu") / best(of("cpu", "forward").filter(({ by }) => by !== "scalar"));
  const [step] = of("gpu", "whole step");
  if (step && native.length) {
    if (native.some(({ step_digest }) => step_digest !== step.digest))
      throw new Error("the native step's digest is another");
    const pairs = native.map((run, round) => (1000 * run.step_seconds_min) / step.samples[round]);
    ratios["step, browser ÷ native, fastest"] =
      (1000 * Math.min(...native.map((run) => run.step_seconds_min))) / least(step);
    ratios["step, browser ÷ native, median of rounds"] = median({ samples: pairs });
  }
  return ratios;
}

function table({ userAgent, device, lowerings, subjects }, others, native, summary) {
  const shown = (milliseconds) => milliseconds.toFixed(2).padStart(10);
  const line = ({ backend, what, by = "", samples, error }) =>
    `${backend}  ${what.padEnd(30)}${by.padEnd(12)}` +
    (error ? `  left out: ${error}` : `${shown(least({ samples }))}${shown(median({ samples }))}`);
  return [
    `${userAgent}\n${device?.name ?? "no GPU"}: ${tokens} tokens by ${features} × ${features}, ${rounds} rounds, ms: fastest, median\n`,
    ...[...subjects, ...others].map(line),
    "",
    ...lowerings.map(({ kernel, lowering, lowerings }) => `${kernel}: ${lowering} (${lowerings.join(", ")})`),
    ...subjects
      .filter(({ digest }) => digest)
      .map((step) => `${step.backend} step: ${((1000 * step.tokens) / least(step)).toFixed(1)} tokens/s at best`),
    ...native.map((run) => `native step: ${run.tokens_per_second.toFixed(1)} tokens/s (${run.lowerings.join(" ")})`),
    "",
    ...Object.entries(summary).map(([claim, ratio]) => `${ratio.toFixed(2).padStart(8)}  ${claim}`),
  ].join("\n");
}

function print(text) {
  process.stdout.write(`${text}\n`);
}

function say(text) {
  process.stderr.write(`${text}\n`);
}
