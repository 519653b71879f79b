// Tests that the page reads the grants of a session from a node, broadcasts each transaction once, and describes the
// chain correctly to wallets. The tests supply the node's answers.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Chain } from "../../../www/chain.js";
import { Account } from "../../../www/wallet.js";
import { installWorkers, setGlobal } from "./environment.mjs";

/** @import { Engine } from "../../../www/engine.js" */

installWorkers();
/** @type {Record<string, unknown>} the node's answers by path; it answers 404 to others */
let answers;
/** @type {string[]} the requested URLs */
let requests;
setGlobal("fetch", async (/** @type {string} */ url) => {
  requests.push(url);
  const answer = answers[url.replace("http://node", "")];
  return { ok: answer !== undefined, status: answer ? 200 : 404, json: async () => answer ?? { message: "not found" } };
});
beforeEach(() => {
  requests = [];
  answers = {
    "/remes/remes/v1/params": {
      params: { chain_id: "r3mes-1", bech32_prefix: "remes", denom: "uremes", min_fee: "1000" },
    },
  };
});

const GRANTS = "/cosmos/authz/v1beta1/grants?granter=a&grantee=b";
const ALLOWANCE = "/cosmos/feegrant/v1beta1/allowance/a/b";
/** @type {(msg: string, expiration: string) => object} */
const grant = (msg, expiration) => ({ authorization: { msg }, expiration });
/** @type {(limit: object[], expiration: string) => object} */
const allowance = (limit, expiration) => ({
  allowance: { allowance: { allowance: { spend_limit: limit, expiration } } },
});

test("without grants and allowance there is no session", async () => {
  answers[GRANTS] = { grants: [] };
  assert.equal(await new Chain("http://node/").grants("a", "b"), undefined);
  assert.deepEqual(requests, [`http://node${GRANTS}`, `http://node${ALLOWANCE}`]);
});

test("a session expires with the first of its grants", async () => {
  answers[GRANTS] = { grants: [grant("/claim", "1970-01-01T00:01:40Z"), grant("/submit", "1970-01-01T00:00:50Z")] };
  const chain = new Chain("http://node");
  assert.deepEqual(await chain.grants("a", "b"), { messages: ["/claim", "/submit"], capLeft: undefined, expires: 50 });
  answers[ALLOWANCE] = allowance([{ amount: "700" }], "1970-01-01T00:00:30Z");
  assert.deepEqual(await chain.grants("a", "b"), { messages: ["/claim", "/submit"], capLeft: 700, expires: 30 });
  answers[GRANTS] = { grants: [] };
  assert.deepEqual(await chain.grants("a", "b"), { messages: [], capLeft: 700, expires: 30 });
});

test("a request that the node does not find yields an error with the node's message", async () => {
  await assert.rejects(new Chain("http://node").sequence("a"), /^Error: not found$/);
});

test("a transaction is broadcast once and polled until it is in a block", async () => {
  const chain = new Chain("http://node");
  answers["/cosmos/tx/v1beta1/txs"] = { tx_response: { code: 5, raw_log: "no coins" } };
  await assert.rejects(chain.broadcast(new Uint8Array(4)), /^Error: no coins$/);
  answers["/cosmos/tx/v1beta1/txs"] = { tx_response: { code: 0, txhash: "AB" } };
  setTimeout(() => (answers["/cosmos/tx/v1beta1/txs/AB"] = { tx_response: { code: 0 } }), 100);
  assert.equal(await chain.broadcast(new Uint8Array(4)), "AB");
  answers["/cosmos/tx/v1beta1/txs/AB"] = { tx_response: { code: 11, raw_log: "out of gas" } };
  await assert.rejects(chain.broadcast(new Uint8Array(4)), /^Error: out of gas$/);
});

test("the chain is described for wallets, with the gas price of the smallest fee", async () => {
  const info = await new Chain("http://node").info();
  assert.deepEqual(
    [info.chainId, info.rest, info.bech32Config.bech32PrefixValPub],
    ["r3mes-1", "http://node", "remesvaloperpub"],
  );
  assert.equal(info.feeCurrencies[0].gasPriceStep.average, 0.005);
});

test("a wallet whose address does not belong to its key is refused", async () => {
  const provider = {
    enable: async () => {},
    getKey: async () => ({ bech32Address: "cosmos1other", pubKey: new Uint8Array(33) }),
  };
  const engine = /** @type {Engine} */ (/** @type {unknown} */ ({ call: async () => "remes1own" }));
  const connection = { engine, chain: new Chain("http://node"), secret: new Uint8Array(32) };
  await assert.rejects(Account.connect({ name: "Test", provider }, connection), /cosmos1other does not belong/);
});
