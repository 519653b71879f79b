// Prints the hash of a MsgClaimTask transaction that CosmJS encodes and signs. The library must produce the same hash.
//
// npm --prefix tests/browser ci --ignore-scripts
// node tests/data/cosmjs_tx_hash.mjs > tests/data/cosmjs_tx_hash.txt

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
const { BinaryWriter } = require("cosmjs-types/binary");

const MsgClaimTask = {
  fromPartial: (value) => value,
  encode: ({ miner, poolId, chunkId }, writer = BinaryWriter.create()) =>
    writer.uint32(10).string(miner).uint32(16).uint64(BigInt(poolId)).uint32(24).uint64(BigInt(chunkId)),
  decode: () => {
    throw new Error("MsgClaimTask is only encoded, never decoded");
  },
};

const wallet = await DirectSecp256k1Wallet.fromKey(new Uint8Array(32).fill(7), "remes");
const [{ address, pubkey }] = await wallet.getAccounts();
const registry = new Registry([["/remes.remes.v1.MsgClaimTask", MsgClaimTask]]);
const body = registry.encodeTxBody({
  messages: [{ typeUrl: "/remes.remes.v1.MsgClaimTask", value: { miner: address, poolId: 3, chunkId: 9 } }],
  memo: "",
});
const info = makeAuthInfoBytes(
  [{ pubkey: encodePubkey(encodeSecp256k1Pubkey(pubkey)), sequence: 41 }],
  [],
  200_000,
  undefined,
  undefined,
);
const { signed, signature } = await wallet.signDirect(address, makeSignDoc(body, info, "r3mes-test-1", 0));
const tx = TxRaw.encode({
  bodyBytes: signed.bodyBytes,
  authInfoBytes: signed.authInfoBytes,
  signatures: [Buffer.from(signature.signature, "base64")],
}).finish();
console.log(createHash("sha256").update(tx).digest("hex").toUpperCase());
