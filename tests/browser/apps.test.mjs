// Tests that apps can install the packed npm package: it type-checks, bundlers build it without warnings, and the built
// apps mine in Chromium under the Content Security Policy that docs/EMBEDDING.md states.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { DIST, launchChromium, policyOf, serve, skipReason } from "./browsers.mjs";
import { startNode } from "./node.mjs";
import { MINUTE, openDetails } from "./visitor.mjs";

/** @import { Page } from "playwright-core" */

const run = promisify(execFile);
/** The folder with the apps, and that of the package, which `scripts/npm` builds. */
const APPS = fileURLToPath(new URL("apps/", import.meta.url));
const PACKAGE = fileURLToPath(new URL("../../npm/", import.meta.url));
/** The reward that the node pays for each task, in micro-units. */
const REWARD = 1_000_000;
const ADDRESS = "remes1qqqsyqcyq5rqwzqfpg9scrgwpugpzysnuf2xtm";
/** Matches what a bundler prints about a problem. */
const WARNING = /warn|error|deprecat/i;

const missing = [PACKAGE, join(APPS, "node_modules")].find((folder) => !existsSync(folder));
const skip = skipReason("Chromium") || (missing && !process.env.CI ? `${missing} is missing` : false);
/** @type {string} a folder for what the bundlers build */
let built;
/** @type {import("playwright-core").Browser} */
let browser;

/** Runs a program of the apps' npm packages in their folder. Resolves to everything that it has printed. */
async function tool(/** @type {string} */ name, /** @type {string[]} */ ...args) {
  const { stdout, stderr } = await run(join(APPS, "node_modules/.bin", name), args, { cwd: APPS });
  return stdout + stderr;
}

before(async () => {
  if (skip) return;
  browser = await launchChromium();
  built = await mkdtemp(join(tmpdir(), "r3mes-apps-"));
  await run("npm", ["pack", "--silent", "--pack-destination", built], { cwd: PACKAGE });
  const archive = (await readdir(built)).find((name) => name.endsWith(".tgz"));
  assert.ok(archive, "npm pack writes an archive");
  const flags = ["--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--offline"];
  await run("npm", ["install", ...flags, join(built, archive)], { cwd: APPS });
});
after(async () => {
  await browser?.close();
  if (built) await rm(built, { recursive: true, force: true });
});

/**
 * Opens an app as a new user, consents, and mines until the app shows a reward. The app is served with the Content
 * Security Policy for npm packages.
 * @param {string} folder the folder that is served
 * @param {string} path the path of the app's page
 * @param {(page: Page) => Promise<string>} connect what the user does before mining starts; returns who is paid
 */
async function mineIn(folder, path = "/index.html", connect = async (/** @type {Page} */ _page) => ADDRESS) {
  /** @type {Record<string, string>} */
  const headers = {};
  const site = await serve(folder, headers);
  const node = await startNode({ page: DIST, flags: ["--allow-origin", site.address] });
  headers["content-security-policy"] = await policyOf("By npm", node.url);
  const page = await (await browser.newContext()).newPage();
  try {
    /** @type {string[]} */
    const errors = [];
    page.on("pageerror", (error) => errors.push(error.message));
    page.on("console", (message) => {
      // the icon of the page, and what the node does not have yet: a transaction, a fee allowance
      const { url } = message.location();
      const expected = url.endsWith("favicon.ico") || url.startsWith(node.url);
      if (message.type() === "error" && !expected) errors.push(message.text());
    });
    await page.goto(`${site.address}${path}?node=${node.url}&address=${ADDRESS}`);
    await page.getByRole("button", { name: "I agree" }).click();
    const payee = await connect(page);
    await page.getByRole("button", { name: "Start", exact: true }).click();
    await page.waitForFunction(() => document.title.startsWith("Earned"), undefined, { timeout: 2 * MINUTE });
    await page.getByRole("button", { name: "Stop", exact: true }).click();
    assert.ok((await node.balance(payee)) >= REWARD, "the address of the app, or its wallet, is paid");
    assert.deepEqual(errors, []);
  } finally {
    await page.context().close();
    await node.stop();
    site.close();
  }
}

