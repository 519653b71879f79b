// Tests that a visitor can mine in Chromium with a real node process, and that the page shows the correct states,
// reasons and amounts.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { DIST, launchChromium, skipReason } from "./browsers.mjs";
import { startNode } from "./node.mjs";
import { MINUTE, button, openDetails, ownAddress, textOf, visit, waitForAccepted, waitForState } from "./visitor.mjs";

/** The reward that the node pays for each task, in micro-units. */
const REWARD = 1_000_000;

const skip = skipReason("Chromium");
/** @type {import("playwright-core").Browser} */
let browser;
/** @type {import("./node.mjs").TestNode} */
let node;
before(async () => {
  if (!skip) browser = await launchChromium();
});
after(() => browser?.close());
// each test has its own node, so that no test waits for tasks that the visitor of an earlier test left incomplete
beforeEach(async () => {
  if (!skip) node = await startNode({ page: DIST });
});
afterEach(() => node?.stop());

test(
  "a visitor consents, mines, pauses, finishes, stops, and continues after a reload",
  {
    skip,
    timeout: 15 * MINUTE,
  },
  async () => {
    const { page, visitor, seen } = await visit(browser, node, { consent: false });
    assert.ok(await button(page, "I agree").isVisible());
    assert.ok(!(await button(page, "Start").isVisible()), "no Start button before consent");
    await button(page, "I agree").click();
    assert.equal((await node.get("/stats")).accepted_total, 0, "mining does not start by itself");

    await button(page, "Start").click();
    await waitForAccepted(page, 3);
    await button(page, "Pause").click();
    await waitForState(page, "paused");
    assert.match(await textOf(page, "reason"), /You paused/);
    await button(page, "Resume").click();
    await waitForState(page, "mining");
    await button(page, "Finish").click();
    await waitForState(page, "stopped");
    const address = await ownAddress(page);
    const total = (await node.get("/stats")).accepted_total;
    assert.equal(await node.balance(address), total * REWARD);
    assert.equal(await textOf(page, "balance"), `${total} R3MES`);
    assert.equal(await textOf(page, "earned"), `${total} R3MES`);
    assert.equal(Number(await textOf(page, "accepted")), total);
    assert.equal(await textOf(page, "share"), "100 %");

    // for each row of the table of submissions, the node has the block with the row's CID, and the chain includes the
    // row's transaction
    const rows = await page.evaluate(() => {
      const table = document.querySelector("r3mes-miner")?.shadowRoot?.querySelectorAll("#submissions tr") ?? [];
      return Array.from(table, (row) => Array.from(row.children, (cell) => cell.textContent));
    });
    assert.equal(rows.length, total);
    for (const [, status, , reward, cid, , transaction] of rows) {
      assert.deepEqual([status, reward], ["accepted", "1 R3MES"]);
      assert.equal((await fetch(`${node.url}/ipfs/${cid}?format=raw`)).status, 200);
      assert.equal((await node.get(`/cosmos/tx/v1beta1/txs/${transaction}`)).tx_response.code, 0);
    }

    // after stop() in the middle of a task, the page sends nothing
    await button(page, "Start").click();
    const stopped = await page.evaluate(async () => {
      const miner = document.querySelector("r3mes-miner");
      if (!miner) return "no miner";
      await new Promise((resolve) =>
        miner.addEventListener("r3mes:step", (event) => {
          if (/** @type {CustomEvent} */ (event).detail.stage === "claimed") resolve(undefined);
        }),
      );
      miner.stop();
      return miner.state;
    });
    let sent = 0;
    page.on("request", (request) => (sent += request.method() === "POST" ? 1 : 0));
    assert.equal(stopped, "stopped");
    const height = (await node.get("/health")).height;
    await new Promise((resolve) => setTimeout(resolve, 3000));
    assert.equal(sent, 0);
    assert.equal((await node.get("/health")).height, height);

    // after a reload, the page shows the same number of accepted tasks as before, and completes the task that it had
    // claimed
    await page.reload();
    await waitForState(page, "ready");
    assert.equal(Number(await textOf(page, "accepted")), total);
    await button(page, "Start").click();
    await waitForAccepted(page, total + 1);
    assert.equal(await ownAddress(page), address, "the same key as before the reload");

    // a second tab of the same browser does not mine
    const second = await visit(browser, node, { context: visitor });
    await button(second.page, "Start").click();
    await waitForState(second.page, "elsewhere");
    assert.match(await textOf(second.page, "reason"), /Only one tab/);
    await page.close();
    await waitForState(second.page, "mining");
    await visitor.close();
    assert.deepEqual(seen, { errors: [], foreign: [] });
  },
);

