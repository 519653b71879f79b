// Prints the hash of a transaction that CosmJS makes and signs: what src/chain/transaction.rs must make too.
// npm install @cosmjs/proto-signing@0.39 @cosmjs/amino@0.39 cosmjs-types; node cosmjs_tx_hash.mjs > cosmjs_tx_hash.txt

import { createHash } from "node:crypto";
import { DirectSecp256k1Wallet, Registry, encodePubkey, makeAuthInfoBytes, makeSignDoc } from "@cosmjs/proto-signing";
import { encodeSecp256k1Pubkey } from "@cosmjs/amino";
import { TxRaw } from "cosmjs-types/cosmos/tx/v1beta1/tx";
import { BinaryWriter } from "cosmjs-types/binary";

const MsgClaimTask = {
  fromPartial: (value) => value,
  encode: ({ miner, poolId, chunkId }, writer = BinaryWriter.create()) =>
    writer.uint32(10).string(miner).uint32(16).uint64(BigInt(poolId)).uint32(24).uint64(BigInt(chunkId)),
  decode: () => {
    throw new Error("only encoded here");
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
