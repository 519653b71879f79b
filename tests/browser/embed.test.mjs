// Other sites: a page that imports the element, and one that frames it, each under the policy that docs/EMBEDDING.md
// gives them; and a site that the node does not allow.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { DIST, chromium, missing } from "./browsers.mjs";
import { startNode } from "./node.mjs";

const MINUTE = 60_000;
const skip = missing("Chromium");
const GUIDE = await readFile(new URL("../../docs/EMBEDDING.md", import.meta.url), "utf8");
let browser;
let node;
let wallet;
let stranger;

/** A site on a port of its own; `pages` is set once the node's URL is known. */
async function site() {
  const site = { pages: {} };
  const server = createServer((request, response) => {
    const [type, policy, body] = site.pages[request.url] ?? ["text/plain", "", ""];
    response.writeHead(body ? 200 : 404, { "content-type": type, "content-security-policy": policy }).end(body);
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  return Object.assign(site, { origin: `http://127.0.0.1:${server.address().port}`, close: () => server.close() });
}

/** The policy that the guide gives under a heading. */
function policy(heading) {
  const [, text] = new RegExp(`## ${heading}[^]*?\`\`\`text\nContent-Security-Policy: ([^]*?)\n\`\`\``).exec(GUIDE);
  return text.replace(/\s+/g, " ").replaceAll("NODE", node.url);
}

function pages() {
  const html = (head, body) => `<!doctype html><title>A wallet</title>${head}${body}`;
  const script = policy("By script");
  const frame = policy("By iframe");
  return {
    "/element.html": [
      "text/html",
      script,
      html(
        `<script type="module" src="${node.url}/r3mes-miner.js"></script>`,
        `<r3mes-miner node="${node.url}"></r3mes-miner>`,
      ),
    ],
    "/frame.html": [
      "text/html",
      frame,
      html(
        '<script src="frame.js"></script>',
        `<iframe src="${node.url}/embed.html" sandbox="allow-scripts allow-same-origin" width="600" height="800"></iframe>`,
      ),
    ],
    "/frame.js": [
      "text/javascript",
      "",
      `const heard = [];
       addEventListener("message", ({ data, origin }) => heard.push({ ...data, origin }));
       const say = (message) => document.querySelector("iframe").contentWindow.postMessage({ r3mes: 1, ...message }, "${node.url}");`,
    ],
  };
}

before(async () => {
  if (skip) return;
  [browser, wallet, stranger] = [await chromium(), await site(), await site()];
  node = await startNode({ page: DIST, flags: ["--allow-origin", wallet.origin] });
  wallet.pages = stranger.pages = pages();
});
after(async () => {
  await browser?.close();
  await node?.stop();
  wallet?.close();
  stranger?.close();
});

async function open(url) {
  const page = await (await browser.newContext()).newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  await page.goto(url);
  return { page, errors };
}

test("a wallet's page imports the element and mines", { skip, timeout: 5 * MINUTE }, async () => {
  const { page, errors } = await open(`${wallet.origin}/element.html`);
  await page.getByRole("button", { name: "I agree" }).click();
  await page.evaluate(() => {
    addEventListener("r3mes:submit", ({ detail }) => (globalThis.submitted ??= detail));
    document.querySelector("r3mes-miner").start();
  });
  const submitted = await page.waitForFunction(() => globalThis.submitted, undefined, { timeout: MINUTE });
  const { cid, transaction } = await submitted.jsonValue();
  assert.match(cid, /^bafy/);
  assert.equal((await node.get(`/cosmos/tx/v1beta1/txs/${transaction}`)).tx_response.code, 0);
  assert.deepEqual(
    errors.filter((error) => !error.includes("favicon")),
    [],
  );
  await page.context().close();
});

test("a wallet's page frames the miner and speaks its protocol", { skip, timeout: 5 * MINUTE }, async () => {
  const { page } = await open(`${wallet.origin}/frame.html`);
  const heard = (type) =>
    page
      .waitForFunction((type) => heard.find((message) => message.type === type), type, { timeout: 2 * MINUTE })
      .then((found) => found.jsonValue());
  const { r3mes, origin } = await heard("ready");
  assert.deepEqual([r3mes, origin], [1, node.url]);
  await page.evaluate(() => say({ type: "state" }));
  assert.equal((await heard("state")).state, "ready");

  // what is not understood is answered, what is not the parent's is not
  const inside = page.frame({ url: `${node.url}/embed.html` });
  await inside.evaluate(() => postMessage({ r3mes: 1, type: "start" }, "*"));
  await page.evaluate(() =>
    [{ type: "constructor" }, { type: "setIntensity", intensity: 7 }, { r3mes: 2, type: "state" }].forEach(say),
  );
  await page.waitForFunction(() => heard.filter(({ type }) => type === "error").length === 3);
  assert.equal(await inside.evaluate(() => document.querySelector("r3mes-miner").state), "ready");

  await inside.getByRole("button", { name: "I agree" }).click();
  assert.equal((await heard("consent")).given, true);
  await page.evaluate(() => [{ type: "setIntensity", intensity: 1 }, { type: "start" }].forEach(say));
  assert.match((await heard("submit")).cid, /^bafy/);
  assert.ok((await heard("step")).stage);
  assert.ok((await heard("reward")).balance > 0);
  await page.evaluate(() => say({ type: "pause" }));
  await page.waitForFunction(
    () => heard.at(-1)?.state === "paused" || heard.some(({ state }) => state === "paused"),
    undefined,
    { timeout: MINUTE },
  );
  await page.evaluate(() => say({ type: "resume" }));
  await page.evaluate(() => say({ type: "finish" }));
  await page.waitForFunction(() => heard.at(-1).state === "stopped", undefined, { timeout: 2 * MINUTE });
  await page.context().close();
});

test("a site that the node does not allow gets neither", { skip, timeout: MINUTE }, async () => {
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
  assert.equal(
    frame.page
      .frame({ url: `${node.url}/embed.html` })
      ?.url()
      .startsWith(node.url) ?? false,
    false,
  );
  assert.deepEqual(await frame.page.evaluate(() => heard), []);
});