test("every pause reason is shown and can be overridden", { skip, timeout: 10 * MINUTE }, async () => {
  const { page, visitor } = await visit(browser, node);
  await page.addInitScript(() => {
    globalThis.battery = Object.assign(new EventTarget(), { charging: true });
    navigator.getBattery = async () => globalThis.battery;
  });
  await page.reload();
  await waitForState(page, "ready");
  await openDetails(page);
  await button(page, "Start").click();
  await waitForState(page, "mining");
  await page.evaluate(() => {
    globalThis.battery.charging = false;
    globalThis.battery.dispatchEvent(new Event("chargingchange"));
  });
  await waitForState(page, "paused");
  assert.match(await textOf(page, "reason"), /battery/);
  await button(page, "Resume").click();
  await waitForState(page, "mining");
  await button(page, "Pause").click();
  await waitForState(page, "paused");
  assert.match(await textOf(page, "reason"), /You paused/);
  await button(page, "Resume").click();
  await page.getByLabel("while someone is using this page").check();
  await waitForState(page, "paused");
  assert.match(await textOf(page, "reason"), /Someone is using/);
  await page.getByLabel("while someone is using this page").uncheck();
  await waitForState(page, "mining");
  await page.getByLabel("while this tab is hidden").check();
  await page.evaluate(() => {
    Object.defineProperty(document, "hidden", { get: () => true, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  });
  await waitForState(page, "paused");
  assert.match(await textOf(page, "reason"), /hidden/);
  await button(page, "Stop").click();
  await waitForState(page, "stopped");
  await visitor.close();
});

test(
  "the main thread is never blocked; the payout address is stored, and an invalid one is named",
  {
    skip,
    timeout: 10 * MINUTE,
  },
  async () => {
    const { page, visitor } = await visit(browser, node);
    const payee = "remes1qqqsyqcyq5rqwzqfpg9scrgwpugpzysnuf2xtm";
    await page.evaluate(() => {
      globalThis.longTasks = [];
      new PerformanceObserver((list) => {
        globalThis.longTasks.push(...list.getEntries().map(({ duration }) => duration));
      }).observe({ type: "longtask" });
    });
    await openDetails(page);
    const field = page.getByLabel("Payout address");
    await field.fill("nonsense");
    await field.blur();
    await button(page, "Start").click();
    await waitForState(page, "error");
    assert.match(await textOf(page, "reason"), /nonsense/);
    await field.fill(payee);
    await field.blur();
    const balanceBefore = await node.balance(payee);
    const acceptedBefore = (await node.get("/stats")).accepted_total;
    await button(page, "Start").click();
    await waitForAccepted(page, 3);
    await button(page, "Finish").click();
    await waitForState(page, "stopped");
    assert.deepEqual(await page.evaluate(() => globalThis.longTasks.filter((duration) => duration >= 50)), []);
    const accepted = (await node.get("/stats")).accepted_total - acceptedBefore;
    assert.equal((await node.balance(payee)) - balanceBefore, accepted * REWARD);
    await page.reload();
    await waitForState(page, "ready");
    await openDetails(page);
    assert.equal(await field.inputValue(), payee);
    await visitor.close();
  },
);

test(
  "the escrow of a probation is shown beside the balance, also after a reload",
  {
    skip,
    timeout: 5 * MINUTE,
  },
  async () => {
    const { page, visitor } = await visit(browser, node);
    // this node holds nothing in escrow, so the test replaces the node's answer with one that states an amount
    await page.route("**/miner_score/*", (route) => route.fulfill({ json: { miner_score: { escrow: "2500000" } } }));
    await button(page, "Start").click();
    await waitForAccepted(page, 1);
    await button(page, "Finish").click();
    await waitForState(page, "stopped");
    assert.match(await textOf(page, "balance"), /^\d+ R3MES \+ 2\.5 R3MES in escrow$/);
    await page.reload();
    await waitForState(page, "ready");
    await page.waitForFunction(() => {
      const balance = document.querySelector("r3mes-miner")?.shadowRoot?.getElementById("balance");
      return balance?.textContent?.endsWith("in escrow");
    });
    await visitor.close();
  },
);

test(
  "the page can be used by keyboard alone, and axe-core finds no serious violation",
  {
    skip,
    timeout: 10 * MINUTE,
  },
  async () => {
    const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
    const { page, visitor } = await visit(browser, node, { consent: false, colorScheme: "dark" });
    const seriousViolations = async () => {
      // the browser driver evaluates axe-core (an accessibility checker), because the page's Content Security Policy
      // forbids scripts from other origins
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
      const serious = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
      return serious.map(({ id, nodes }) => `${id}: ${nodes[0].html}`);
    };
    const focusedId = () =>
      page.evaluate(() => document.querySelector("r3mes-miner")?.shadowRoot?.activeElement?.id ?? "");
    /**
     * Presses Tab until the element with this ID has the focus.
     * @param {string} id
     */
    const tabTo = async (id) => {
      for (let presses = 0; presses < 40; presses += 1) {
        if ((await focusedId()) === id) return;
        await page.keyboard.press("Tab");
      }
      assert.fail(`Tab does not reach #${id}`);
    };
    assert.deepEqual(await seriousViolations(), []);
    await tabTo("agree");
    await page.keyboard.press("Enter");
    await tabTo("start");
    await page.keyboard.press("Enter");
    await waitForAccepted(page, 1);
    await openDetails(page);
    assert.deepEqual(await seriousViolations(), []);
    await page.emulateMedia({ colorScheme: "light" });
    assert.deepEqual(await seriousViolations(), []);
    const ids = "stop intensity battery cap backend clear test receipt verify filter copy log";
    for (const id of ids.split(" ")) await tabTo(id);
    await page.evaluate(() => {
      const stop = document.querySelector("r3mes-miner")?.shadowRoot?.querySelector("#stop");
      if (stop instanceof HTMLElement) stop.focus();
    });
    await page.keyboard.press("Space");
    await waitForState(page, "stopped");
    await visitor.close();
  },
);
