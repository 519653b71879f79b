// Compares the benchmark page with two other programs, and prints times in milliseconds and speed ratios. The page's
// matrix products are compared with those of onnxruntime-web in the same Chromium; the two take turns, round by round.
// The page's training step is compared with that of the native binary, on the same software GPU and with the same
// lowerings (WGSL implementations of kernels).
//
// Usage: node bench.mjs [--tokens 128] [--features 1024] [--step small] [--rounds 5] [--native BINARY|JSON] [--json]

import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { DIST, launchChromium, serve } from "./browsers.mjs";

/** @import { Page } from "playwright-core" */
/** @import { BenchOptions } from "../../www/r3mes_www.js" */
/** @import { Results } from "../../www/bench.js" */
/** @import { PeerReport } from "./peers.mjs" */

/**
 * The fields that this script reads from the JSON output of the native command `bench`.
 *
 * @typedef {object} NativeReport
 * @property {string} step_digest the digest of the step's gradient, in hexadecimal
 * @property {number} step_seconds_min the duration of the fastest step
 * @property {number} tokens_per_second the speed of the fastest step
 * @property {string[]} lowerings the lowering used for each kernel
 */
/** @typedef {{ what: string, backend: string, by?: string, samples: number[], error?: string }} Timed */

const { values } = parseArgs({
  options: {
    tokens: { type: "string", default: "128" },
    features: { type: "string", default: "1024" },
    step: { type: "string", default: "small" },
    rounds: { type: "string", default: "5" },
    native: { type: "string" },
    json: { type: "boolean", default: false },
  },
});
const [tokens, features, rounds] = [values.tokens, values.features, values.rounds].map(Number);
const step = /** @type {BenchOptions["step"]} */ (values.step);
const SWIFTSHADER = process.env.VK_ICD_FILENAMES ?? "/usr/lib/chromium/vk_swiftshader_icd.json";

const sites = [await serve(DIST), await serve(fileURLToPath(new URL(".", import.meta.url)))];
const browser = await launchChromium();
try {
  const [enginePage, peersPage] = [await browser.newPage(), await browser.newPage()];
  const [engineModule, peersModule] = [`${sites[0].address}/bench.js`, `${sites[1].address}/peers.mjs`];
  await enginePage.goto(`${sites[0].address}/bench.html`);
  await peersPage.goto(`${sites[1].address}/peers.html`);

  const progress = setInterval(
    async () => say((await enginePage.textContent("#status").catch(() => "")) ?? ""),
    10_000,
  );
  let results = /** @type {Results} */ (await call(enginePage, engineModule, "prepare", { tokens, features, step }));
  clearInterval(progress);
  say("preparing onnxruntime-web");
  let peers = /** @type {PeerReport[]} */ (await call(peersPage, peersModule, "prepare", { tokens, features }));
  /** @type {NativeReport[]} */
  const native = [];
  for (let done = 0; done < rounds; done++) {
    say(`round ${done + 1} of ${rounds}`);
    results = /** @type {Results} */ (await call(enginePage, engineModule, "round"));
    peers = /** @type {PeerReport[]} */ (await call(peersPage, peersModule, "round"));
    if (values.native && step !== "none") native.push(await nativeStep(values.native, results));
  }
  const ratios = compare(results, peers, native);
  const report = { report: results, others: peers, native, summary: ratios };
  const text = values.json ? JSON.stringify(report, null, 2) : table(results, peers, native, ratios);
  process.stdout.write(`${text}\n`);
} finally {
  await browser.close();
  for (const site of sites) site.close();
}

/**
 * Calls a function in a page. The page imports the module that exports the function.
 * @param {Page} page
 * @param {string} module the URL of the module
 * @param {string} name the name of the function
 * @param {object} [options] the argument of the function
 * @returns {Promise<unknown>}
 */
function call(page, module, name, options) {
  return page.evaluate(
    async ([module, name, options]) => (await import(module))[name](options),
    /** @type {const} */ ([module, name, options]),
  );
}

/**
 * Runs the page's training step again with the native binary, on the software GPU SwiftShader and with the lowerings
 * (WGSL implementations of kernels) that the browser chose. Returns the report of the binary. If `native` names a
 * `.json` file, only reads the report from this file.
 * @param {string} native the path of the binary, or of a `.json` file with its output
 * @param {Results} results
 * @returns {Promise<NativeReport>}
 */
async function nativeStep(native, { lowerings, step }) {
  if (native.endsWith(".json")) return JSON.parse(await readFile(native, "utf8"));
  say("running the native step");
  const forced = lowerings.flatMap(({ kernel, lowering }) => ["--lowering", `${kernel}=${lowering}`]);
  const device = ["--backend", "gpu", "--device", "SwiftShader"];
  const args = ["bench", "--json", ...device, "--shape", step, "--steps", "1", ...forced];
  const env = { ...process.env, VK_ICD_FILENAMES: SWIFTSHADER };
  const { stdout } = await promisify(execFile)(native, args, { env });
  return JSON.parse(stdout);
}

