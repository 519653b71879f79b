// The engine behind the page, called as any page may: receipts verified by recomputing them.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { DIST, chromium, missing } from "./browsers.mjs";
import { startNode } from "./node.mjs";

const MINUTE = 60_000;
const skip = missing("Chromium");
let browser;
let node;
let receipt;
before(async () => {
  if (skip) return;
  [browser, node] = [await chromium(), await startNode({ page: DIST })];
  receipt = await mineOne();
}, { timeout: 2 * MINUTE });
after(async () => {
  await browser?.close();
  await node?.stop();
});

/** A visitor without anything kept; `open` may plant what the network does. */
async function visit(open = () => {}) {
  const page = await (await browser.newContext()).newPage();
  await open(page);
  await page.goto(`${node.url}/check.html`);
  return page;
}

async function mineOne() {
  const page = await visit();
  const text = await page.evaluate(async () => {
    const { Engine } = await import("/engine.js");
    const engine = new Engine();
    const accepted = new Promise((resolve, reject) => {
      const tell = (event) => event.event === "accepted" && resolve(event);
      const secret = new Uint8Array(32).fill(5);
      engine.call("create", [{ node: location.origin, backend: "cpu", secret }], tell).then(() => engine.call("start")).catch(reject);
    });
    const { receipt } = await accepted;
    engine.terminate();
    return receipt;
  });
  await page.context().close();
  return text;
}

/** The verdict on a receipt, or the error that there is none. */
function verify(page, receipt, options = { backend: "cpu" }) {
  return page.evaluate(
    async ([receipt, options]) => {
      const { Engine } = await import("/engine.js");
      globalThis.engine ??= new Engine();
      const told = [];
      try {
        const verdict = await engine.verify(receipt, { node: location.origin, ...options }, (event) => told.push(event.event));
        return { ...verdict, told };
      } catch (error) {
        return { error: error.message };
      }
    },
    [receipt, options],
  );
}

test("a genuine receipt holds, as text and as an object, and again from the cache", { skip, timeout: 5 * MINUTE }, async () => {
  const page = await visit();
  const first = await verify(page, receipt);
  assert.equal(first.ok, true, JSON.stringify(first));
  assert.match(first.gradientDigest, /^[0-9a-f]{64}$/);
  assert.equal(first.cid, JSON.parse(receipt).artifact["/"]);
  assert.equal(first.backend, "cpu");
  assert.ok(first.loss > 0 && first.seconds > 0 && first.told.includes("backend"));
  const again = await verify(page, JSON.parse(receipt));
  assert.deepEqual([again.ok, again.gradientDigest], [true, first.gradientDigest]);
});

test("flipped bits of every field are found, each with its reason", { skip, timeout: 10 * MINUTE }, async () => {
  const page = await visit();
  const flip = (bytes, at) => {
    const flipped = Buffer.from(bytes, "base64");
    flipped[at] ^= 1;
    return flipped.toString("base64").replace(/=+$/, "");
  };
  const changes = {
    commitment: (fields) => (fields.commitment["/"].bytes = flip(fields.commitment["/"].bytes, 7)),
    artifact: (fields) => (fields.artifact = fields.task.adapter),
    chunk: (fields) => (fields.task.chunk = fields.task.job.model),
    seed: (fields) => (fields.task.seed["/"].bytes = flip(fields.task.seed["/"].bytes, 31)),
    miner: (fields) => (fields.task.miner = "remes1qqqsyqcyq5rqwzqfpg9scrgwpugpzysn7hvxsv"),
    rank: (fields) => (fields.task.job.rank += 1),
    exponent: (fields) => (fields.task.job.matrices[3].exponent += 1),
  };
  for (const [name, change] of Object.entries(changes)) {
    const fields = JSON.parse(receipt);
    change(fields);
    const { ok, reason, error } = await verify(page, fields);
    assert.ok(ok === false ? reason : error?.startsWith("receipt: "), `${name}: ${ok} ${reason} ${error}`);
  }
  // any character of the text: never a receipt that holds and differs
  for (let at = 0; at < receipt.length; at += 41) {
    const altered = receipt.slice(0, at) + String.fromCharCode(receipt.charCodeAt(at) ^ 1) + receipt.slice(at + 1);
    const { ok, reason, error } = await verify(page, altered);
    assert.ok(!ok && (reason || error), `character ${at}`);
  }
});

const isCar = (route) => route.request().url().endsWith("?format=car");

test("a CAR that ends in other bytes, or early, is made up for", { skip, timeout: 5 * MINUTE }, async () => {
  const { task, artifact } = JSON.parse(receipt);
  const [cid, chunk] = [artifact["/"], task.chunk["/"]];
  for (const change of [(body) => (body[body.length - 1] ^= 1, body), (body) => body.subarray(0, body.length - 1)]) {
    const asked = [];
    const page = await visit((page) =>
      page.route("**/ipfs/*", async (route) => {
        asked.push(route.request().url());
        if (!asked.at(-1).includes(cid)) return route.continue();
        await route.fulfill({ body: change(await (await route.fetch()).body()) });
      }),
    );
    const verdict = await verify(page, receipt);
    assert.equal(verdict.ok, true, JSON.stringify(verdict));
    const blocks = asked.filter((url) => url.endsWith("?format=raw") && !url.includes(chunk));
    assert.equal(blocks.length, 1, `the block that was wrong, alone: ${asked.join(" ")}`);
    await page.context().close();
  }
});

test("a node that sends other bytes than a CID names is refused", { skip, timeout: 5 * MINUTE }, async () => {
  const { task, artifact } = JSON.parse(receipt);
  for (const cid of [artifact["/"], task.chunk["/"], task.adapter["/"]]) {
    const page = await visit((page) =>
      page.route(`**/ipfs/${cid}*`, async (route) => {
        // by itself: of a CAR, a wrong block is asked for again
        if (isCar(route)) return route.fulfill({ status: 404 });
        const body = await (await route.fetch()).body();
        body[body.length >> 1] ^= 1;
        await route.fulfill({ body });
      }),
    );
    assert.match((await verify(page, receipt)).error, new RegExp(`the bytes received for block ${cid} have the CID`));
    await page.context().close();
  }
  const page = await visit((page) =>
    page.route("**/model.safetensors", async (route) => {
      const body = await (await route.fetch()).body();
      body[body.length - 1] ^= 1;
      await route.fulfill({ body });
    }),
  );
  assert.match((await verify(page, receipt)).error, /the node's model/);
});

test("bad input is refused by name", { skip, timeout: MINUTE }, async () => {
  const page = await visit();
  for (const [given, options, named] of [
    ["no receipt", {}, /^receipt: /],
    [7, {}, /^receipt: /],
    [{}, {}, /^receipt: /],
    [receipt, { node: "elsewhere" }, /^node: "elsewhere"/],
    [receipt, { node: 7 }, /^options: /],
    [receipt, { node: "http://127.0.0.1:9" }, /does not answer/],
    [receipt, { backend: "tpu" }, /^backend: "tpu"/],
  ]) {
    assert.match((await verify(page, given, options)).error ?? "no error", named);
  }
});
