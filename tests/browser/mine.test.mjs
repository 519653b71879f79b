// Mining in Chromium with a real node process: what a visitor does, and what may go wrong meanwhile.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startNode } from "./node.mjs";
import { DIST, chromium, missing } from "./browsers.mjs";

const MINUTE = 60_000;
const skip = missing("Chromium");
let browser;
before(async () => {
  if (!skip) browser = await chromium();
});
after(() => browser?.close());

/** A fresh visitor on the node's page, errors and foreign requests noted. */
async function visit(node, { consent = true, context } = {}) {
  const visitor = context ?? (await browser.newContext({ permissions: ["clipboard-read", "clipboard-write"] }));
  const page = await visitor.newPage();
  const seen = { errors: [], foreign: [] };
  page.on("pageerror", (error) => seen.errors.push(error.message));
  page.on("console", (message) => message.type() === "error" && seen.errors.push(message.text()));
  page.on("request", (request) => {
    const { origin } = new URL(request.url());
    if (origin !== node.url && !request.url().startsWith("blob:")) seen.foreign.push(request.url());
  });
  await page.goto(node.url);
  if (consent && !context) await page.getByRole("button", { name: "I agree" }).click();
  return { page, visitor, seen };
}

const button = (page, name) => page.getByRole("button", { name, exact: true });
const state = (page, wanted) =>
  page.waitForFunction((wanted) => document.querySelector("r3mes-miner").dataset.state === wanted, wanted, { timeout: 5 * MINUTE });
const accepted = (page, least) =>
  page.waitForFunction(
    (least) => Number(document.querySelector("r3mes-miner").shadowRoot.querySelector("#accepted").textContent) >= least,
    least,
    { timeout: 5 * MINUTE },
  );
const shown = (page, id) => page.evaluate((id) => document.querySelector("r3mes-miner").shadowRoot.getElementById(id).textContent, id);
const ownAddress = (page) => page.evaluate(() => document.querySelector("r3mes-miner").shadowRoot.querySelector("#address").placeholder);

test("consent, start, three accepted, the ledger's balance; pause, finish, stop; reload goes on", { skip, timeout: 15 * MINUTE }, async () => {
  const node = await startNode({ page: DIST });
  try {
    const { page, visitor, seen } = await visit(node, { consent: false });
    assert.ok(await button(page, "I agree").isVisible());
    assert.ok(!(await button(page, "Start").isVisible()), "nothing to start before consent");
    await button(page, "I agree").click();
    assert.equal((await node.get("/stats")).accepted_total, 0, "nothing runs by itself");

    await button(page, "Start").click();
    await accepted(page, 3);
    await button(page, "Pause").click();
    await state(page, "paused");
    assert.match(await shown(page, "reason"), /by you/);
    await button(page, "Resume").click();
    await state(page, "mining");
    await button(page, "Finish").click();
    await state(page, "stopped");
    const address = await ownAddress(page);
    const total = (await node.get("/stats")).accepted_total;
    assert.equal(await node.balance(address), total * 1_000_000);
    assert.equal(await shown(page, "balance"), `${total} R3MES`);
    assert.equal(Number(await shown(page, "accepted")), total);

    // Stop, in the middle of a task: nothing is sent after it returns
    await button(page, "Start").click();
    await state(page, "mining");
    let sent = 0;
    const stopped = await page.evaluate(async () => {
      const miner = document.querySelector("r3mes-miner");
      await new Promise((step) => miner.addEventListener("r3mes:step", step, { once: true }));
      miner.stop();
      return miner.state;
    });
    page.on("request", (request) => (sent += request.method() === "POST" ? 1 : 0));
    assert.equal(stopped, "stopped");
    const before = (await node.get("/health")).height;
    await new Promise((pass) => setTimeout(pass, 3000));
    assert.equal(sent, 0);
    assert.ok((await node.get("/health")).height - before <= 1, "at most what was on its way");

    // A reload remembers, and goes on with the task at hand
    await page.reload();
    await page.waitForFunction(() => document.querySelector("r3mes-miner").dataset.state === "ready");
    const remembered = Number(await shown(page, "accepted"));
    assert.ok(remembered >= total);
    await button(page, "Start").click();
    await accepted(page, remembered + 1);
    assert.equal(await ownAddress(page), address, "the same key");

    // A second tab does not mine
    const second = await visit(node, { context: visitor });
    await button(second.page, "Start").click();
    await state(second.page, "elsewhere");
    assert.match(await shown(second.page, "reason"), /One miner a browser/);
    await second.page.close();
    assert.deepEqual(seen, { errors: [], foreign: [] });
  } finally {
    await node.stop();
  }
});

test("a node that is killed is waited for; nothing counts twice", { skip, timeout: 10 * MINUTE }, async () => {
  let node = await startNode({ page: DIST });
  try {
    const { page } = await visit(node);
    await button(page, "Start").click();
    await accepted(page, 1);
    await node.kill();
    await state(page, "offline");
    assert.match(await shown(page, "reason"), /trying again/);
    node = await node.again();
    const done = Number(await shown(page, "accepted"));
    await accepted(page, done + 2);
    await button(page, "Finish").click();
    await state(page, "stopped");
    const total = (await node.get("/stats")).accepted_total;
    assert.equal(await node.balance(await ownAddress(page)), total * 1_000_000);
  } finally {
    await node.stop();
  }
});

test("a worker that crashes is replaced, and after three crashes the reason is shown", { skip, timeout: 10 * MINUTE }, async () => {
  const node = await startNode({ page: DIST });
  try {
    const { page } = await visit(node);
    let crashes = 1;
    await page.route("**/r3mes_www.js", (route) =>
      crashes-- > 0 ? route.fulfill({ contentType: "text/javascript", body: "throw new Error('planted')" }) : route.continue(),
    );
    await button(page, "Start").click();
    await accepted(page, 1);
    await button(page, "Stop").click();
    crashes = 100;
    await button(page, "Start").click();
    await state(page, "error");
    assert.notEqual(await shown(page, "reason"), "");
  } finally {
    await node.stop();
  }
});

test("the main thread stays free, and paid address and settings are kept", { skip, timeout: 10 * MINUTE }, async () => {
  const node = await startNode({ page: DIST });
  try {
    const { page } = await visit(node);
    const payee = "remes1qqqsyqcyq5rqwzqfpg9scrgwpugpzysn7hvxsv";
    await page.evaluate(() => {
      globalThis.longTasks = [];
      new PerformanceObserver((list) => longTasks.push(...list.getEntries().map((entry) => entry.duration))).observe({ type: "longtask" });
      document.querySelector("r3mes-miner").shadowRoot.querySelectorAll("details").forEach((details) => (details.open = true));
    });
    const field = page.getByLabel("Paid to");
    await field.fill("nonsense");
    await field.blur();
    await button(page, "Start").click();
    await state(page, "error");
    assert.match(await shown(page, "reason"), /no address of this chain/);
    await field.fill(payee);
    await field.blur();
    await button(page, "Start").click();
    await accepted(page, 3);
    assert.deepEqual(await page.evaluate(() => longTasks.filter((duration) => duration >= 50)), []);
    assert.equal(await node.balance(payee), (await node.get("/stats")).accepted_total * 1_000_000);
    await page.reload();
    assert.equal(await page.evaluate(() => document.querySelector("r3mes-miner").shadowRoot.querySelector("#address").value), payee);
  } finally {
    await node.stop();
  }
});
