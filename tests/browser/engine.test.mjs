// Tests that any page can call the engine (this library, compiled to WebAssembly) to verify a receipt, the record of a
// computed gradient. The engine recomputes the gradient. Damaged receipts and blocks must be rejected.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { DIST, launchChromium, skipReason } from "./browsers.mjs";
import { startNode } from "./node.mjs";

/** @import { Page, Route } from "playwright-core" */
/** @import { VerifyOptions } from "../../www/r3mes_www.js" */

const MINUTE = 60_000;
const skip = skipReason("Chromium");
/** @type {import("playwright-core").Browser} */
let browser;
/** @type {import("./node.mjs").TestNode} */
let node;
/** @type {string} a valid receipt, as JSON */
let receipt;
before(
  async () => {
    if (skip) return;
    [browser, node] = [await launchChromium(), await startNode({ page: DIST })];
    receipt = await mineReceipt();
  },
  { timeout: 2 * MINUTE },
);
after(async () => {
  await browser?.close();
  await node?.stop();
});

/**
 * Opens the conformance page of the node as a new visitor with an empty cache.
 * @param {(page: Page) => Promise<unknown>} prepare called before the page loads, for example to intercept requests
 */
async function visit(prepare = async () => {}) {
  const page = await (await browser.newContext()).newPage();
  await prepare(page);
  await page.goto(`${node.url}/check.html`);
  return page;
}

/** Mines one task and returns its receipt. */
async function mineReceipt() {
  const page = await visit();
  const mined = await page.evaluate(async () => {
    const url = "/engine.js";
    /** @type {typeof import("../../www/engine.js")} */
    const { Engine } = await import(url);
    const engine = new Engine();
    /** @type {string} */
    const receipt = await new Promise((resolve, reject) => {
      const options = {
        node: location.origin,
        backend: /** @type {const} */ ("cpu"),
        secret: new Uint8Array(32).fill(5),
      };
      engine
        .call("create", [options], (event) => {
          if (event.event === "accepted") resolve(event.receipt);
        })
        .then(() => engine.call("start", []))
        .catch(reject);
    });
    engine.terminate();
    return receipt;
  });
  await page.context().close();
  return mined;
}

/**
 * Verifies a receipt in a page. Returns the verdict and the names of the reported events. If verification fails with an
 * error, returns the error message instead.
 * @param {Page} page
 * @param {unknown} receipt
 * @param {object} options fields that replace those of the engine's `VerifyOptions`
 */
function verify(page, receipt, options = { backend: "cpu" }) {
  return page.evaluate(async ([receipt, options]) => {
    const url = "/engine.js";
    /** @type {typeof import("../../www/engine.js")} */
    const { Engine } = await import(url);
    const engine = (globalThis.engine ??= new Engine());
    /** @type {string[]} */
    const events = [];
    try {
      const allOptions = /** @type {VerifyOptions} */ ({ node: location.origin, ...options });
      const verdict = await engine.verify(/** @type {string} */ (receipt), allOptions, ({ event }) => {
        events.push(event);
      });
      return { ...verdict, events };
    } catch (error) {
      return { error: /** @type {Error} */ (error).message };
    }
  }, /** @type {const} */ ([receipt, options]));
}

/**
 * Verifies a receipt and returns the verdict. Fails if verification ends with an error instead.
 * @param {Page} page
 * @param {unknown} receipt
 */
async function verdictOf(page, receipt) {
  const answer = await verify(page, receipt);
  if (answer.error !== undefined) assert.fail(answer.error);
  return answer;
}

/**
 * Verifies a receipt and returns the message of the error. Fails if there is a verdict instead.
 * @param {Page} page
 * @param {unknown} receipt
 * @param {object} [options]
 */
async function errorOf(page, receipt, options) {
  const answer = await verify(page, receipt, options);
  return answer.error ?? "no error";
}

/**
 * Verifies a receipt that must be rejected. Returns the reason for the rejection or the error message. Returns
 * `undefined` if the receipt was wrongly accepted.
 * @param {Page} page
 * @param {unknown} receipt
 */
async function rejectionOf(page, receipt) {
  const answer = await verify(page, receipt);
  if (answer.error !== undefined) return answer.error;
  return answer.ok ? undefined : answer.reason;
}

test(
  "a receipt is valid as text and as an object, from the network and from the cache",
  {
    skip,
    timeout: 5 * MINUTE,
  },
  async () => {
    const page = await visit();
    const first = await verdictOf(page, receipt);
    assert.equal(first.ok, true, JSON.stringify(first));
    assert.match(first.gradientDigest ?? "", /^[0-9a-f]{64}$/);
    assert.equal(first.cid, JSON.parse(receipt).artifact["/"]);
    assert.equal(first.backend, "cpu");
    assert.ok((first.loss ?? 0) > 0 && first.seconds > 0 && first.events.includes("backend"));
    const second = await verdictOf(page, JSON.parse(receipt));
    assert.deepEqual([second.ok, second.gradientDigest], [true, first.gradientDigest]);
  },
);