test("the packed package contains no URL of a node, and describes the element", { skip }, async () => {
  const installed = join(APPS, "node_modules/r3mes-miner");
  for (const name of await readdir(installed)) {
    if (!/\.js$/.test(name)) continue;
    assert.doesNotMatch(await readFile(join(installed, name), "utf8"), /["`']https?:\/\//, name);
  }
  const { modules } = JSON.parse(await readFile(join(installed, "custom-elements.json"), "utf8"));
  const [{ tagName, attributes, events, members }] = modules[0].declarations;
  /** @type {(list: { name: string }[]) => string} */
  const names = (list) => list.map(({ name }) => name).join(" ");
  assert.equal(tagName, "r3mes-miner");
  assert.equal(names(attributes), "address backend intensity node autostart");
  assert.equal(names(members), "state signer start pause resume finish stop");
  assert.match(names(events), /^r3mes:state r3mes:step .*r3mes:needs-payee$/);
});

test("the types of the package fit the apps, JSX and Vue", { skip, timeout: MINUTE }, async () => {
  assert.equal(await tool("tsc", "-p", "."), "");
});

test("the package can be imported on a server, where it has no effect", { skip, timeout: MINUTE }, async () => {
  const { createElement } = createRequire(join(APPS, "package.json"))("react");
  const { renderToString } = createRequire(join(APPS, "package.json"))("react-dom/server");
  const { Miner } = await import(join(APPS, "node_modules/r3mes-miner/react.js"));
  const html = renderToString(createElement(Miner, { node: "https://node.example", onReward() {} }));
  assert.equal(html, '<r3mes-miner node="https://node.example"></r3mes-miner>');
});

test("an app of Vite and React mines", { skip, timeout: 5 * MINUTE }, async () => {
  const folder = join(built, "vite");
  assert.doesNotMatch(await tool("vite", "build", "vite", "--outDir", folder), WARNING);
  await mineIn(folder);
});

test("an app of webpack mines", { skip, timeout: 5 * MINUTE }, async () => {
  const [folder, source] = [join(built, "webpack"), join(APPS, "webpack")];
  const config = ["--config", join(source, "webpack.config.js"), "--context", source];
  assert.doesNotMatch(await tool("webpack", ...config, "--mode", "production", "--output-path", folder), WARNING);
  await cp(join(source, "index.html"), join(folder, "index.html"));
  await mineIn(folder);
});

test("an app whose node cannot be reached says so, and tries again", { skip, timeout: MINUTE }, async () => {
  const site = await serve(APPS);
  const page = await (await browser.newContext()).newPage();
  try {
    await page.goto(`${site.address}/plain/index.html?node=http://127.0.0.1:9`);
    await page.getByRole("button", { name: "I agree" }).click();
    await page.getByRole("button", { name: "Start", exact: true }).click();
    const sentence = "no response from the node http://127.0.0.1:9 (Failed to fetch). Check that it is running";
    await page.getByText(sentence).first().waitFor();
    await page
      .getByText(/retrying in 2 s/)
      .first()
      .waitFor();
  } finally {
    await page.context().close();
    site.close();
  }
});

/**
 * Connects the wallet that the app provides, and grants a session. Returns the address of the wallet's account.
 * @param {Page} page
 */
async function grantSession(page) {
  await openDetails(page);
  await page.getByRole("button", { name: "Connect this site's wallet" }).click();
  await page.getByText("Connected to this site's wallet.").waitFor();
  await page.getByRole("button", { name: "Grant", exact: true }).click();
  await page.getByText("Granted. This browser can now mine for your account.").waitFor();
  return page.locator('[data-at="granter"]').innerText();
}

test("a page without a bundler mines", { skip, timeout: 5 * MINUTE }, () => mineIn(APPS, "/plain/index.html"));

test(
  "a wallet that esbuild builds mines for its account, if it builds the worker and copies the engine",
  { skip, timeout: 5 * MINUTE },
  async () => {
    const folder = join(built, "esbuild");
    const inputs = ["main=esbuild/main.js", "worker=r3mes-miner/worker.js"];
    const output = await tool("esbuild", ...inputs, "--bundle", "--format=esm", `--outdir=${folder}`);
    assert.doesNotMatch(output, WARNING);
    await cp(join(APPS, "node_modules/r3mes-miner/r3mes_www_bg.wasm"), join(folder, "r3mes_www_bg.wasm"));
    await cp(join(APPS, "esbuild/index.html"), join(folder, "index.html"));
    await mineIn(folder, "/index.html", grantSession);
  },
);
