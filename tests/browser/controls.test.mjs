// Tests details of the controls in Chromium: the keyboard focus, names, narrow screens, wallets that appear late, and what
// a visitor who declines sees.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { DIST, launchChromium, skipReason } from "./browsers.mjs";
import { startNode } from "./node.mjs";
import { MINUTE, button, openDetails, textOf, visit, waitForAccepted, waitForState } from "./visitor.mjs";

/** @import { Page } from "playwright-core" */

const skip = skipReason("Chromium");
/** @type {import("playwright-core").Browser} */
let browser;
/** @type {import("./node.mjs").TestNode} */
let node;
before(async () => {
  if (skip) return;
  browser = await launchChromium();
  node = await startNode({ page: DIST });
});
after(async () => {
  await browser?.close();
  await node?.stop();
});

/** @param {Page} page */
const focusedId = (page) =>
  page.evaluate(() => document.querySelector("r3mes-miner")?.shadowRoot?.activeElement?.id ?? "");

test(
  "a visitor can decline, is not asked again, and can be asked again on request",
  { skip, timeout: MINUTE },
  async () => {
    const { page, visitor } = await visit(browser, node, { consent: false });
    await button(page, "Decline").click();
    assert.ok(!(await button(page, "I agree").isVisible()));
    assert.ok(!(await button(page, "Start").isVisible()));
    await page.reload();
    await waitForState(page, "ready");
    await page.getByText("You declined. Nothing runs on this device.").waitFor();
    await button(page, "Ask again").click();
    await button(page, "I agree").click();
    await button(page, "Start").waitFor();
    await visitor.close();
  },
);

test(
  "the keyboard focus stays at the buttons when mining starts and stops",
  { skip, timeout: 2 * MINUTE },
  async () => {
    const { page, visitor } = await visit(browser, node);
    await page.evaluate(() => document.querySelector("r3mes-miner")?.setAttribute("backend", "cpu"));
    await button(page, "Start").focus();
    await page.keyboard.press("Enter");
    await waitForState(page, "mining");
    assert.equal(await focusedId(page), "pause");
    await button(page, "Stop").focus();
    await page.keyboard.press("Enter");
    await waitForState(page, "stopped");
    assert.equal(await focusedId(page), "start");

    await openDetails(page);
    await page.getByRole("slider", { name: "Compute for", exact: true }).waitFor();
    await button(page, "Copy diagnostics").click();
    const diagnostics = await page.evaluate(() => navigator.clipboard.readText());
    assert.match(diagnostics, /^Mozilla.*\nminer \d+\.\d+\.\d+.*\nnode http.*\nbackend cpu, intensity 0\.6\n/);
    assert.match(diagnostics, /device: .*WebAssembly/i);
    assert.match(diagnostics, /opening/);
    await visitor.close();
  },
);

test("on a narrow screen nothing is wider than the page", { skip, timeout: 2 * MINUTE }, async () => {
  const { page, visitor } = await visit(browser, node, { viewport: { width: 360, height: 640 } });
  await page.evaluate(() => document.querySelector("r3mes-miner")?.setAttribute("backend", "cpu"));
  await button(page, "Show the key").click();
  await button(page, "Start").click();
  await waitForState(page, "mining");
  await button(page, "Stop").click();
  await openDetails(page);
  assert.match(await textOf(page, "address"), /^remes1/);
  const { scrollWidth, clientWidth } = await page.evaluate(() => document.documentElement);
  assert.equal(scrollWidth, clientWidth);
  await visitor.close();
});

test("a wallet that appears after the page has loaded is offered", { skip, timeout: MINUTE }, async () => {
  const { page, visitor } = await visit(browser, node);
  await openDetails(page);
  assert.equal(await page.getByRole("button", { name: /^Connect/ }).count(), 0);
  await page.evaluate(() => {
    // the element shows a new card for a new signer; only this card may add buttons
    const miner = document.querySelector("r3mes-miner");
    if (miner) miner.signer = undefined;
    globalThis.keplr = /** @type {any} */ ({ enable: async () => {}, signDirect: async () => {} });
  });
  await button(page, "Connect Keplr").waitFor();
  await page.waitForTimeout(2000);
  assert.equal(await page.getByRole("button", { name: /^Connect/ }).count(), 1);
  await visitor.close();
});

test("the receipt of a submission can be shown and verified", { skip, timeout: 3 * MINUTE }, async () => {
  const { page, visitor } = await visit(browser, node);
  await page.evaluate(() => document.querySelector("r3mes-miner")?.setAttribute("backend", "cpu"));
  await button(page, "Start").click();
  await waitForAccepted(page, 1);
  await button(page, "Stop").click();
  await page
    .getByRole("button", { name: /^Show the receipt of bafy/ })
    .last()
    .click();
  const field = page.getByLabel("Receipt, as JSON");
  assert.ok("task" in JSON.parse(await field.inputValue()));
  assert.equal(await focusedId(page), "receipt");
  await button(page, "Verify this receipt").click();
  await page.getByText(/^Valid: the recomputed gradient has the same bytes/).waitFor({ timeout: MINUTE });
  await visitor.close();
});
