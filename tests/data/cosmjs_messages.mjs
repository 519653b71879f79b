// Prints the hash of one signed transaction for each message type, encoded by CosmJS and protobufjs from the chain's
// field numbers. The library must produce the same hashes.
//
// npm --prefix tests/browser ci --ignore-scripts
// node tests/data/cosmjs_messages.mjs > tests/data/cosmjs_messages.tsv

import { createHash } from "node:crypto";
import { createRequire } from "node:module";

const require = createRequire(new URL("../browser/package.json", import.meta.url));
const { DirectSecp256k1Wallet, encodePubkey, makeAuthInfoBytes, makeSignDoc } = require("@cosmjs/proto-signing");
const { encodeSecp256k1Pubkey } = require("@cosmjs/amino");
const { Secp256k1, sha256 } = require("@cosmjs/crypto");
const { TxBody, TxRaw } = require("cosmjs-types/cosmos/tx/v1beta1/tx");
const protobuf = require("protobufjs");

const chain = "r3mes-test-1";
const secret = new Uint8Array(32).fill(7);
const wallet = await DirectSecp256k1Wallet.fromKey(secret, "remes");
const [{ address, pubkey }] = await wallet.getAccounts();

const { root } = protobuf.parse(
  `syntax = "proto3";
  package remes.remes.v1;
  message MsgClaimTask { string miner = 1; uint64 poolId = 2; uint64 chunkId = 3; }
  message MsgSubmitGradient {
    string miner = 1; string ipfsHash = 2; string modelVersion = 3; uint64 trainingRoundId = 4; uint64 shardId = 5;
    string gradientHash = 6; string gpuArchitecture = 7; uint64 nonce = 8; bytes signature = 9;
    uint64 proofOfWorkNonce = 10; uint64 modelConfigId = 11; string containerHash = 12; bytes containerSignature = 13;
    uint64 globalSeed = 14; string claimedLoss = 15; string porepProofIpfsHash = 16; uint64 tokenCount = 17;
  }
  message MsgCompleteTask {
    string miner = 1; uint64 poolId = 2; uint64 chunkId = 3; string gradientHash = 4; string gradientIpfsHash = 5;
    string minerGpu = 6;
  }
  message Resources {
    uint32 cpuCores = 1; uint32 memoryGb = 2; uint32 gpuCount = 3; uint32 gpuMemoryGb = 4; uint32 storageGb = 5;
    uint32 networkBandwidthMbps = 6;
  }
  enum Role { NONE = 0; MINING = 1; SERVING = 2; VALIDATOR = 3; PROPOSER = 4; }
  message MsgRegisterNode {
    string nodeAddress = 1; Role nodeType = 2; Resources resources = 3; string stake = 4;
    repeated Role roles = 5; string resourceProofIpfsHash = 7;
  }
  message MsgSubmitCPUVerification {
    string validator = 1; uint64 challengeId = 2; bool isValid = 3; string computedHash = 4; string expectedHash = 5;
    string leaf = 101;
  }
  message MsgCommitAggregation {
    string proposer = 1; string commitmentHash = 2; uint64 trainingRoundId = 3; repeated uint64 gradientIds = 4;
  }
  message MsgSubmitTrapJobResult {
    string miner = 1; string trapJobId = 2; string gradientIpfsHash = 3; string gradientHash = 4;
  }`,
);
protobuf.parse(
  `syntax = "proto3";
  package r3mes.wgpu.v1;
  message MsgSetPayout { string miner = 1; string payout = 2; }
  message MsgCommitAttestation { string verifier = 1; uint64 challengeId = 2; bytes commitment = 3; }
  message MsgRevealBeacon { string validator = 1; uint64 epoch = 2; bytes number = 3; bytes next = 4; }
  message MsgRevealAttestation {
    string verifier = 1; uint64 challengeId = 2; string result = 3; string gradientHash = 4; string leaf = 5;
    bytes salt = 6;
  }
  message MsgRevealAggregation {
    string proposer = 1; uint64 commitmentId = 2; uint64 trainingRoundId = 3; repeated uint64 gradientIds = 4;
    string merkleRoot = 5; string adapter = 6; string layoutRoot = 7; string modelVersion = 8; bytes salt = 9;
  }
  message MsgUnregisterNode { string nodeAddress = 1; }
  message MsgSetConsensusKey { string nodeAddress = 1; bytes key = 2; }
  message MsgWithdraw { string miner = 1; }
  message MsgOpenDispute { string challenger = 1; uint64 storedGradientId = 2; bytes chunk = 3; bytes manifest = 4; }
  message MsgAppeal { string sender = 1; uint64 challengeId = 2; bytes chunk = 3; bytes manifest = 4; }
  message MsgAnswerDispute { string sender = 1; uint64 disputeId = 2; bytes answer = 3; }
  message MsgMoveDispute { string sender = 1; uint64 disputeId = 2; uint64 answer = 3; bytes step = 4; }`,
  root,
);
root.resolveAll(); // before this call protobufjs does not pack repeated proto3 fields

