// Tests that other sites can embed the miner. One page imports the custom element and another one shows the miner in a
// frame, each with the Content Security Policy that docs/EMBEDDING.md states. A site that the node does not allow can
// do neither of the two.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createServer } from "node:http";
import { DirectSecp256k1Wallet } from "@cosmjs/proto-signing";
import { DIST, launchChromium, listen, policyOf, skipReason } from "./browsers.mjs";
import { startNode } from "./node.mjs";

/** @typedef {Awaited<ReturnType<typeof startSite>>} Site */

const MINUTE = 60_000;
const skip = skipReason("Chromium");
/** @type {import("playwright-core").Browser} */
let browser;
/** @type {import("./node.mjs").TestNode} */
let node;
/** @type {Site} the site of a wallet, which the node allows */
let wallet;
/** @type {Site} a site that the node does not allow */
let stranger;

/** Starts a site on a free port. Its `pages` are set later, because they contain the URL of the node. */
async function startSite() {
  /** @type {Record<string, [contentType: string, policy: string, body: string]>} */
  const pages = {};
  const server = createServer((request, response) => {
    const [type, policy, body] = site.pages[request.url ?? ""] ?? ["text/plain", "", ""];
    response.writeHead(body ? 200 : 404, { "content-type": type, "content-security-policy": policy }).end(body);
  });
  const site = { pages, origin: await listen(server), close: () => void server.close() };
  return site;
}

/** @returns {Promise<Site["pages"]>} */
async function sitePages() {
  /** @type {(head: string, body: string) => string} */
  const html = (head, body) => `<!doctype html><title>A wallet</title>${head}${body}`;
  return {
    "/element.html": [
      "text/html",
      await policyOf("By script", node.url),
      html(
        `<script type="module" src="${node.url}/r3mes-miner.js"></script>`,
        `<r3mes-miner node="${node.url}"></r3mes-miner>`,
      ),
    ],
    "/frame.html": [
      "text/html",
      await policyOf("By iframe", node.url),
      html(
        '<script src="frame.js"></script>',
        `<iframe src="${node.url}/embed.html" sandbox="allow-scripts allow-same-origin" width="600" height="800"></iframe>`,
      ),
    ],
    "/frame.js": [
      "text/javascript",
      "",
      `globalThis.received = [];
       addEventListener("message", ({ data, origin }) => received.push({ ...data, origin }));
       globalThis.send = (message) =>
         document.querySelector("iframe").contentWindow.postMessage({ r3mes: 1, ...message }, "${node.url}");`,
    ],
  };
}

before(async () => {
  if (skip) return;
  [browser, wallet, stranger] = [await launchChromium(), await startSite(), await startSite()];
  node = await startNode({ page: DIST, flags: ["--allow-origin", wallet.origin] });
  wallet.pages = stranger.pages = await sitePages();
});
after(async () => {
  await browser?.close();
  await node?.stop();
  wallet?.close();
  stranger?.close();
});

/** @param {string} url */
async function open(url) {
  const page = await (await browser.newContext()).newPage();
  /** @type {string[]} */
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error") errors.push(message.text());
  });
  await page.goto(url);
  return { page, errors };
}

test("a page of an allowed site imports the element and mines", { skip, timeout: 5 * MINUTE }, async () => {
  const { page, errors } = await open(`${wallet.origin}/element.html`);
  await page.getByRole("button", { name: "I agree" }).click();
  await page.evaluate(() => {
    addEventListener("r3mes:submit", (event) => {
      globalThis.submitted ??= /** @type {CustomEvent} */ (event).detail;
    });
    document.querySelector("r3mes-miner")?.start();
  });
  const submitted = await page.waitForFunction(() => globalThis.submitted, undefined, { timeout: MINUTE });
  const { cid, transaction } = (await submitted.jsonValue()) ?? { cid: "", transaction: "" };
  assert.match(cid, /^bafy/);
  assert.equal((await node.get(`/cosmos/tx/v1beta1/txs/${transaction}`)).tx_response.code, 0);
  assert.deepEqual(
    errors.filter((error) => !error.includes("favicon")),
    [],
  );
  await page.context().close();
});

