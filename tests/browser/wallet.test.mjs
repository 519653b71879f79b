// Wallets in Chromium with a real node process: an account grants a session, which mines for it, within a cap, until it
// is revoked. The provider has Keplr's shape; its signatures are CosmJS's, by a test key that the page never sees.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Secp256k1Wallet } from "@cosmjs/amino";
import { DirectSecp256k1Wallet } from "@cosmjs/proto-signing";
import { startNode } from "./node.mjs";
import { DIST, chromium, missing } from "./browsers.mjs";

const MINUTE = 60_000;
const REWARD = 1_000_000;
const FEE = 1000;
const SECRET = new Uint8Array(32).fill(21);
const skip = missing("Chromium");
let browser;
before(async () => {
  if (!skip) browser = await chromium();
});
after(() => browser?.close());

const base64 = (bytes) => Buffer.from(bytes).toString("base64");
const bytes = (text) => Uint8Array.from(Buffer.from(text, "base64"));

/** Keplr's shape around functions of this process; `way` is what it can sign. */
function provider(way) {
  const pack = (bytes) => btoa(String.fromCharCode(...bytes));
  const unpack = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const enabled = new Set();
  const known = new Set();
  const demand = (set, chainId) => {
    if (!set.has(chainId)) throw new Error(`There is no chain info for ${chainId}`);
  };
  window.keplr = {
    async experimentalSuggestChain(info) {
      if (info.bip44.coinType !== 118 || info.bech32Config.bech32PrefixAccAddr !== "remes")
        throw new Error("another chain");
      known.add(info.chainId);
    },
    async enable(chainId) {
      demand(known, chainId);
      enabled.add(chainId);
    },
    async getKey(chainId) {
      demand(enabled, chainId);
      const { address, pubKey } = await window.testKey();
      return { bech32Address: address, pubKey: unpack(pubKey), name: "test", algo: "secp256k1", isNanoLedger: false };
    },
  };
  if (way === "signDirect") {
    window.keplr.signDirect = async (chainId, signer, { bodyBytes, authInfoBytes, accountNumber }) => {
      demand(enabled, chainId);
      const given = {
        bodyBytes: pack(bodyBytes),
        authInfoBytes: pack(authInfoBytes),
        accountNumber: String(accountNumber),
      };
      return {
        signed: { bodyBytes, authInfoBytes, chainId, accountNumber },
        signature: await window.testSignDirect(chainId, signer, given),
      };
    };
  } else {
    window.keplr.signArbitrary = async (chainId, signer, text) => {
      demand(enabled, chainId);
      return window.testSignText(signer, text);
    };
  }
}

/** The smallest page around the card: what the element does with it. */
const PAGE = {
  html: `<!doctype html><html lang="en"><title>Wallet</title><section aria-label="Wallet"></section><script type="module" src="wallet-test.js"></script></html>`,
  js: `
    import { Engine } from "./engine.js";
    import { secret } from "./records.js";
    import { WalletCard } from "./wallet-card.js";
    const engine = new Engine();
    globalThis.payers = [];
    globalThis.card = new WalletCard(document.querySelector("section"), { engine, node: location.origin, changed: () => payers.push(card.payer()) });
    // finishing is heard between two tasks, so that one more may be done
    globalThis.mine = async (tasks, payer = card.payer()) => {
      const accepted = [];
      const tell = (event) => {
        if (event.event !== "accepted") return;
        accepted.push(event);
        if (accepted.length >= tasks) engine.call("finish");
      };
      await engine.call("create", [{ node: location.origin, backend: "cpu", secret: await secret(), ...payer }], tell);
      const reason = await engine.call("start").then(() => "", (error) => error.message);
      return { accepted, reason };
    };
  `,
};

/** The card's page on the node's own origin, under the node's own policy. */
async function open(node, way) {
  const amino = await Secp256k1Wallet.fromKey(SECRET, "remes");
  const direct = await DirectSecp256k1Wallet.fromKey(SECRET, "remes");
  const [{ address, pubkey }] = await amino.getAccounts();
  const page = await (await browser.newContext()).newPage();
  const seen = { signed: [], errors: [] };
  page.on("pageerror", (error) => seen.errors.push(error.message));
  page.on("console", (message) => message.type() === "error" && seen.errors.push(message.text()));
  await page.exposeFunction("testKey", () => ({ address, pubKey: base64(pubkey) }));
  await page.exposeFunction("testSignDirect", async (chainId, signer, { bodyBytes, authInfoBytes, accountNumber }) => {
    seen.signed.push("transaction");
    const doc = {
      bodyBytes: bytes(bodyBytes),
      authInfoBytes: bytes(authInfoBytes),
      chainId,
      accountNumber: BigInt(accountNumber),
    };
    return (await direct.signDirect(signer, doc)).signature;
  });
  await page.exposeFunction("testSignText", async (signer, text) => {
    seen.signed.push(text);
    const msgs = [{ type: "sign/MsgSignData", value: { signer, data: base64(text) } }];
    const doc = { chain_id: "", account_number: "0", sequence: "0", fee: { gas: "0", amount: [] }, msgs, memo: "" };
    return (await amino.signAmino(signer, doc)).signature;
  });
  await page.addInitScript(provider, way);
  const policy = (await fetch(node.url)).headers.get("content-security-policy");
  const serve = (contentType, body) => (route) =>
    route.fulfill({ contentType, body, headers: { "content-security-policy": policy } });
  await page.route("**/wallet-test.html", serve("text/html", PAGE.html));
  await page.route("**/wallet-test.js", serve("text/javascript", PAGE.js));
  await page.goto(`${node.url}/wallet-test.html`);
  await page.evaluate(() => card.ready);
  return { page, address, seen };
}

