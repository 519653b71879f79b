// Tests wallets in Chromium with a real node process. An account grants a session; then the session key can mine for
// the account, within a fee limit, until the account revokes the session. The wallet is a substitute with Keplr's
// interface. CosmJS makes the wallet's signatures in the test's own process, with a test key that the page never sees.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Secp256k1Wallet } from "@cosmjs/amino";
import { DirectSecp256k1Wallet } from "@cosmjs/proto-signing";
import { startNode } from "./node.mjs";
import { DIST, launchChromium, skipReason } from "./browsers.mjs";

/** @import { Page, Route } from "playwright-core" */
/** @import { WalletProvider } from "../../www/wallet.js" */
/** @import { TestNode } from "./node.mjs" */

/** @typedef {{ bodyBytes: string, authInfoBytes: string, accountNumber: string }} Base64Doc */

const MINUTE = 60_000;
/** The reward that the node pays for each task, in micro-units. */
const REWARD = 1_000_000;
/** The fee for each transaction on a node that requires fees, in micro-units. */
const FEE = 1000;
const SECRET = new Uint8Array(32).fill(21);
const skip = skipReason("Chromium");
/** @type {import("playwright-core").Browser} */
let browser;
before(async () => {
  if (!skip) browser = await launchChromium();
});
after(() => browser?.close());

/** @type {(bytes: Uint8Array | string) => string} */
const toBase64 = (bytes) => Buffer.from(/** @type {string} */ (bytes)).toString("base64");
/** @type {(text: string) => Uint8Array} */
const fromBase64 = (text) => Uint8Array.from(Buffer.from(text, "base64"));

/**
 * Defines a wallet with Keplr's interface. The test's Node process makes the wallet's signatures. This function runs in
 * the page.
 * @param {string} method what the wallet can sign: "signDirect" for transactions, "signAmino" for transactions with a
 *   key on a Ledger hardware wallet, "signArbitrary" for texts
 */
function defineWallet(method) {
  /** @type {(bytes: Uint8Array) => string} */
  const encode = (bytes) => btoa(String.fromCharCode(...bytes));
  /** @type {(text: string) => Uint8Array} */
  const decode = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  /** @type {Set<string>} */
  const suggested = new Set();
  /** @type {Set<string>} */
  const enabled = new Set();
  /** @type {(chains: Set<string>, chainId: string) => void} */
  const require = (chains, chainId) => {
    if (!chains.has(chainId)) throw new Error(`There is no chain info for ${chainId}`);
  };
  /** @type {WalletProvider} */
  const wallet = {
    async experimentalSuggestChain({ chainId, bip44, bech32Config }) {
      if (bip44.coinType !== 118 || bech32Config.bech32PrefixAccAddr !== "remes") throw new Error("wrong chain info");
      suggested.add(chainId);
    },
    async enable(chainId) {
      require(suggested, chainId);
      enabled.add(chainId);
    },
    async getKey(chainId) {
      require(enabled, chainId);
      const { address, pubKey } = await globalThis.testKey();
      return {
        bech32Address: address,
        pubKey: decode(pubKey),
        name: "test",
        algo: "secp256k1",
        isNanoLedger: method === "signAmino",
      };
    },
  };
  if (method === "signAmino") {
    wallet.signAmino = async (chainId, signer, doc) => {
      require(enabled, chainId);
      return globalThis.testSignAmino(signer, doc);
    };
    // like Keplr, this wallet has the method `signDirect` even if its key is on a Ledger hardware wallet; a call then
    // fails
    wallet.signDirect = async () => {
      throw new Error("a Ledger device does not support signDirect");
    };
  } else if (method === "signDirect") {
    wallet.signDirect = async (chainId, signer, doc) => {
      require(enabled, chainId);
      const { bodyBytes, authInfoBytes, accountNumber } = doc;
      const signature = await globalThis.testSignDirect(chainId, signer, {
        bodyBytes: encode(bodyBytes),
        authInfoBytes: encode(authInfoBytes),
        accountNumber: String(accountNumber),
      });
      return { signed: { bodyBytes, authInfoBytes, chainId, accountNumber }, signature };
    };
  } else {
    wallet.signArbitrary = async (chainId, signer, text) => {
      require(enabled, chainId);
      return globalThis.testSignText(signer, text);
    };
  }
  globalThis.keplr = wallet;
}

/** A minimal page with a wallet card and a function that mines as the element <r3mes-miner> does. */
const HTML = `<!doctype html><html lang="en"><title>Wallet</title><section aria-label="Wallet"></section>
  <script type="module" src="wallet-test.js"></script></html>`;