const hash = "ab".repeat(32);
const submission = {
  miner: address,
  ipfsHash: "bafyartifact",
  modelVersion: "bafymodel",
  trainingRoundId: 5,
  shardId: 17,
  gradientHash: hash,
  gpuArchitecture: "cpu",
  nonce: 99,
  proofOfWorkNonce: 12,
  globalSeed: 77,
  claimedLoss: "1.5",
  tokenCount: 2048,
};
const text = `${chain}|${address}|bafyartifact|bafymodel|5|17|${hash}|cpu|99`;
const inner = await Secp256k1.createSignature(sha256(new TextEncoder().encode(text)), secret);
const messages = {
  "remes.remes.v1.MsgClaimTask": { miner: address, poolId: 3, chunkId: 9 },
  "remes.remes.v1.MsgSubmitGradient": { ...submission, signature: inner.toFixedLength().slice(0, 64) },
  "remes.remes.v1.MsgCompleteTask": {
    miner: address,
    poolId: 3,
    chunkId: 9,
    gradientHash: hash,
    gradientIpfsHash: "bafyartifact",
    minerGpu: "cpu",
  },
  "remes.remes.v1.MsgRegisterNode": {
    nodeAddress: address,
    nodeType: 3,
    stake: "1000uremes",
    roles: [1, 4],
    resourceProofIpfsHash: "bafyproof",
    resources: { cpuCores: 2, memoryGb: 24, gpuCount: 1, gpuMemoryGb: 8, storageGb: 100, networkBandwidthMbps: 50 },
  },
  "r3mes.wgpu.v1.MsgRevealBeacon": {
    validator: address,
    epoch: 9,
    number: new Uint8Array(32).fill(7),
    next: new Uint8Array(32).fill(8),
  },
  "r3mes.wgpu.v1.MsgRevealAttestation": {
    verifier: address,
    challengeId: 4,
    result: "match",
    gradientHash: hash,
    leaf: hash,
    salt: new Uint8Array(32).fill(6),
  },
  "remes.remes.v1.MsgSubmitCPUVerification": {
    validator: address,
    challengeId: 4,
    isValid: true,
    computedHash: hash,
    expectedHash: hash,
    leaf: hash,
  },
  "remes.remes.v1.MsgCommitAggregation": {
    proposer: address,
    commitmentHash: hash,
    trainingRoundId: 5,
    gradientIds: [1, 2, 300],
  },
  "r3mes.wgpu.v1.MsgRevealAggregation": {
    proposer: address,
    commitmentId: 8,
    trainingRoundId: 5,
    gradientIds: [1, 2, 300],
    merkleRoot: hash,
    adapter: "bafyadapter",
    layoutRoot: hash,
    modelVersion: "bafymodel",
    salt: new Uint8Array(32).fill(7),
  },
  "r3mes.wgpu.v1.MsgSetPayout": { miner: address, payout: address },
  "r3mes.wgpu.v1.MsgCommitAttestation": { verifier: address, challengeId: 4, commitment: new Uint8Array(32).fill(5) },
  "r3mes.wgpu.v1.MsgUnregisterNode": { nodeAddress: address },
  "r3mes.wgpu.v1.MsgSetConsensusKey": { nodeAddress: address, key: new Uint8Array(32).fill(6) },
  "remes.remes.v1.MsgSubmitTrapJobResult": {
    miner: address,
    trapJobId: "trap-7",
    gradientIpfsHash: "bafyartifact",
    gradientHash: hash,
  },
  "r3mes.wgpu.v1.MsgWithdraw": { miner: address },
  "r3mes.wgpu.v1.MsgOpenDispute": {
    challenger: address,
    storedGradientId: 6,
    chunk: new Uint8Array(8).fill(1),
    manifest: new Uint8Array(9).fill(2),
  },
  "r3mes.wgpu.v1.MsgAppeal": {
    sender: address,
    challengeId: 4,
    chunk: new Uint8Array(8).fill(1),
    manifest: new Uint8Array(9).fill(2),
  },
  "r3mes.wgpu.v1.MsgAnswerDispute": { sender: address, disputeId: 3, answer: new Uint8Array(7).fill(4) },
  "r3mes.wgpu.v1.MsgMoveDispute": { sender: address, disputeId: 3, answer: 1, step: new Uint8Array(6).fill(8) },
};

for (const [name, value] of Object.entries(messages)) {
  const type = root.lookupType(name);
  const message = { typeUrl: `/${name}`, value: type.encode(type.create(value)).finish() };
  const body = TxBody.encode(TxBody.fromPartial({ messages: [message] })).finish();
  const info = makeAuthInfoBytes(
    [{ pubkey: encodePubkey(encodeSecp256k1Pubkey(pubkey)), sequence: 41 }],
    [],
    200_000,
    undefined,
    undefined,
  );
  const { signed, signature } = await wallet.signDirect(address, makeSignDoc(body, info, chain, 0));
  const signatures = [Buffer.from(signature.signature, "base64")];
  const tx = TxRaw.encode({ bodyBytes: signed.bodyBytes, authInfoBytes: signed.authInfoBytes, signatures }).finish();
  console.log(`/${name}\t${createHash("sha256").update(tx).digest("hex").toUpperCase()}`);
}
