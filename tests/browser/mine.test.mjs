// Mining in Chromium with a real node process: what a visitor does and sees.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { DIST, chromium, missing } from "./browsers.mjs";
import { startNode } from "./node.mjs";
import { MINUTE, accepted, button, ownAddress, shown, state, unfold, visit } from "./visitor.mjs";

const skip = missing("Chromium");
let browser;
let node;
before(async () => {
  if (!skip) browser = await chromium();
});
after(() => browser?.close());
// one each: what an earlier visitor claimed would hold up the round
beforeEach(async () => {
  if (!skip) node = await startNode({ page: DIST });
});
afterEach(() => node?.stop());

test(
  "consent, start, three accepted, the ledger's balance; pause, finish, stop; reload goes on",
  { skip, timeout: 15 * MINUTE },
  async () => {
    const { page, visitor, seen } = await visit(browser, node, { consent: false });
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
    assert.equal(await shown(page, "earned"), `${total} R3MES`);
    assert.equal(Number(await shown(page, "accepted")), total);
    assert.equal(await shown(page, "share"), "100 %");

    // each row's CID is one that the node has, with a transaction that it settled
    const cells = await page.evaluate(() =>
      [...document.querySelector("r3mes-miner").shadowRoot.querySelectorAll("#submissions tr")].map((row) =>
        [...row.cells].map((cell) => cell.textContent),
      ),
    );
    assert.equal(cells.length, total);
    for (const [, status, , reward, cid, , transaction] of cells) {
      assert.deepEqual([status, reward], ["accepted", "1 R3MES"]);
      assert.equal((await fetch(`${node.url}/ipfs/${cid}?format=raw`)).status, 200);
      assert.equal((await node.get(`/cosmos/tx/v1beta1/txs/${transaction}`)).tx_response.code, 0);
    }

    // Stop, in the middle of a task: nothing is sent after it returns
    await button(page, "Start").click();
    const stopped = await page.evaluate(async () => {
      const miner = document.querySelector("r3mes-miner");
      await new Promise((claimed) =>
        miner.addEventListener("r3mes:step", ({ detail }) => detail.stage === "claimed" && claimed()),
      );
      miner.stop();
      return miner.state;
    });
    let sent = 0;
    page.on("request", (request) => (sent += request.method() === "POST" ? 1 : 0));
    assert.equal(stopped, "stopped");
    const before = (await node.get("/health")).height;
    await new Promise((pass) => setTimeout(pass, 3000));
    assert.equal(sent, 0);
    assert.equal((await node.get("/health")).height, before);

    // a reload remembers, and goes on with the task at hand
    await page.reload();
    await state(page, "ready");
    const remembered = Number(await shown(page, "accepted"));
    assert.equal(remembered, total);
    await button(page, "Start").click();
    await accepted(page, remembered + 1);
    assert.equal(await ownAddress(page), address, "the same key");

    // a second tab does not mine
    const second = await visit(browser, node, { context: visitor });
    await button(second.page, "Start").click();
    await state(second.page, "elsewhere");
    assert.match(await shown(second.page, "reason"), /One miner a browser/);
    await visitor.close();
    assert.deepEqual(seen, { errors: [], foreign: [] });
  },
);

