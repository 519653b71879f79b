// What goes wrong while a page mines, in Chromium with a real node: nothing is lost, nothing counts twice, and the
// page says why it waits.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { DIST, chromium, missing } from "./browsers.mjs";
import { startNode } from "./node.mjs";
import { MINUTE, accepted, button, ownAddress, shown, state, visit } from "./visitor.mjs";

const skip = missing("Chromium");
let browser;
before(async () => {
  if (!skip) browser = await chromium();
});
after(() => browser?.close());

async function withNode(work) {
  const node = await startNode({ page: DIST });
  try {
    await work(node);
  } finally {
    await node.stop();
  }
}

/** Every accepted task is paid once. */
async function assertPaid(node, page) {
  const total = (await node.get("/stats")).accepted_total;
  assert.equal(await node.balance(await ownAddress(page)), total * 1_000_000);
  assert.equal(Number(await shown(page, "accepted")), total);
}

test(
  "a node that is killed is waited for; the work at hand is handed in, nothing twice",
  { skip, timeout: 10 * MINUTE },
  () =>
    withNode(async (first) => {
      const { page } = await visit(browser, first);
      await button(page, "Start").click();
      await accepted(page, 1);
      // while a task is computed, so that it is done when nobody is there to take it
      await page.evaluate(
        () =>
          new Promise((claimed) => {
            document
              .querySelector("r3mes-miner")
              .addEventListener("r3mes:step", ({ detail }) => detail.stage === "claimed" && claimed());
          }),
      );
      await first.kill();
      await state(page, "offline");
      assert.match(await shown(page, "reason"), /trying again/);
      const node = await first.again();
      const done = Number(await shown(page, "accepted"));
      await accepted(page, done + 2);
      await button(page, "Finish").click();
      await state(page, "stopped");
      await assertPaid(node, page);
      await node.kill();
    }),
);

test("a reload in the middle hands in what was computed", { skip, timeout: 10 * MINUTE }, () =>
  withNode(async (node) => {
    const { page } = await visit(browser, node);
    // blocks are not taken: the first task stays computed
    await page.route("**/api/v0/block/put*", (route) => route.abort());
    await button(page, "Start").click();
    await state(page, "offline");
    await page.unroute("**/api/v0/block/put*");
    await page.reload();
    await button(page, "Start").click();
    await accepted(page, 1);
    await button(page, "Finish").click();
    await state(page, "stopped");
    assert.match(await shown(page, "log"), /found bafy/);
    await assertPaid(node, page);
  }),
);

test("a worker that crashes is replaced; after three crashes the reason is shown", { skip, timeout: 10 * MINUTE }, () =>
  withNode(async (node) => {
    const { page } = await visit(browser, node);
    let crashes = 1;
    await page.route("**/r3mes_www.js", (route) =>
      crashes-- > 0
        ? route.fulfill({ contentType: "text/javascript", body: "throw new Error('planted')" })
        : route.continue(),
    );
    await button(page, "Start").click();
    await accepted(page, 1);
    await button(page, "Stop").click();
    crashes = 100;
    await button(page, "Start").click();
    await state(page, "error");
    assert.notEqual(await shown(page, "reason"), "");
  }),
);

test("a GPU that is lost is opened again", { skip, timeout: 15 * MINUTE }, () =>
  withNode(async (node) => {
    const { page } = await visit(browser, node);
    // the first worker's device is destroyed while it computes for the miner
    let losses = 1;
    await page.route("**/worker.js", async (route) => {
      const response = await route.fetch();
      const planted = `
        const request = GPUAdapter.prototype.requestDevice;
        GPUAdapter.prototype.requestDevice = async function (...given) {
          const device = await request.apply(this, given);
          self.addEventListener("message", ({ data }) => data.call === "start" && setTimeout(() => device.destroy(), 500));
          return device;
        };`;
      await route.fulfill({ response, body: (losses-- > 0 ? planted : "") + (await response.text()) });
    });
    await page.evaluate(() => {
      const { shadowRoot } = document.querySelector("r3mes-miner");
      shadowRoot.querySelector("#backend").value = "gpu";
    });
    await button(page, "Start").click();
    // on a software GPU the known answers take minutes, and are asked twice
    await accepted(page, 1, 12 * MINUTE);
    const log = await shown(page, "log");
    assert.match(log, /failed: .*lost/);
    assert.match(log, /trying again/);
    await button(page, "Stop").click();
  }),
);

test("two hundred tasks take no more memory than fifty", { skip, timeout: 25 * MINUTE }, () =>
  withNode(async (node) => {
    const { page } = await visit(browser, node);
    const client = await page.context().newCDPSession(page);
    await client.send("Performance.enable");
    const memory = async () => {
      await client.send("HeapProfiler.collectGarbage");
      const { metrics } = await client.send("Performance.getMetrics");
      return {
        engine: Number.parseFloat(await shown(page, "memory")),
        page: metrics.find(({ name }) => name === "JSHeapUsedSize").value,
      };
    };
    await button(page, "Start").click();
    await accepted(page, 50);
    const early = await memory();
    await accepted(page, 200, 20 * MINUTE);
    const late = await memory();
    // the heap may need another page of 64 KiB or two; were a task's blocks kept, 150 would be megabytes
    assert.ok(late.engine < early.engine + 0.25, `${early.engine} MB became ${late.engine} MB`);
    assert.ok(late.page < early.page + 2e6, `${early.page} bytes became ${late.page}`);
    await button(page, "Stop").click();
  }),
);
