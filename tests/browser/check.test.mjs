// The conformance page in real browsers, and the engine in Node on Dawn: the published digests everywhere.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { existsSync } from "node:fs";
import { readFile, readdir } from "node:fs/promises";
import { DIST, chromium, firefox, missing, serve } from "./browsers.mjs";

const MINUTES = 60_000;
const SWIFTSHADER = "/usr/lib/chromium/vk_swiftshader_icd.json";
const SHADERS = new URL("../../shaders/", import.meta.url);
const KERNELS = (await readdir(SHADERS)).filter((file) => file.endsWith(".wgsl")).length;
let site;
before(async () => {
  site = await serve(DIST);
});
after(() => site.close());

/** What the page shows of one backend, read from its tables. */
function shown(backend) {
  const section = document.querySelector(`#${backend}`);
  const rows = (table) =>
    [...section.querySelectorAll("table")[table].querySelectorAll("tbody tr")].map((row) =>
      [...row.cells].map((cell) => cell.textContent),
    );
  return {
    verdict: section.dataset.verdict,
    device: section.querySelector("p")?.textContent,
    kernels: rows(0),
    digests: rows(1),
  };
}

function assertSame({ verdict, kernels, digests }) {
  assert.equal(kernels.length, KERNELS);
  for (const [kernel, , answers] of kernels) assert.equal(answers, "right", kernel);
  assert.equal(digests.length, 2);
  for (const [steps, published, found] of digests) assert.equal(found, published, steps);
  assert.equal(verdict, "same");
}

for (const [name, launch] of [
  ["Chromium", chromium],
  ["Firefox", firefox],
]) {
  test(`${name} computes the published digests`, { skip: missing(name), timeout: 40 * MINUTES }, async (t) => {
    const browser = await launch();
    try {
      const page = await browser.newPage();
      await page.goto(`${site.address}/check.html`);
      await page.click("#start");
      await page.waitForSelector("body[data-verdict]", { timeout: 40 * MINUTES });
      const [cpu, gpu] = [await page.evaluate(shown, "cpu"), await page.evaluate(shown, "gpu")];
      t.diagnostic(`${await page.evaluate(() => navigator.userAgent)}: ${gpu.device}`);
      assertSame(cpu);
      assertSame(gpu);
    } finally {
      await browser.close();
    }
  });
}

test("Node on Dawn computes the published digests", { timeout: 40 * MINUTES }, async (t) => {
  const dawn = await import("webgpu");
  // Dawn takes no llvmpipe as old as Debian's; Chromium brings SwiftShader
  if (existsSync(SWIFTSHADER)) process.env.VK_ICD_FILENAMES ??= SWIFTSHADER;
  // wgpu asks for `navigator.gpu` in a window or in a worker only
  Object.assign(globalThis, dawn.globals, { WorkerGlobalScope: Object });
  Object.defineProperty(globalThis, "navigator", { value: { gpu: dawn.create([]) }, configurable: true });
  const { default: init, check, devices } = await import(`${DIST}r3mes_www.js`);
  await init({ module_or_path: await readFile(`${DIST}r3mes_www_bg.wasm`) });
  const [device] = await devices();
  if (!device && !process.env.CI) return t.skip("Dawn finds no GPU here");
  t.diagnostic(device.name);
  const digests = [];
  const same = await check("gpu", (event) => {
    if (event.event === "digest") digests.push([event.expected, event.found]);
    else assert.equal(event.error, undefined, event.kernel);
  });
  assert.equal(digests.length, 2);
  for (const [expected, found] of digests) assert.equal(found, expected);
  assert.ok(same);
});