test("a flipped bit in any field is found, with a reason", { skip, timeout: 10 * MINUTE }, async () => {
  const page = await visit();
  /**
   * Flips the lowest bit of one byte. Returns the changed bytes in base64 without padding.
   * @param {string} base64 the original bytes in base64
   * @param {number} index the position of the byte to change
   */
  const flip = (base64, index) => {
    const bytes = Buffer.from(base64, "base64");
    bytes[index] ^= 1;
    return bytes.toString("base64").replace(/=+$/, "");
  };
  /** @type {Record<string, (fields: any) => void>} */
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
    const answer = await verify(page, fields);
    const malformed = answer.error?.startsWith("receipt: ");
    const found = answer.error === undefined ? !answer.ok && answer.reason : malformed;
    assert.ok(found, `${name}: ${JSON.stringify(answer)}`);
  }
  // changing any character must make the receipt malformed or invalid
  for (let index = 0; index < receipt.length; index += 41) {
    const changed = String.fromCharCode(receipt.charCodeAt(index) ^ 1);
    const altered = receipt.slice(0, index) + changed + receipt.slice(index + 1);
    assert.ok(await rejectionOf(page, altered), `character ${index}`);
  }
});

/** @param {Route} route */
const isCar = (route) => route.request().url().endsWith("?format=car");

test("a corrupt or truncated CAR is completed block by block", { skip, timeout: 5 * MINUTE }, async () => {
  const { task, artifact } = JSON.parse(receipt);
  const [cid, chunk] = [artifact["/"], task.chunk["/"]];
  /** @type {((body: Buffer) => Buffer)[]} */
  const damages = [
    (body) => {
      body[body.length - 1] ^= 1;
      return body;
    },
    (body) => body.subarray(0, body.length - 1),
  ];
  for (const damage of damages) {
    /** @type {string[]} */
    const requests = [];
    const page = await visit((page) =>
      page.route("**/ipfs/*", async (route) => {
        const url = route.request().url();
        requests.push(url);
        if (!url.includes(cid)) return route.continue();
        await route.fulfill({ body: damage(await (await route.fetch()).body()) });
      }),
    );
    const verdict = await verdictOf(page, receipt);
    assert.equal(verdict.ok, true, JSON.stringify(verdict));
    const blocks = requests.filter((url) => url.endsWith("?format=raw") && !url.includes(chunk));
    assert.equal(blocks.length, 1, `only the damaged block is requested again: ${requests.join(" ")}`);
    await page.context().close();
  }
});

test("bytes that do not match their CID are refused", { skip, timeout: 5 * MINUTE }, async () => {
  const { task, artifact } = JSON.parse(receipt);
  for (const cid of [artifact["/"], task.chunk["/"], task.adapter["/"]]) {
    const page = await visit((page) =>
      page.route(`**/ipfs/${cid}*`, async (route) => {
        // the test refuses requests for CAR files, so the engine requests every block individually
        if (isCar(route)) return route.fulfill({ status: 404 });
        const body = await (await route.fetch()).body();
        body[body.length >> 1] ^= 1;
        await route.fulfill({ body });
      }),
    );
    assert.match(await errorOf(page, receipt), new RegExp(`the bytes received for block ${cid} have the CID`));
    await page.context().close();
  }
  const page = await visit((page) =>
    page.route("**/model.safetensors", async (route) => {
      const body = await (await route.fetch()).body();
      body[body.length - 1] ^= 1;
      await route.fulfill({ body });
    }),
  );
  assert.match(await errorOf(page, receipt), /the node's model/);
});

test("an invalid argument is refused, and the error names it", { skip, timeout: MINUTE }, async () => {
  const page = await visit();
  /** @type {[unknown, object, RegExp][]} */
  const cases = [
    ["no receipt", {}, /^receipt: /],
    [7, {}, /^receipt: /],
    [{}, {}, /^receipt: /],
    [receipt, { node: "elsewhere" }, /^the node's URL is "elsewhere"/],
    [receipt, { node: 7 }, /^options: /],
    [receipt, { node: "http://127.0.0.1:9" }, /no response/],
    [receipt, { backend: "tpu" }, /^the backend is "tpu"/],
  ];
  for (const [given, options, expected] of cases) assert.match(await errorOf(page, given, options), expected);
});