test(
  "a page of an allowed site shows the miner in a frame and controls it by messages",
  {
    skip,
    timeout: 5 * MINUTE,
  },
  async () => {
    const { page } = await open(`${wallet.origin}/frame.html`);
    /**
     * Waits until the frame has sent a message of this type. Returns the first one.
     * @param {string} type
     * @returns {Promise<FrameMessage>}
     */
    const message = async (type) => {
      const isThere = (/** @type {string} */ type) => globalThis.received.find((message) => message.type === type);
      const found = await page.waitForFunction(isThere, type, { timeout: 2 * MINUTE });
      return /** @type {FrameMessage} */ (await found.jsonValue());
    };
    const { r3mes, origin } = await message("ready");
    assert.deepEqual([r3mes, origin], [1, node.url]);
    await page.evaluate(() => globalThis.send({ type: "state" }));
    assert.equal((await message("state")).state, "ready");

    // the frame answers each invalid message from its parent with an error, and ignores messages from other windows
    const inside = page.frame({ url: `${node.url}/embed.html` });
    assert.ok(inside);
    await inside.evaluate(() => postMessage({ r3mes: 1, type: "start" }, "*"));
    await page.evaluate(() => {
      globalThis.send({ type: "constructor" });
      globalThis.send({ type: "setIntensity", intensity: 7 });
      globalThis.send({ r3mes: 3, type: "state" });
    });
    await page.waitForFunction(() => globalThis.received.filter(({ type }) => type === "error").length === 3);
    assert.equal(await inside.evaluate(() => document.querySelector("r3mes-miner")?.state), "ready");

    await inside.getByRole("button", { name: "I agree" }).click();
    assert.equal((await message("consent")).given, true);
    await page.evaluate(() => {
      globalThis.send({ type: "setIntensity", intensity: 1 });
      globalThis.send({ type: "start" });
    });
    assert.match(String((await message("submit")).cid), /^bafy/);
    assert.ok((await message("step")).stage);
    assert.ok(Number((await message("reward")).balance) > 0);
    await page.evaluate(() => globalThis.send({ type: "pause" }));
    const wasPaused = () => globalThis.received.some(({ state }) => state === "paused");
    await page.waitForFunction(wasPaused, undefined, { timeout: MINUTE });
    await page.evaluate(() => globalThis.send({ type: "resume" }));
    await page.evaluate(() => globalThis.send({ type: "finish" }));
    const isStopped = () => globalThis.received.at(-1)?.state === "stopped";
    await page.waitForFunction(isStopped, undefined, { timeout: 2 * MINUTE });
    await page.context().close();
  },
);

test(
  "by protocol 2 a page sets who is paid, and learns that the user has not consented yet",
  { skip, timeout: 5 * MINUTE },
  async () => {
    const { page } = await open(`${wallet.origin}/frame.html`);
    /**
     * Waits until the frame has sent a message of this type in version 2. Returns the first one.
     * @param {string} type
     * @returns {Promise<FrameMessage>}
     */
    const message = async (type) => {
      const isThere = (/** @type {string} */ type) =>
        globalThis.received.find((message) => message.r3mes === 2 && message.type === type);
      const found = await page.waitForFunction(isThere, type, { timeout: 2 * MINUTE });
      return /** @type {FrameMessage} */ (await found.jsonValue());
    };
    const { versions, kept } = await message("ready");
    assert.deepEqual([versions, kept], [[1, 2], true]);
    await page.evaluate(() => globalThis.send({ r3mes: 2, type: "state" }));
    assert.equal((await message("state")).state, "ready");
    assert.ok(Number((await message("resize")).height) > 100);

    const address = "remes1qqqsyqcyq5rqwzqfpg9scrgwpugpzysnuf2xtm";
    await page.evaluate((address) => {
      globalThis.send({ r3mes: 2, type: "configure", address, intensity: 1, backend: "cpu" });
      globalThis.send({ r3mes: 2, type: "start" });
    }, address);
    await message("needs-consent");
    const inside = page.frame({ url: `${node.url}/embed.html` });
    assert.ok(inside);
    await inside.getByText(`the address ${address}, which this site has chosen`).waitFor();
    assert.ok(await inside.getByRole("button", { name: "I agree" }).isVisible());

    // a page of version 1 is told the same by a message of the type `error`
    await page.evaluate(() => globalThis.send({ type: "start" }));
    await page.waitForFunction(() =>
      globalThis.received.some(
        ({ r3mes, type, message }) => r3mes === 1 && type === "error" && /agreed/.test(String(message)),
      ),
    );

    await inside.getByRole("button", { name: "I agree" }).click();
    await page.evaluate(() => globalThis.send({ r3mes: 2, type: "start" }));
    await message("progress");
    const { reward, balance } = await message("reward");
    assert.equal(balance, reward);
    await page.evaluate(() => globalThis.send({ r3mes: 2, type: "stop" }));
    assert.ok((await node.balance(address)) >= Number(reward));

    for (const [fields, reason] of /** @type {const} */ ([
      [{ address: 7 }, "address is not a string"],
      [{ intensity: 7 }, "intensity 7 is not"],
      [{ backend: "abacus" }, "backend abacus is none of"],
    ])) {
      await page.evaluate((fields) => globalThis.send({ r3mes: 2, type: "configure", ...fields }), fields);
      await page.waitForFunction(
        (reason) =>
          globalThis.received.some(({ type, message }) => type === "error" && String(message).includes(reason)),
        reason,
      );
    }
    await page.context().close();
  },
);