test("every reason to pause is shown, and can be overridden", { skip, timeout: 10 * MINUTE }, async () => {
  const { page, visitor } = await visit(browser, node);
  await page.addInitScript(() => {
    globalThis.battery = Object.assign(new EventTarget(), { charging: true });
    navigator.getBattery = async () => battery;
  });
  await page.reload();
  await state(page, "ready");
  await unfold(page);
  await button(page, "Start").click();
  await state(page, "mining");
  await page.evaluate(() => {
    battery.charging = false;
    battery.dispatchEvent(new Event("chargingchange"));
  });
  await state(page, "paused");
  assert.match(await shown(page, "reason"), /battery/);
  await button(page, "Resume").click();
  await state(page, "mining");
  await button(page, "Pause").click();
  await state(page, "paused");
  assert.match(await shown(page, "reason"), /by you/);
  await button(page, "Resume").click();
  await page.getByLabel("while somebody uses this page").check();
  await state(page, "paused");
  assert.match(await shown(page, "reason"), /uses|using/);
  await page.getByLabel("while somebody uses this page").uncheck();
  await state(page, "mining");
  await page.getByLabel("while this tab is hidden").check();
  await page.evaluate(() => {
    Object.defineProperty(document, "hidden", { get: () => true, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  });
  await state(page, "paused");
  assert.match(await shown(page, "reason"), /hidden/);
  await button(page, "Stop").click();
  await state(page, "stopped");
  await visitor.close();
});

test(
  "the main thread stays free; address and settings are kept, a wrong address is named",
  { skip, timeout: 10 * MINUTE },
  async () => {
    const { page, visitor } = await visit(browser, node);
    const payee = "remes1qqqsyqcyq5rqwzqfpg9scrgwpugpzysnuf2xtm";
    await page.evaluate(() => {
      globalThis.longTasks = [];
      new PerformanceObserver((list) => longTasks.push(...list.getEntries().map((entry) => entry.duration))).observe({
        type: "longtask",
      });
    });
    await unfold(page);
    const field = page.getByLabel("Or paid to this address");
    await field.fill("nonsense");
    await field.blur();
    await button(page, "Start").click();
    await state(page, "error");
    assert.match(await shown(page, "reason"), /nonsense/);
    await field.fill(payee);
    await field.blur();
    const before = await node.balance(payee);
    const settled = (await node.get("/stats")).accepted_total;
    await button(page, "Start").click();
    await accepted(page, 3);
    await button(page, "Finish").click();
    await state(page, "stopped");
    assert.deepEqual(await page.evaluate(() => longTasks.filter((duration) => duration >= 50)), []);
    assert.equal(
      (await node.balance(payee)) - before,
      ((await node.get("/stats")).accepted_total - settled) * 1_000_000,
    );
    await page.reload();
    await state(page, "ready");
    await unfold(page);
    assert.equal(await field.inputValue(), payee);
    await visitor.close();
  },
);

test(
  "what is held back on probation is shown beside the balance, also after a reload",
  { skip, timeout: 5 * MINUTE },
  async () => {
    const { page, visitor } = await visit(browser, node);
    // this node holds nothing back: in its place answers one that does
    await page.route("**/miner_score/*", (route) => route.fulfill({ json: { miner_score: { escrow: "2500000" } } }));
    await button(page, "Start").click();
    await accepted(page, 1);
    await button(page, "Finish").click();
    await state(page, "stopped");
    assert.match(await shown(page, "balance"), /^\d+ R3MES \+ 2\.5 R3MES in escrow$/);
    await page.reload();
    await state(page, "ready");
    assert.match(await shown(page, "balance"), /in escrow$/);
    await visitor.close();
  },
);

test("by keyboard alone, and axe-core finds nothing serious", { skip, timeout: 10 * MINUTE }, async () => {
  const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
  const { page, visitor } = await visit(browser, node, { consent: false, colorScheme: "dark" });
  const serious = async () => {
    // through the driver, since the page's policy forbids scripts that are not its own
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
    return violations
      .filter(({ impact }) => ["serious", "critical"].includes(impact))
      .map(({ id, nodes }) => `${id}: ${nodes[0].html}`);
  };
  const focused = () => page.evaluate(() => document.querySelector("r3mes-miner").shadowRoot.activeElement?.id);
  /** Tab, until the element with this id has the focus. */
  const tabTo = async (id) => {
    for (let presses = 0; presses < 40; presses += 1) {
      if ((await focused()) === id) return;
      await page.keyboard.press("Tab");
    }
    assert.fail(`${id} is not reached by Tab`);
  };
  assert.deepEqual(await serious(), []);
  await tabTo("agree");
  await page.keyboard.press("Enter");
  await tabTo("start");
  await page.keyboard.press("Enter");
  await accepted(page, 1);
  await unfold(page);
  assert.deepEqual(await serious(), []);
  await page.emulateMedia({ colorScheme: "light" });
  assert.deepEqual(await serious(), []);
  for (const id of [
    "stop",
    "intensity",
    "battery",
    "cap",
    "backend",
    "clear",
    "test",
    "receipt",
    "verify",
    "filter",
    "copy",
    "log",
  ])
    await tabTo(id);
  await page.evaluate(() => document.querySelector("r3mes-miner").shadowRoot.querySelector("#stop").focus());
  await page.keyboard.press("Space");
  await state(page, "stopped");
  await visitor.close();
});