const said = (page, pattern) => page.getByRole("status").filter({ hasText: pattern }).waitFor({ timeout: MINUTE });
const press = (page, name) => page.getByRole("button", { name, exact: true }).click();

for (const way of ["signDirect", "signArbitrary"]) {
  test(
    `an account grants by ${way}, is mined for within the cap, and revokes`,
    { skip, timeout: 10 * MINUTE },
    async () => {
      let node = await startNode({ page: DIST });
      try {
        const { page, address, seen } = await open(node, way);
        assert.ok(
          !(await page.getByRole("button", { name: "Grant", exact: true }).isVisible()),
          "nothing to grant before a wallet is connected",
        );
        await press(page, "Connect Keplr");
        await said(page, "Connected to Keplr.");
        assert.deepEqual(await page.evaluate(() => card.payer()), {}, "connecting grants nothing");
        await page.getByLabel("Fees it may spend").fill("0.1");
        await page.getByLabel("For how many days").fill("1");
        await press(page, "Grant");
        await said(page, /^Granted/);
        assert.deepEqual(await page.evaluate(() => card.payer()), { granter: address });
        assert.match(await page.locator("section").innerText(), /Left for fees: 0\.1 R3MES/);

        const free = await page.evaluate(() => mine(2));
        assert.equal(free.reason, "");
        const earned = free.accepted.length * REWARD;
        assert.ok(earned >= 2 * REWARD);
        assert.equal(await node.balance(address), earned, "the account is paid");
        assert.equal(free.accepted.at(-1).balance, earned);

        // a node with fees: two transactions a task, out of the cap
        await node.kill();
        node = await node.again(["--min-fee", String(FEE)]);
        const paid = await page.evaluate(() => mine(1));
        assert.equal(paid.reason, "");
        const fees = 2 * FEE * paid.accepted.length;
        const balance = earned + paid.accepted.length * REWARD - fees;
        assert.equal(await node.balance(address), balance);
        const operators = (await node.get("/stats")).fees - fees;
        assert.ok(operators > 0 && operators % FEE === 0, "the node's own words cost as much");
        await page.evaluate(() => card.refresh());
        assert.match(
          await page.locator("section").innerText(),
          new RegExp(`Left for fees: ${(100_000 - fees) / 1e6} R3MES`),
        );
        assert.equal(seen.signed.length, 1, "the wallet was asked once, not for each submission");

        // what was granted is shown after a reload; the wallet that granted it revokes
        await page.reload();
        await page.evaluate(() => card.ready);
        assert.deepEqual(await page.evaluate(() => card.payer()), { granter: address });
        await press(page, "Revoke");
        await said(page, /^Connect the wallet/);
        await press(page, "Connect Keplr");
        await said(page, "Connected to Keplr.");
        await press(page, "Revoke");
        await said(page, /^Revoked/);
        assert.equal(seen.signed.length, 2);
        assert.deepEqual(await page.evaluate(() => card.payer()), {});
        assert.equal(await node.balance(address), balance - FEE, "the fee of the revocation");
        const { reason } = await page.evaluate((granter) => mine(1, { granter }), address);
        assert.match(reason, /code 4: .* grants .*, or not any more/);
        assert.equal(await node.balance(address), balance - FEE, "what is refused costs nothing");
        assert.deepEqual(
          seen.errors.filter((error) => !/404/.test(error)),
          [],
        );
        if (way === "signArbitrary") assert.match(seen.signed[0], /Expires: \d{4}-\d\d-\d\dT/);
      } finally {
        await node.stop();
      }
    },
  );
}

test(
  "without a wallet an address is pasted, and no secret is ever asked for",
  { skip, timeout: 2 * MINUTE },
  async () => {
    const node = await startNode({ page: DIST });
    try {
      const { page } = await open(node, "signDirect");
      await page.addInitScript(() => delete window.keplr);
      await page.reload();
      await page.evaluate(() => card.ready);
      assert.equal(await page.getByRole("button", { name: /Connect/ }).count(), 0);
      const text = await page.locator("section").innerText();
      assert.match(text, /No Keplr or Leap/);
      assert.doesNotMatch(text, /mnemonic|phrase|words|private key|secret/i);
      const payee = "remes1qqqsyqcyq5rqwzqfpg9scrgwpugpzysn7hvxsv";
      await page.getByLabel("Or paid to this address").fill(payee);
      await page.getByLabel("Or paid to this address").blur();
      await page.waitForFunction(() => payers.at(-1)?.payout);
      assert.deepEqual(await page.evaluate(() => card.payer()), { payout: payee });
      await page.reload();
      await page.evaluate(() => card.ready);
      assert.deepEqual(await page.evaluate(() => card.payer()), { payout: payee });
    } finally {
      await node.stop();
    }
  },
);
