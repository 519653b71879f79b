// Tests that the memory of the miner in Chromium does not grow while it mines.

import assert from "node:assert/strict";
import { test } from "node:test";
import { DIST, launchChromium, skipReason } from "./browsers.mjs";
import { startNode } from "./node.mjs";
import { MINUTE, button, textOf, visit, waitForAccepted } from "./visitor.mjs";

const skip = skipReason("Chromium");

test("100 tasks take no more memory than 25", { skip, timeout: 25 * MINUTE }, async (t) => {
  const [browser, node] = [await launchChromium(), await startNode({ page: DIST })];
  t.after(async () => {
    await browser.close();
    await node.stop();
  });
  const { page } = await visit(browser, node);
  const client = await page.context().newCDPSession(page);
  await client.send("Performance.enable");
  const measure = async () => {
    await client.send("HeapProfiler.collectGarbage");
    const { metrics } = await client.send("Performance.getMetrics");
    const heap = metrics.find(({ name }) => name === "JSHeapUsedSize");
    return { engine: Number.parseFloat(await textOf(page, "memory")), page: heap?.value ?? NaN };
  };
  await button(page, "Start").click();
  await waitForAccepted(page, 25);
  const early = await measure();
  await waitForAccepted(page, 100, 20 * MINUTE);
  const late = await measure();
  // the engine's heap may grow by a few pages of 64 KiB; if the engine kept the blocks of 75 tasks, the heap would grow
  // by megabytes
  assert.ok(late.engine < early.engine + 0.25, `the engine grew from ${early.engine} MB to ${late.engine} MB`);
  assert.ok(late.page < early.page + 2e6, `the page grew from ${early.page} bytes to ${late.page} bytes`);
  await button(page, "Stop").click();
});