const SCRIPT = `
  import { Engine } from "./engine.js";
  import { sessionSecret } from "./storage.js";
  import { WalletCard } from "./wallet-card.js";
  const engine = new Engine();
  globalThis.payees = [];
  globalThis.card = new WalletCard(document.querySelector("section"), {
    engine,
    node: location.origin,
    onChange: () => payees.push(card.payee()),
  });
  // the engine's "finish" ends mining only after the current task, so one task more than requested may be accepted
  globalThis.mine = async (tasks, payee = card.payee()) => {
    const accepted = [];
    const onEvent = (event) => {
      if (event.event !== "accepted") return;
      accepted.push(event);
      if (accepted.length >= tasks) engine.call("finish", []);
    };
    const options = { node: location.origin, backend: "cpu", secret: await sessionSecret(), ...payee };
    await engine.call("create", [options], onEvent);
    const reason = await engine.call("start", []).then(() => "", (error) => error.message);
    return { accepted, reason };
  };`;

/**
 * Opens the page with the wallet card, served from the node's origin with the node's Content Security Policy.
 * @param {TestNode} node
 * @param {"signDirect" | "signAmino" | "signArbitrary"} method
 */
async function open(node, method) {
  const amino = await Secp256k1Wallet.fromKey(SECRET, "remes");
  const direct = await DirectSecp256k1Wallet.fromKey(SECRET, "remes");
  const [{ address, pubkey }] = await amino.getAccounts();
  const page = await (await browser.newContext()).newPage();
  const seen = { signed: /** @type {string[]} */ ([]), errors: /** @type {string[]} */ ([]) };
  page.on("pageerror", (error) => seen.errors.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error") seen.errors.push(message.text());
  });
  await page.exposeFunction("testKey", () => ({ address, pubKey: toBase64(pubkey) }));
  await page.exposeFunction(
    "testSignDirect",
    async (/** @type {string} */ chainId, /** @type {string} */ signer, /** @type {Base64Doc} */ doc) => {
      seen.signed.push("transaction");
      const { signature } = await direct.signDirect(signer, {
        bodyBytes: fromBase64(doc.bodyBytes),
        authInfoBytes: fromBase64(doc.authInfoBytes),
        chainId,
        accountNumber: BigInt(doc.accountNumber),
      });
      return signature;
    },
  );
  await page.exposeFunction(
    "testSignAmino",
    async (/** @type {string} */ signer, /** @type {import("@cosmjs/amino").StdSignDoc} */ doc) => {
      seen.signed.push("transaction");
      return amino.signAmino(signer, doc);
    },
  );
  await page.exposeFunction("testSignText", async (/** @type {string} */ signer, /** @type {string} */ text) => {
    seen.signed.push(text);
    const msgs = [{ type: "sign/MsgSignData", value: { signer, data: toBase64(text) } }];
    const doc = { chain_id: "", account_number: "0", sequence: "0", fee: { gas: "0", amount: [] }, msgs, memo: "" };
    return (await amino.signAmino(signer, doc)).signature;
  });
  await page.addInitScript(defineWallet, method);
  const policy = (await fetch(node.url)).headers.get("content-security-policy") ?? "";
  /** @type {(contentType: string, body: string) => (route: Route) => Promise<void>} */
  const serve = (contentType, body) => (route) =>
    route.fulfill({ contentType, body, headers: { "content-security-policy": policy } });
  await page.route("**/wallet-test.html", serve("text/html", HTML));
  await page.route("**/wallet-test.js", serve("text/javascript", SCRIPT));
  await page.goto(`${node.url}/wallet-test.html`);
  await page.evaluate(() => globalThis.card.ready);
  return { page, address, seen };
}

/**
 * Waits until the status of the wallet card matches `text`.
 * @param {Page} page
 * @param {string | RegExp} text
 */
const waitForStatus = (page, text) => page.getByRole("status").filter({ hasText: text }).waitFor({ timeout: MINUTE });

/**
 * Presses the button whose name is exactly `name`.
 * @param {Page} page
 * @param {string} name
 */
const press = (page, name) => page.getByRole("button", { name, exact: true }).click();

/** @param {Page} page */
const payee = (page) => page.evaluate(() => globalThis.card.payee());

/**
 * Mines at least `tasks` tasks. Returns the accepted tasks, and the error message if mining failed.
 * @param {Page} page
 * @param {number} tasks
 */
const mine = (page, tasks) => page.evaluate((tasks) => globalThis.mine(tasks), tasks);

