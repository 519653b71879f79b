// Prints the hash of a MsgSend transaction that CosmJS encodes and signs. The library must produce the same hash.
//
// npm --prefix tests/browser ci --ignore-scripts
// node tests/data/cosmjs_send_hash.mjs > tests/data/cosmjs_send_hash.txt

import { createHash } from "node:crypto";
import { createRequire } from "node:module";

const require = createRequire(new URL("../browser/package.json", import.meta.url));
const {
  DirectSecp256k1Wallet,
  Registry,
  encodePubkey,
  makeAuthInfoBytes,
  makeSignDoc,
} = require("@cosmjs/proto-signing");
const { encodeSecp256k1Pubkey } = require("@cosmjs/amino");
const { TxRaw } = require("cosmjs-types/cosmos/tx/v1beta1/tx");
const { MsgSend } = require("cosmjs-types/cosmos/bank/v1beta1/tx");

const account = async (byte) => {
  const wallet = await DirectSecp256k1Wallet.fromKey(new Uint8Array(32).fill(byte), "remes");
  return { wallet, ...(await wallet.getAccounts())[0] };
};
const [from, to] = [await account(7), await account(8)];
const typeUrl = "/cosmos.bank.v1beta1.MsgSend";
const value = { fromAddress: from.address, toAddress: to.address, amount: [{ denom: "uremes", amount: "1234567" }] };
const body = new Registry([[typeUrl, MsgSend]]).encodeTxBody({ messages: [{ typeUrl, value }], memo: "" });
const pubkey = encodePubkey(encodeSecp256k1Pubkey(from.pubkey));
const fee = [{ denom: "uremes", amount: "250" }];
const info = makeAuthInfoBytes([{ pubkey, sequence: 3 }], fee, 200_000, undefined, undefined);
const { signed, signature } = await from.wallet.signDirect(from.address, makeSignDoc(body, info, "r3mes-test-1", 0));
const tx = TxRaw.encode({
  bodyBytes: signed.bodyBytes,
  authInfoBytes: signed.authInfoBytes,
  signatures: [Buffer.from(signature.signature, "base64")],
}).finish();
console.log(createHash("sha256").update(tx).digest("hex").toUpperCase());
