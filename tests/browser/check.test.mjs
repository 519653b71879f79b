// Tests that the engine (this library, compiled to WebAssembly) computes the published digests: on the conformance page
// in Chromium and Firefox, and in Node with Dawn, a native implementation of WebGPU.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { DIST, launchChromium, launchFirefox, serve, skipReason } from "./browsers.mjs";

/** @import { TestContext } from "node:test" */
/** @import { Page } from "playwright-core" */
/** @import { CheckEvent } from "../../www/r3mes_www.js" */

const MINUTE = 60_000;
const SWIFTSHADER = "/usr/lib/chromium/vk_swiftshader_icd.json";
const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const SHADERS = new URL("../../shaders/", import.meta.url);
const KERNELS = (await readdir(SHADERS)).filter((file) => file.endsWith(".wgsl")).length;
/** @type {Awaited<ReturnType<typeof serve>>} */
let site;
before(async () => {
  site = await serve(DIST);
});
after(() => site.close());

/**
 * Returns what the conformance page shows for one backend. This function runs in the page.
 * @param {string} backend "cpu" or "gpu"
 */
function readSection(backend) {
  const section = /** @type {HTMLElement} */ (document.querySelector(`#${backend}`));
  const [kernels = [], digests = []] = Array.from(section.querySelectorAll("tbody"), (body) =>
    Array.from(body.rows, (row) => Array.from(row.cells, (cell) => cell.textContent)),
  );
  return { verdict: section.dataset.verdict, device: section.querySelector("p")?.textContent, kernels, digests };
}

/** @param {ReturnType<typeof readSection>} section */
function assertSame({ verdict, kernels, digests }) {
  assert.equal(kernels.length, KERNELS);
  // the page's table says just "correct" for a kernel only if all of its lowerings (WGSL implementations) are correct;
  // the page also accepts a kernel with a single correct lowering, but this test does not
  for (const [kernel, , answers] of kernels) assert.equal(answers, "correct", kernel);
  assert.equal(digests.length, 2);
  for (const [steps, published, found] of digests) assert.equal(found, published, steps);
  assert.equal(verdict, "same");
}

/**
 * Runs the checks of the conformance page in a browser. Resolves to a description of the browser and its GPU, and what
 * the page shows for each backend; or to `undefined` if the page shows nothing new for ten minutes. `page` may be a
 * page object of Playwright or of Puppeteer, because both have all methods that are called here.
 * @param {Page} page
 */
async function runChecks(page) {
  await page.goto(`${site.address}/check.html`);
  await page.click("#start");
  let shown = "";
  for (let minutes = 0; minutes < 10; minutes += 1) {
    const ended = page.waitForSelector("body[data-verdict]", { timeout: 2 * MINUTE }).then(
      () => true,
      () => false,
    );
    if (await Promise.race([ended, sleep(MINUTE)])) {
      const [cpu, gpu] = [await page.evaluate(readSection, "cpu"), await page.evaluate(readSection, "gpu")];
      return { cpu, gpu, name: `${await page.evaluate(() => navigator.userAgent)}: ${gpu.device}` };
    }
    const text = await Promise.race([page.evaluate(() => document.body.innerText), sleep(MINUTE)]);
    if (text && text !== shown) [shown, minutes] = [text, 0];
  }
  console.error(`The page has shown nothing new for ten minutes:\n${shown}`);
  return undefined;
}

/**
 * Checks that the conformance page in a browser computes the golden digests. Firefox has hung once in hundreds of
 * runs, so a browser that makes no progress is started once more.
 * @param {TestContext} t
 * @param {() => Promise<{ newPage(): Promise<unknown>, close(): Promise<void> }>} launch starts the browser
 */
async function checkBrowser(t, launch) {
  const run = async () => {
    const browser = await launch();
    t.after(() => browser.close());
    return runChecks(/** @type {Page} */ (await browser.newPage()));
  };
  const found = (await run()) ?? (await run());
  assert.ok(found, "the page makes no progress");
  assertSame(found.cpu);
  assertSame(found.gpu);
  t.diagnostic(found.name);
}

test("Chromium computes the published digests", { skip: skipReason("Chromium"), timeout: 40 * MINUTE }, (t) =>
  checkBrowser(t, launchChromium),
);

test("Firefox computes the published digests", { skip: skipReason("Firefox"), timeout: 40 * MINUTE }, (t) =>
  checkBrowser(t, launchFirefox),
);

/** Returns Dawn, the WebGPU implementation of Chromium, for Node. */
async function openDawn() {
  // Debian's llvmpipe is too old for Dawn, so Dawn uses the SwiftShader in Chromium's package instead
  if (existsSync(SWIFTSHADER)) process.env.VK_ICD_FILENAMES ??= SWIFTSHADER;
  const dawn = await import("webgpu");
  return { globals: dawn.globals, gpu: dawn.create([]) };
}

// A software GPU runs only some of the lowerings; a browser on a hardware GPU compiles the others too.
test("Dawn accepts the WGSL of every lowering", { timeout: 20 * MINUTE }, async (t) => {
  const { globals, gpu } = await openDawn();
  Object.assign(globalThis, globals);
  const adapter = await gpu.requestAdapter();
  if (!adapter && !process.env.CI) {
    t.skip("Dawn finds no GPU on this machine");
    return;
  }
  assert.ok(adapter);
  const folder = await mkdtemp(join(tmpdir(), "r3mes-wgsl-"));
  await promisify(execFile)("cargo", ["run", "--quiet", "--example", "wgsl", "--", folder], { cwd: ROOT });
  const device = await adapter.requestDevice();
  const files = await readdir(folder);
  assert.ok(files.length > KERNELS, `${files.length} lowerings`);
  for (const file of files) {
    device.pushErrorScope("validation");
    device.createShaderModule({ code: await readFile(join(folder, file), "utf8") });
    assert.equal((await device.popErrorScope())?.message, undefined, file);
  }
  device.destroy();
  await rm(folder, { recursive: true });
});

test("Node on Dawn computes the published digests", { timeout: 40 * MINUTE }, async (t) => {
  const { globals, gpu } = await openDawn();
  // wgpu uses `navigator.gpu` only in a window or a Web Worker, so Node pretends to be a Web Worker
  Object.assign(globalThis, globals, { WorkerGlobalScope: Object });
  Object.defineProperty(globalThis, "navigator", { value: { gpu }, configurable: true });
  /** @type {typeof import("../../www/r3mes_www.js")} */
  const { default: init, check, devices } = await import(`${DIST}r3mes_www.js`);
  await init({ module_or_path: await readFile(`${DIST}r3mes_www_bg.wasm`) });
  const [device] = await devices();
  if (!device && !process.env.CI) {
    t.skip("Dawn finds no GPU on this machine");
    return;
  }
  t.diagnostic(device.name);
  /** @type {[expected: string, found: string | undefined][]} */
  const digests = [];
  // this test checks only the digest of one training step; the test in Chromium also checks the digest of a hundred
  // training steps, on the same GPU driver
  const onEvent = (/** @type {CheckEvent} */ event) => {
    if (event.event === "digest") digests.push([event.expected, event.found]);
    else assert.deepEqual([event.refused, event.error], [[], undefined], event.kernel);
  };
  const same = await check("gpu", onEvent, ["step"]);
  assert.equal(digests.length, 1);
  for (const [expected, found] of digests) assert.equal(found, expected);
  assert.ok(same);
});