for (const method of /** @type {const} */ (["signDirect", "signAmino", "signArbitrary"])) {
  test(
    `an account grants a session by ${method}, is paid for its work, and revokes it`,
    {
      skip,
      timeout: 10 * MINUTE,
    },
    async () => {
      let node = await startNode({ page: DIST });
      try {
        const { page, address, seen } = await open(node, method);
        const grant = page.getByRole("button", { name: "Grant", exact: true });
        assert.ok(!(await grant.isVisible()), "no Grant button before a wallet is connected");
        await press(page, "Connect Keplr");
        await waitForStatus(page, "Connected to Keplr.");
        assert.deepEqual(await payee(page), {}, "connecting a wallet grants nothing");
        await page.getByLabel("Fee limit").fill("0.1");
        await page.getByLabel("Valid for").fill("1");
        await press(page, "Grant");
        await waitForStatus(page, /^Granted/);
        assert.deepEqual(await payee(page), { granter: address });
        assert.match(await page.locator("section").innerText(), /Left for fees: 0\.1 R3MES/);

        const free = await mine(page, 2);
        assert.equal(free.reason, "");
        const earned = free.accepted.length * REWARD;
        assert.ok(earned >= 2 * REWARD);
        assert.equal(await node.balance(address), earned, "the account is paid");
        assert.equal(free.accepted.at(-1)?.balance, earned);

        // on a node that requires fees, the account pays the fees of a task's two transactions, within the fee limit
        await node.kill();
        node = await node.restart(["--min-fee", String(FEE)]);
        const paid = await mine(page, 1);
        assert.equal(paid.reason, "");
        const fees = 2 * FEE * paid.accepted.length;
        const balance = earned + paid.accepted.length * REWARD - fees;
        assert.equal(await node.balance(address), balance);
        assert.equal((await node.get("/stats")).fees, fees, "the operator's own transactions are duties without a fee");
        await page.evaluate(() => globalThis.card.refresh());
        const left = (100_000 - fees) / 1e6;
        assert.match(await page.locator("section").innerText(), new RegExp(`Left for fees: ${left} R3MES`));
        assert.equal(seen.signed.length, 1, "the wallet signed once, not for each submission");

        // after a reload, the card shows the session again; only the wallet that granted the session can revoke it
        await page.reload();
        await page.evaluate(() => globalThis.card.ready);
        assert.deepEqual(await payee(page), { granter: address });
        await press(page, "Revoke");
        await waitForStatus(page, /^Connect the wallet/);
        await press(page, "Connect Keplr");
        await waitForStatus(page, "Connected to Keplr.");
        await press(page, "Revoke");
        await waitForStatus(page, /^Revoked/);
        assert.equal(seen.signed.length, 2);
        assert.deepEqual(await payee(page), {});
        assert.equal(await node.balance(address), balance - FEE, "the account pays the fee of the revocation");
        const { reason } = await page.evaluate((granter) => globalThis.mine(1, { granter }), address);
        assert.match(reason, /code 4: .* has not granted .*, or has revoked it/);
        assert.equal(await node.balance(address), balance - FEE, "a refused transaction costs nothing");
        assert.deepEqual(
          seen.errors.filter((error) => !/404/.test(error)),
          [],
        );
        if (method === "signArbitrary") assert.match(seen.signed[0], /Expires: \d{4}-\d\d-\d\dT/);
      } finally {
        await node.stop();
      }
    },
  );
}

test(
  "without a wallet the visitor enters an address, and the card asks for no secret",
  {
    skip,
    timeout: 2 * MINUTE,
  },
  async () => {
    const node = await startNode({ page: DIST });
    try {
      const { page } = await open(node, "signDirect");
      await page.addInitScript(() => {
        globalThis.keplr = undefined;
      });
      await page.reload();
      await page.evaluate(() => globalThis.card.ready);
      assert.equal(await page.getByRole("button", { name: /Connect/ }).count(), 0);
      const text = await page.locator("section").innerText();
      assert.match(text, /No Keplr or Leap/);
      assert.doesNotMatch(text, /mnemonic|phrase|words|private key|secret/i);
      const address = "remes1qqqsyqcyq5rqwzqfpg9scrgwpugpzysn7hvxsv";
      await page.getByLabel("Payout address").fill(address);
      await page.getByLabel("Payout address").blur();
      await page.waitForFunction(() => globalThis.payees.at(-1)?.payout);
      assert.deepEqual(await payee(page), { payout: address });
      await page.reload();
      await page.evaluate(() => globalThis.card.ready);
      assert.deepEqual(await payee(page), { payout: address });
    } finally {
      await node.stop();
    }
  },
);
