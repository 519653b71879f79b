// Prints the hash of a MsgSend that CosmJS makes and signs: what src/chain/transfer.rs must make too.
// npm ci --ignore-scripts, in tests/browser; node ../data/cosmjs_send_hash.mjs > ../data/cosmjs_send_hash.txt

import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const required = createRequire(pathToFileURL(`${process.cwd()}/package.json`));
const { DirectSecp256k1Wallet, Registry, encodePubkey, makeAuthInfoBytes, makeSignDoc } =
  required("@cosmjs/proto-signing");
const { encodeSecp256k1Pubkey } = required("@cosmjs/amino");
const { TxRaw } = required("cosmjs-types/cosmos/tx/v1beta1/tx");
const { MsgSend } = required("cosmjs-types/cosmos/bank/v1beta1/tx");

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
