// Tests that mining in Chromium survives failures of a real node process, of a Web Worker and of the GPU. No work may
// be lost or paid twice, and the page must show why it waits.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { DIST, launchChromium, skipReason } from "./browsers.mjs";
import { startNode } from "./node.mjs";
import { MINUTE, button, ownAddress, textOf, visit, waitForAccepted, waitForState } from "./visitor.mjs";

/** @import { Page } from "playwright-core" */
/** @import { TestNode } from "./node.mjs" */

/** The reward that the node pays for each task, in micro-units. */
const REWARD = 1_000_000;
/** Matches the messages of the page and the engine that announce another attempt. */
const RETRYING = /retrying|trying again/i;

const skip = skipReason("Chromium");
/** @type {import("playwright-core").Browser} */
let browser;
before(async () => {
  if (!skip) browser = await launchChromium();
});
after(() => browser?.close());

/** @param {(node: TestNode) => Promise<void>} run */
async function withNode(run) {
  const node = await startNode({ page: DIST });
  try {
    await run(node);
  } finally {
    await node.stop();
  }
}

/**
 * Asserts that the node paid one reward for each accepted task, and that the page shows the same number of tasks.
 * @param {TestNode} node
 * @param {Page} page
 */
async function assertPaid(node, page) {
  const total = (await node.get("/stats")).accepted_total;
  assert.equal(await node.balance(await ownAddress(page)), total * REWARD);
  assert.equal(Number(await textOf(page, "accepted")), total);
}

test("the page waits for a killed node, then submits the computed task once", { skip, timeout: 10 * MINUTE }, () =>
  withNode(async (first) => {
    const { page } = await visit(browser, first);
    await button(page, "Start").click();
    await waitForAccepted(page, 1);
    // wait until the page computes a task, then kill the node, so that the page cannot submit the task's result
    await page.evaluate(
      () =>
        new Promise((resolve) => {
          document.querySelector("r3mes-miner")?.addEventListener("r3mes:step", (event) => {
            if (/** @type {CustomEvent} */ (event).detail.stage === "claimed") resolve(undefined);
          });
        }),
    );
    await first.kill();
    await waitForState(page, "offline");
    assert.match(await textOf(page, "reason"), RETRYING);
    const node = await first.restart();
    const accepted = Number(await textOf(page, "accepted"));
    await waitForAccepted(page, accepted + 2);
    await button(page, "Finish").click();
    await waitForState(page, "stopped");
    await assertPaid(node, page);
    await node.kill();
  }),
);

test("after a reload the page submits what it had computed", { skip, timeout: 10 * MINUTE }, () =>
  withNode(async (node) => {
    const { page } = await visit(browser, node);
    // all uploads of blocks fail, so the first task is computed but not submitted
    await page.route("**/api/v0/block/put*", (route) => route.abort());
    await button(page, "Start").click();
    await waitForState(page, "offline");
    await page.unroute("**/api/v0/block/put*");
    await page.reload();
    await button(page, "Start").click();
    await waitForAccepted(page, 1);
    await button(page, "Finish").click();
    await waitForState(page, "stopped");
    assert.match(await textOf(page, "log"), /found bafy/);
    await assertPaid(node, page);
  }),
);

test("a crashed worker is replaced; after repeated crashes the reason is shown", { skip, timeout: 10 * MINUTE }, () =>
  withNode(async (node) => {
    const { page } = await visit(browser, node);
    let crashes = 1;
    await page.route("**/r3mes_www.js", (route) =>
      crashes-- > 0
        ? route.fulfill({ contentType: "text/javascript", body: "throw new Error('planted')" })
        : route.continue(),
    );
    await button(page, "Start").click();
    await waitForAccepted(page, 1);
    await button(page, "Stop").click();
    crashes = 100;
    await button(page, "Start").click();
    await waitForState(page, "error");
    assert.notEqual(await textOf(page, "reason"), "");
  }),
);

test("a lost GPU is opened again", { skip, timeout: 15 * MINUTE }, () =>
  withNode(async (node) => {
    const { page } = await visit(browser, node);
    // in the first Web Worker, this code destroys the GPU device while the miner computes on it
    let losses = 1;
    await page.route("**/worker.js", async (route) => {
      const response = await route.fetch();
      const planted = `
        const request = GPUAdapter.prototype.requestDevice;
        GPUAdapter.prototype.requestDevice = async function (...options) {
          const device = await request.apply(this, options);
          self.addEventListener("message", ({ data }) => data.call === "start" && setTimeout(() => device.destroy(), 500));
          return device;
        };`;
      await route.fulfill({ response, body: (losses-- > 0 ? planted : "") + (await response.text()) });
    });
    await page.evaluate(() => {
      const backend = document.querySelector("r3mes-miner")?.shadowRoot?.querySelector("#backend");
      if (backend instanceof HTMLSelectElement) backend.value = "gpu";
    });
    await button(page, "Start").click();
    // on a software GPU, testing the kernels against known answers takes minutes, and every new Web Worker repeats this
    // test
    await waitForAccepted(page, 1, 12 * MINUTE);
    const log = await textOf(page, "log");
    assert.match(log, /failed: .*lost/);
    assert.match(log, RETRYING);
    await button(page, "Stop").click();
  }),
);
