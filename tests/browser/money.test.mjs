// Tests that a visitor does not lose coins or wait in vain: where the browser lets the page store nothing, if the node is
// down when mining starts, and if this browser's own key is paid.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { DirectSecp256k1Wallet } from "@cosmjs/proto-signing";
import { SigningStargateClient } from "@cosmjs/stargate";
import { createServer } from "node:http";
import { DIST, launchChromium, launchChromiumWith, listen, skipReason } from "./browsers.mjs";
import { startNode } from "./node.mjs";
import { MINUTE, button, openDetails, ownAddress, textOf, visit, waitForAccepted, waitForState } from "./visitor.mjs";

/** The reward that the node pays for each task, in micro-units. */
const REWARD = 1_000_000;
const ADDRESS = "remes1qqqsyqcyq5rqwzqfpg9scrgwpugpzysnuf2xtm";
/** The value of Chromium's setting for cookies and site data that blocks them. */
const BLOCK = 2;

const skip = skipReason("Chromium");
/** @type {import("playwright-core").Browser} */
let browser;
before(async () => {
  if (!skip) browser = await launchChromium();
});
after(() => browser?.close());

/** Returns whether the browser denies storage to the document. Runs in the page. */
function deniesStorage() {
  try {
    return localStorage.length < 0;
  } catch {
    return true;
  }
}

/** A page that shows the miner in a frame, and keeps the messages that the frame sends. */
const parent = (/** @type {string} */ node) => `<!doctype html><title>A wallet</title>
  <script>
    globalThis.received = [];
    addEventListener("message", ({ data }) => data.r3mes === 2 && received.push(data));
    globalThis.send = (message) =>
      document.querySelector("iframe").contentWindow.postMessage({ r3mes: 2, ...message }, "${node}");
  </script>
  <iframe src="${node}/embed.html" sandbox="allow-scripts allow-same-origin" width="600" height="800"></iframe>`;

test("a frame without storage says so, and mines in memory", { skip, timeout: 5 * MINUTE }, async () => {
  const blocking = await launchChromiumWith({ profile: { block_third_party_cookies: true, cookie_controls_mode: 1 } });
  let html = "";
  const server = createServer((_request, response) => {
    response.writeHead(200, { "content-type": "text/html" }).end(html);
  });
  // the node's address is 127.0.0.1, so that the frame belongs to another site than a page of `localhost`
  const site = (await listen(server)).replace("127.0.0.1", "localhost");
  const node = await startNode({ page: DIST, flags: ["--allow-origin", site] });
  html = parent(node.url);
  try {
    const page = await blocking.context.newPage();
    /** @type {string[]} */
    const errors = [];
    page.on("pageerror", (error) => errors.push(error.message));
    await page.goto(site);
    /** @param {string} type */
    const message = (type) =>
      page.waitForFunction((type) => globalThis.received.find((message) => message.type === type), type, {
        timeout: MINUTE,
      });
    assert.equal(/** @type {any} */ (await (await message("ready")).jsonValue()).kept, false);
    const frame = page.frame({ url: `${node.url}/embed.html` });
    assert.ok(frame);
    assert.equal(await frame.evaluate(deniesStorage), true);
    await frame.getByText("This browser lets this page store nothing").waitFor();

    await frame.getByRole("button", { name: "I agree" }).click();
    await page.evaluate(() => globalThis.send({ type: "start" }));
    await message("needs-payee");
    await frame.getByText("When this page is closed, the key and its coins are lost.").waitFor();
    await page.evaluate((address) => {
      globalThis.send({ type: "configure", address, backend: "cpu" });
      globalThis.send({ type: "start" });
    }, ADDRESS);
    await message("reward");
    assert.equal((await node.balance(ADDRESS)) % REWARD, 0);
    assert.ok((await node.balance(ADDRESS)) >= REWARD);
    assert.deepEqual(errors, []);
  } finally {
    await blocking.close();
    await node.stop();
    server.close();
  }
});

test("a page whose site data is blocked mines after the key is saved", { skip, timeout: 5 * MINUTE }, async () => {
  const preferences = { profile: { default_content_setting_values: { cookies: BLOCK } } };
  const blocking = await launchChromiumWith(preferences);
  const node = await startNode({ page: DIST });
  try {
    const { page, seen } = await visit(browser, node, { context: blocking.context });
    assert.equal(await page.evaluate(deniesStorage), true);
    await page.getByText("This browser lets this page store nothing").waitFor();
    await button(page, "I agree").click();
    await button(page, "Start").click();
    assert.equal(await page.evaluate(() => document.querySelector("r3mes-miner")?.state), "ready");
    await button(page, "Show the key").click();
    await button(page, "I have saved the key").click();
    await button(page, "Start").click();
    await waitForAccepted(page, 1);
    await button(page, "Stop").click();
    assert.deepEqual(seen.errors, []);
  } finally {
    await blocking.close();
    await node.stop();
  }
});

test("the key that the page shows can spend the coins that it has earned", { skip, timeout: 5 * MINUTE }, async () => {
  const node = await startNode({ page: DIST });
  try {
    const { page, visitor } = await visit(browser, node);
    await page.getByText("If the data of this browser is deleted, the key and its coins are lost.").waitFor();
    await button(page, "Show the key").click();
    const key = await page.locator('[data-at="key"]').innerText();
    await button(page, "I have saved the key").click();
    await button(page, "Start").click();
    await waitForAccepted(page, 1);
    await button(page, "Finish").click();
    await waitForState(page, "stopped");

    const signer = await DirectSecp256k1Wallet.fromKey(Uint8Array.from(Buffer.from(key, "hex")), "remes");
    const address = await ownAddress(page);
    const [account] = await signer.getAccounts();
    assert.equal(account.address, address);
    const earned = await node.balance(address);
    const client = await SigningStargateClient.connectWithSigner(node.url, signer);
    const amount = [{ denom: "uremes", amount: String(earned) }];
    const { code } = await client.sendTokens(address, ADDRESS, amount, { amount: [], gas: "200000" });
    client.disconnect();
    assert.equal(code, 0);
    assert.equal(await node.balance(ADDRESS), earned);

    // the page asks for the balance when it is loaded, and no longer offers to save the key
    await page.reload();
    await waitForState(page, "ready");
    await page.waitForFunction(() => {
      const balance = document.querySelector("r3mes-miner")?.shadowRoot?.getElementById("balance");
      return balance?.textContent === "0 R3MES";
    });
    assert.ok(!(await button(page, "Show the key").isVisible()));
    await visitor.close();
  } finally {
    await node.stop();
  }
});

test(
  "if the node is down at Start, the page says so, and mines once it is up",
  { skip, timeout: 5 * MINUTE },
  async () => {
    let node = await startNode({ page: DIST });
    try {
      const { page, visitor } = await visit(browser, node);
      await openDetails(page);
      await page.getByLabel("Backend").selectOption("cpu");
      await node.kill();
      await button(page, "Start").click();
      await waitForState(page, "offline");
      assert.match(
        await textOf(page, "reason"),
        /could not be loaded from 127\.0\.0\.1:\d+\. Check that the server is running/,
      );
      await button(page, "Stop").click();
      await waitForState(page, "stopped");
      node = await node.restart();
      await button(page, "Start").click();
      await waitForAccepted(page, 1);
      await visitor.close();
    } finally {
      await node.stop();
    }
  },
);