test("a page signs for the frame with a wallet of its own", { skip, timeout: 5 * MINUTE }, async () => {
  const { page } = await open(`${wallet.origin}/frame.html`);
  const signer = await DirectSecp256k1Wallet.fromKey(new Uint8Array(32).fill(33), "remes");
  const [{ address, pubkey }] = await signer.getAccounts();
  const toBase64 = (/** @type {Uint8Array} */ bytes) => Buffer.from(bytes).toString("base64");
  const fromBase64 = (/** @type {string} */ text) => Uint8Array.from(Buffer.from(text, "base64"));
  // the wallet's key and its signatures are in the process of this test; values of messages pass to it as base64
  await page.exposeFunction("testKey", () => ({ address, pubKey: toBase64(pubkey) }));
  await page.exposeFunction(
    "testSignDirect",
    async (/** @type {string} */ chainId, /** @type {string} */ _signer, /** @type {Record<string, string>} */ doc) => {
      const [bodyBytes, authInfoBytes] = [fromBase64(doc.bodyBytes), fromBase64(doc.authInfoBytes)];
      return (await signer.signDirect(address, { bodyBytes, authInfoBytes, chainId, accountNumber: 0n })).signature;
    },
  );
  await page.evaluate(() => {
    const encode = (/** @type {Uint8Array} */ bytes) => btoa(String.fromCharCode(...bytes));
    /** @type {Record<string, (...args: any[]) => Promise<unknown>>} */
    const methods = {
      enable: async () => {},
      async getKey() {
        const { address, pubKey } = await globalThis.testKey();
        return { bech32Address: address, pubKey: Uint8Array.from(atob(pubKey), (c) => c.charCodeAt(0)) };
      },
      async signDirect(chainId, signer, doc) {
        const { bodyBytes, authInfoBytes } = doc;
        const encoded = { bodyBytes: encode(bodyBytes), authInfoBytes: encode(authInfoBytes) };
        return { signed: doc, signature: await globalThis.testSignDirect(chainId, signer, encoded) };
      },
    };
    addEventListener("message", async ({ data }) => {
      if (data.type !== "call") return;
      const { id } = data;
      if (globalThis.refuses) globalThis.send({ r3mes: 2, type: "result", id, error: "The owner refuses." });
      else globalThis.send({ r3mes: 2, type: "result", id, result: await methods[data.method](...data.arguments) });
    });
    globalThis.send({ r3mes: 2, type: "configure", signer: Object.keys(methods), backend: "cpu" });
    globalThis.send({ r3mes: 2, type: "configure", signer: ["steal"] });
    globalThis.send({ r3mes: 2, type: "result", id: 99 });
  });
  for (const reason of ["signer contains steal", "no call with the id 99 is pending"]) {
    await page.waitForFunction(
      (reason) => globalThis.received.some(({ type, message }) => type === "error" && String(message).includes(reason)),
      reason,
    );
  }
  const inside = page.frame({ url: `${node.url}/embed.html` });
  assert.ok(inside);
  await inside.getByRole("button", { name: "I agree" }).click();
  await inside.getByText("Settings", { exact: true }).click();
  await inside.getByRole("button", { name: "Connect this site's wallet" }).click();
  await inside.getByRole("button", { name: "Grant", exact: true }).click();
  await inside.getByText("Granted. This browser can now mine for your account.").waitFor();
  await page.evaluate(() => globalThis.send({ r3mes: 2, type: "start" }));
  await page.waitForFunction(() => globalThis.received.some(({ type }) => type === "reward"), undefined, {
    timeout: 2 * MINUTE,
  });
  await page.evaluate(() => globalThis.send({ r3mes: 2, type: "stop" }));
  assert.ok((await node.balance(address)) > 0, "the account of the page's wallet is paid");

  // a refusal of the wallet is shown in the frame
  await page.evaluate(() => {
    globalThis.refuses = true;
  });
  await inside.getByRole("button", { name: "Revoke" }).click();
  await inside.getByText("The owner refuses.").waitFor();
  await page.context().close();
});

test(
  "a site that the node does not allow can neither import nor frame the element",
  {
    skip,
    timeout: MINUTE,
  },
  async () => {
    const element = await open(`${stranger.origin}/element.html`);
    await element.page.waitForLoadState("networkidle");
    assert.equal(await element.page.evaluate(() => customElements.get("r3mes-miner") === undefined), true);
    assert.ok(
      element.errors.some((error) => error.includes("CORS")),
      element.errors.join("\n"),
    );

    const frame = await open(`${stranger.origin}/frame.html`);
    await frame.page.waitForLoadState("networkidle");
    assert.ok(
      frame.errors.some((error) => error.includes("frame-ancestors")),
      frame.errors.join("\n"),
    );
    const framed = frame.page.frame({ url: `${node.url}/embed.html` });
    assert.equal(framed?.url().startsWith(node.url) ?? false, false);
    assert.deepEqual(await frame.page.evaluate(() => globalThis.received), []);
  },
);
