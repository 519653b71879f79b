// Tests which of a wallet's methods the page calls to get a signature. It must call `signAmino` if the key is on a
// Ledger hardware wallet or if the wallet has no `signDirect`. The page's WebAssembly module and the node are replaced
// by mocks.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Secp256k1Wallet } from "@cosmjs/amino";
import { DirectSecp256k1Wallet } from "@cosmjs/proto-signing";
import { Account, asProvider } from "../../../www/wallet.js";

/** @import { Connection, WalletProvider } from "../../../www/wallet.js" */

const SIGNATURE = { signature: btoa("signature") };
const bytes = (/** @type {string} */ text) => new TextEncoder().encode(text);

/**
 * Connects an account, grants a session and revokes it. Returns the account, the methods of the wallet that were
 * called, and the transactions that were broadcast.
 * @param {{ isNanoLedger?: boolean, methods: string[], bech32Address?: string }} options `methods`: the names of the
 *   methods with which the wallet can sign
 */
async function grantAndRevoke({ isNanoLedger, methods, bech32Address = "remes1own" }) {
  /** @type {string[]} */
  const called = [];
  /** @type {string[]} */
  const broadcast = [];
  /** @type {Record<string, (...args: any[]) => unknown>} */
  const functions = {
    addressOf: () => "remes1own",
    sessionAddress: () => "remes1session",
    sessionGrant: () => ({ bodyBytes: bytes("grant"), authInfoBytes: bytes("direct") }),
    sessionRevoke: () => ({ bodyBytes: bytes("revoke"), authInfoBytes: bytes("direct") }),
    inAmino: (bodyBytes, _, chainId) => ({
      bodyBytes,
      authInfoBytes: bytes("amino"),
      document: JSON.stringify({ chain_id: chainId, memo: "" }),
    }),
    assemble: (body, info, signature) => [body, info, signature].map((part) => new TextDecoder().decode(part)).join(),
    assembleAmino: (body, info, chainId, signed, signature) => {
      if (signed !== JSON.stringify({ chain_id: chainId, memo: "" })) throw new Error("another document");
      return functions.assemble(body, info, signature);
    },
    openingStatement: () => "open",
    closingStatement: () => "close",
    openSession: () => "opened by a statement",
    closeSession: () => "closed by a statement",
  };
  const chain = {
    info: async () => ({ chainId: "r3mes-1" }),
    time: async () => 1000,
    sequence: async () => 3,
    minimumFee: async () => ({ floor: 5, perByte: 0, perRow: 0 }),
    grants: async () => ({ messages: ["/remes.remes.v1.MsgClaimTask"], capLeft: 7, expires: 2000 }),
    statementNumber: async () => 0,
    broadcast: async (/** @type {unknown} */ transaction) => broadcast.push(String(transaction)),
  };
  const engine = {
    call: async (/** @type {string} */ name, /** @type {unknown[]} */ args) => functions[name](...args),
  };
  const signing = {
    signDirect: async (/** @type {string} */ _, /** @type {string} */ _signer, /** @type {object} */ doc) => ({
      signed: doc,
      signature: SIGNATURE,
    }),
    signAmino: async (/** @type {string} */ _, /** @type {string} */ _signer, /** @type {object} */ doc) => ({
      signed: doc,
      signature: SIGNATURE,
    }),
    signArbitrary: async () => SIGNATURE,
  };
  /** @type {Record<string, unknown>} */
  const provider = {
    enable: async () => {},
    getKey: async () => ({ bech32Address, pubKey: bytes("key"), isNanoLedger }),
  };
  for (const [name, sign] of Object.entries(signing)) {
    if (!methods.includes(name)) continue;
    provider[name] = (/** @type {[string, string, any]} */ ...args) => {
      called.push(name);
      return sign(...args);
    };
  }
  const wallet = { name: "Test", provider: /** @type {WalletProvider} */ (/** @type {unknown} */ (provider)) };
  const connection = /** @type {Connection} */ (/** @type {unknown} */ ({ engine, chain, secret: bytes("secret") }));
  const account = await Account.connect(wallet, connection);
  await account.grant(10, 60);
  await account.revoke();
  return { account, called, broadcast };
}

const ALL = ["signDirect", "signAmino", "signArbitrary"];

test("a wallet signs transactions with signDirect if it can", async () => {
  const { called, broadcast } = await grantAndRevoke({ methods: ALL });
  assert.deepEqual(called, ["signDirect", "signDirect"]);
  assert.deepEqual(broadcast, ["grant,direct,signature", "revoke,direct,signature"]);
});

test("a key on a Ledger device signs with signAmino", async () => {
  const { called, broadcast } = await grantAndRevoke({ methods: ALL, isNanoLedger: true });
  assert.deepEqual(called, ["signAmino", "signAmino"]);
  assert.deepEqual(broadcast, ["grant,amino,signature", "revoke,amino,signature"]);
});

test("a wallet without signDirect signs with signAmino", async () => {
  const { called } = await grantAndRevoke({ methods: ["signAmino", "signArbitrary"] });
  assert.deepEqual(called, ["signAmino", "signAmino"]);
});

test("a wallet that can sign only texts signs statements", async () => {
  const { called, broadcast } = await grantAndRevoke({ methods: ["signArbitrary"], isNanoLedger: true });
  assert.deepEqual(called, ["signArbitrary", "signArbitrary"]);
  assert.deepEqual(broadcast, ["opened by a statement", "closed by a statement"]);
});

test("an address that a wallet states in upper case is the same account", async () => {
  const { account } = await grantAndRevoke({ methods: ALL, bech32Address: "REMES1OWN" });
  assert.equal(account.address, "remes1own");
  await assert.rejects(grantAndRevoke({ methods: ALL, bech32Address: "Remes1own" }), /does not belong/);
});

test("a signer of CosmJS becomes a wallet with the interface of Keplr", async () => {
  const secret = new Uint8Array(32).fill(21);
  const [direct, amino] = [
    await DirectSecp256k1Wallet.fromKey(secret, "remes"),
    await Secp256k1Wallet.fromKey(secret, "remes"),
  ];
  const [{ address, pubkey }] = await direct.getAccounts();
  const keplr = asProvider(direct);
  await keplr.enable("r3mes-1");
  assert.deepEqual(await keplr.getKey("r3mes-1"), { bech32Address: address, pubKey: pubkey });
  const doc = { bodyBytes: bytes("body"), authInfoBytes: bytes("info"), chainId: "r3mes-1", accountNumber: 0n };
  const expected = await direct.signDirect(address, doc);
  assert.deepEqual(await keplr.signDirect?.("r3mes-1", address, doc, {}), expected);
  assert.equal(keplr.signAmino, undefined);

  const fee = { gas: "0", amount: [] };
  const text = { chain_id: "r3mes-1", account_number: "0", sequence: "0", fee, msgs: [], memo: "" };
  const signed = await asProvider(amino).signAmino?.("r3mes-1", address, text, {});
  assert.deepEqual(signed, await amino.signAmino(address, text));
  assert.equal(asProvider(keplr), keplr, "a wallet with the interface of Keplr stays as it is");
});