/** @param {{ samples: number[] }} timed */
const fastest = ({ samples }) => Math.min(...samples);

/** @param {number[]} samples */
const median = (samples) => samples.toSorted((a, b) => a - b)[samples.length >> 1];

/**
 * Returns the speed ratios, each under a description of the form "speed of A ÷ B". A ratio above 1 means that A is
 * faster. The times are those of the fastest round of A and of the fastest round of B, unless the description says
 * "median".
 * @param {Results} results
 * @param {PeerReport[]} peers
 * @param {NativeReport[]} native
 */
function compare({ subjects, device }, peers, native) {
  /** @type {(backend: string, what: string, by?: string) => Results["subjects"]} */
  const select = (backend, what, by) =>
    subjects.filter((one) => one.backend === backend && one.what.startsWith(what) && (!by || one.by === by));
  /** @type {(list: { samples: number[] }[]) => number} */
  const best = (list) => Math.min(...list.filter(({ samples }) => samples.length).map(fastest));
  /** @type {(what: string) => Results["subjects"]} */
  const simd = (what) => select("cpu", what).filter(({ by }) => by !== "scalar");
  /** @type {Record<string, number>} */
  const ratios = {};
  const f32 = best(select("gpu", "f32"));
  for (const product of ["forward, int8", "backward, int8", "backward, int16"]) {
    if (device) ratios[`speed of WebGPU ${product} ÷ plain f32 WGSL`] = f32 / best(select("gpu", product));
    ratios[`speed of wasm simd128 ${product} ÷ scalar`] = best(select("cpu", product, "scalar")) / best(simd(product));
  }
  /** @type {(backend: string) => number} */
  const bestPeer = (backend) => best(peers.filter((peer) => peer.backend === backend));
  if (device) {
    ratios["speed of WebGPU forward ÷ onnxruntime-web MatMulNBits"] = bestPeer("gpu") / best(select("gpu", "forward"));
  }
  ratios["speed of wasm forward ÷ onnxruntime-web int8"] = bestPeer("cpu") / best(simd("forward"));
  const [step] = select("gpu", "whole step");
  if (step && native.length) {
    if (native.some(({ step_digest }) => step_digest !== step.digest)) {
      throw new Error("the digest of the native step differs from that of the browser's step");
    }
    const nativeMs = native.map(({ step_seconds_min }) => 1000 * step_seconds_min);
    ratios["step speed, browser ÷ native, fastest"] = Math.min(...nativeMs) / fastest(step);
    ratios["step speed, browser ÷ native, median"] = median(nativeMs.map((ms, round) => ms / step.samples[round]));
  }
  return ratios;
}

/**
 * Formats the results as text.
 * @param {Results} results
 * @param {PeerReport[]} peers
 * @param {NativeReport[]} native
 * @param {Record<string, number>} ratios
 */
function table({ userAgent, device, lowerings, subjects }, peers, native, ratios) {
  /** @type {(milliseconds: number) => string} */
  const ms = (milliseconds) => milliseconds.toFixed(2).padStart(10);
  /** @type {(timed: Timed) => string} */
  const line = ({ backend, what, by = "", samples, error }) => {
    const times = error ? `  left out: ${error}` : ms(fastest({ samples })) + ms(median(samples));
    return `${backend}  ${what.padEnd(30)}${by.padEnd(12)}${times}`;
  };
  const shape = `${tokens} tokens × ${features} × ${features} features`;
  const steps = subjects.filter(({ digest }) => digest);
  return [
    userAgent,
    `${device?.name ?? "no GPU"}: ${shape}, ${rounds} rounds; times in milliseconds: fastest, median`,
    "",
    ...[...subjects, ...peers].map(line),
    "",
    ...lowerings.map(({ kernel, lowering, lowerings }) => `${kernel}: ${lowering} (times: ${lowerings.join(", ")})`),
    ...steps.map(
      (step) => `${step.backend} step: ${((1000 * step.tokens) / fastest(step)).toFixed(1)} tokens/s at the fastest`,
    ),
    ...native.map(
      ({ tokens_per_second, lowerings }) =>
        `native step: ${tokens_per_second.toFixed(1)} tokens/s (${lowerings.join(" ")})`,
    ),
    "",
    ...Object.entries(ratios).map(([claim, ratio]) => `${ratio.toFixed(2).padStart(8)}  ${claim}`),
  ].join("\n");
}

/** @param {string} text */
function say(text) {
  process.stderr.write(`${text}\n`);
}
