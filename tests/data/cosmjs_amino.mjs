// Prints, for at least one message of each type, the message, and the bytes and the signature that CosmJS makes if a
// wallet signs a transaction with the message in the mode SIGN_MODE_LEGACY_AMINO_JSON. The library must accept exactly
// these transactions and must produce the same bytes. The columns of a row are: the type URL, the bytes that are signed
// (JSON), the SHA-256 hash of the transaction, and the transaction in base64.
//
// CosmJS has the amino form of MsgSend. For the other messages of the Cosmos SDK, this script writes the form that
// x/tx/signing/aminojson of the SDK makes; for the messages of this chain, it follows the same rules.
//
// npm --prefix tests/browser ci --ignore-scripts
// node tests/data/cosmjs_amino.mjs > tests/data/cosmjs_amino.tsv

import { createHash } from "node:crypto";
import { createRequire } from "node:module";

const require = createRequire(new URL("../browser/package.json", import.meta.url));
const { Secp256k1Wallet, encodeSecp256k1Pubkey, makeSignDoc, serializeSignDoc } = require("@cosmjs/amino");
const { Registry, encodePubkey, makeAuthInfoBytes } = require("@cosmjs/proto-signing");
const { AminoTypes, createBankAminoConverters, defaultRegistryTypes } = require("@cosmjs/stargate");
const { Secp256k1, sha256 } = require("@cosmjs/crypto");
const { SignMode } = require("cosmjs-types/cosmos/tx/signing/v1beta1/signing");
const { GenericAuthorization } = require("cosmjs-types/cosmos/authz/v1beta1/authz");
const { AllowedMsgAllowance, BasicAllowance } = require("cosmjs-types/cosmos/feegrant/v1beta1/feegrant");
const { TxRaw } = require("cosmjs-types/cosmos/tx/v1beta1/tx");
const protobuf = require("protobufjs");

const chain = "r3mes-test-1";
const secret = new Uint8Array(32).fill(7);
const wallet = await Secp256k1Wallet.fromKey(secret, "remes");
const [{ address, pubkey }] = await wallet.getAccounts();
const [{ address: other, pubkey: otherKey }] = await (
  await Secp256k1Wallet.fromKey(new Uint8Array(32).fill(8), "remes")
).getAccounts();

// The fields of this chain's messages, as they are in `src/tx/messages.rs`.
const OWN = {
  "remes.remes.v1": {
    MsgClaimTask: "string miner = 1; uint64 pool_id = 2; uint64 chunk_id = 3;",
    MsgSubmitGradient: `string miner = 1; string ipfs_hash = 2; string model_version = 3;
      uint64 training_round_id = 4; uint64 shard_id = 5; string gradient_hash = 6; string gpu_architecture = 7;
      uint64 nonce = 8; bytes signature = 9; uint64 proof_of_work_nonce = 10; uint64 model_config_id = 11;
      string container_hash = 12; bytes container_signature = 13; uint64 global_seed = 14; string claimed_loss = 15;
      string porep_proof_ipfs_hash = 16; uint64 token_count = 17;`,
    MsgCompleteTask: `string miner = 1; uint64 pool_id = 2; uint64 chunk_id = 3; string gradient_hash = 4;
      string gradient_ipfs_hash = 5; string miner_gpu = 6;`,
    NodeResources: `uint32 cpu_cores = 1; uint32 memory_gb = 2; uint32 gpu_count = 3; uint32 gpu_memory_gb = 4;
      uint32 storage_gb = 5; uint32 network_bandwidth_mbps = 6;`,
    MsgRegisterNode: `string node_address = 1; int32 node_type = 2; NodeResources resources = 3; string stake = 4;
      repeated int32 roles = 5; string resource_proof_ipfs_hash = 7;`,
    MsgSubmitCPUVerification: `string validator = 1; uint64 challenge_id = 2; bool is_valid = 3;
      string computed_hash = 4; string expected_hash = 5; string leaf = 101;`,
    MsgCommitAggregation: `string proposer = 1; string commitment_hash = 2; uint64 training_round_id = 3;
      repeated uint64 gradient_ids = 4;`,
    MsgSubmitTrapJobResult: `string miner = 1; string trap_job_id = 2; string gradient_ipfs_hash = 3;
      string gradient_hash = 4;`,
  },
  "r3mes.wgpu.v1": {
    MsgSetPayout: "string miner = 1; string payout = 2;",
    MsgCommitAttestation: "string verifier = 1; uint64 challenge_id = 2; bytes commitment = 3;",
    MsgRevealBeacon: "string validator = 1; uint64 epoch = 2; bytes number = 3; bytes next = 4;",
    MsgRevealAttestation: `string verifier = 1; uint64 challenge_id = 2; string result = 3; string gradient_hash = 4;
      string leaf = 5; bytes salt = 6;`,
    MsgRevealAggregation: `string proposer = 1; uint64 commitment_id = 2; uint64 training_round_id = 3;
      repeated uint64 gradient_ids = 4; string merkle_root = 5; string adapter = 6; string layout_root = 7;
      string model_version = 8; bytes salt = 9;`,
    MsgUnregisterNode: "string node_address = 1;",
    MsgSetConsensusKey: "string node_address = 1; bytes key = 2;",
    MsgWithdraw: "string miner = 1;",
    MsgOpenDispute: "string challenger = 1; uint64 stored_gradient_id = 2; bytes chunk = 3; bytes manifest = 4;",
    MsgAppeal: "string sender = 1; uint64 challenge_id = 2; bytes chunk = 3; bytes manifest = 4;",
    MsgAnswerDispute: "string sender = 1; uint64 dispute_id = 2; bytes answer = 3;",
    MsgMoveDispute: "string sender = 1; uint64 dispute_id = 2; uint64 answer = 3; bytes step = 4;",
    MsgOpenSession: `string grantee = 1; bytes pub_key = 2; uint64 expiration = 3; uint64 cap = 4; uint64 number = 5;
      bytes signature = 6;`,
    MsgCloseSession:
      "string sender = 1; string grantee = 2; bytes pub_key = 3; uint64 number = 4; bytes signature = 5;",
  },
};
/** The first part of the amino names of the messages in each package. */
const AMINO = { "remes.remes.v1": "remes", "r3mes.wgpu.v1": "r3mes-wgpu" };

const root = new protobuf.Root();
for (const [name, messages] of Object.entries(OWN)) {
  const declarations = Object.entries(messages).map(([message, fields]) => `message ${message} { ${fields} }`);
  protobuf.parse(`syntax = "proto3"; package ${name}; ${declarations.join(" ")}`, root, { keepCase: true });
}
root.resolveAll(); // before this call protobufjs does not pack repeated proto3 fields

/** Returns the amino form of a field, or `undefined` if the field has its default value, which amino omits. */
function fieldToAmino(field, value) {
  if (value === undefined || value === 0 || value === "" || value === false || value.length === 0) return undefined;
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  if (field.resolvedType) return messageToAmino(field.resolvedType, value);
  const scalar = (one) => (field.type === "uint64" ? String(one) : one);
  return Array.isArray(value) ? value.map(scalar) : scalar(value);
}
function messageToAmino(type, value) {
  const fields = type.fieldsArray.map((field) => [field.name, fieldToAmino(field, value[field.name])]);
  return Object.fromEntries(fields.filter(([, value]) => value !== undefined));
}

/** Formats a time as Go's RFC3339Nano does, without zeros at the end of the fraction. */
function rfc3339({ seconds, nanos }) {
  const date = new Date(Number(seconds) * 1000).toISOString().slice(0, 19);
  const fraction = nanos ? `.${String(nanos).padStart(9, "0").replace(/0+$/, "")}` : "";
  return `${date}${fraction}Z`;
}
const pack = (type, typeUrl, value) => ({ typeUrl, value: type.encode(type.fromPartial(value)).finish() });
const registry = new Registry(defaultRegistryTypes);
const converters = {
  ...createBankAminoConverters(),
  "/cosmos.authz.v1beta1.MsgGrant": {
    aminoType: "cosmos-sdk/MsgGrant",
    toAmino: ({ granter, grantee, grant: { authorization, expiration } }) => ({
      granter,
      grantee,
      grant: {
        authorization: {
          type: "cosmos-sdk/GenericAuthorization",
          value: { msg: GenericAuthorization.decode(authorization.value).msg },
        },
        expiration: rfc3339(expiration),
      },
    }),
  },
  "/cosmos.authz.v1beta1.MsgRevoke": {
    aminoType: "cosmos-sdk/MsgRevoke",
    toAmino: ({ granter, grantee, msgTypeUrl }) => ({ granter, grantee, msg_type_url: msgTypeUrl }),
  },
  "/cosmos.authz.v1beta1.MsgExec": {
    aminoType: "cosmos-sdk/MsgExec",
    toAmino: ({ grantee, msgs }) => ({
      grantee,
      msgs: msgs.map(({ typeUrl, value }) =>
        aminoTypes.toAmino({ typeUrl, value: registry.decode({ typeUrl, value }) }),
      ),
    }),
  },
  "/cosmos.feegrant.v1beta1.MsgGrantAllowance": {
    aminoType: "cosmos-sdk/MsgGrantAllowance",
    toAmino: ({ granter, grantee, allowance }) => {
      const { allowance: basic, allowedMessages } = AllowedMsgAllowance.decode(allowance.value);
      const { spendLimit, expiration } = BasicAllowance.decode(basic.value);
      return {
        granter,
        grantee,
        allowance: {
          type: "cosmos-sdk/AllowedMsgAllowance",
          value: {
            allowance: {
              type: "cosmos-sdk/BasicAllowance",
              value: { spend_limit: [...spendLimit], expiration: rfc3339(expiration) },
            },
            allowed_messages: allowedMessages,
          },
        },
      };
    },
  },
  "/cosmos.feegrant.v1beta1.MsgRevokeAllowance": {
    aminoType: "cosmos-sdk/MsgRevokeAllowance",
    toAmino: ({ granter, grantee }) => ({ granter, grantee }),
  },
};
for (const [name, messages] of Object.entries(OWN)) {
  for (const message of Object.keys(messages)) {
    const type = root.lookupType(`${name}.${message}`);
    const aminoType = `${AMINO[name]}/${message}`;
    if (aminoType.length > 39) throw new Error(`a Ledger device shows names of at most 39 characters: ${aminoType}`);
    converters[`/${name}.${message}`] = { aminoType, toAmino: (value) => messageToAmino(type, value) };
    registry.register(`/${name}.${message}`, {
      // protobufjs writes fields with default values if they are given
      encode: (value) => type.encode(type.create(Object.fromEntries(Object.entries(value).filter(([, one]) => one)))),
      decode: (bytes) => type.toObject(type.decode(bytes), { longs: Number }),
      fromPartial: (value) => value,
    });
  }
}
const aminoTypes = new AminoTypes(converters);

const hash = "ab".repeat(32);
const bytes = (length, byte) => new Uint8Array(length).fill(byte);
const sign = async (key, text) =>
  (await Secp256k1.createSignature(sha256(new TextEncoder().encode(text)), key)).toFixedLength().slice(0, 64);
const submission = {
  miner: address,
  ipfs_hash: "bafyartifact",
  model_version: "bafymodel",
  training_round_id: 5,
  shard_id: 17,
  gradient_hash: hash,
  gpu_architecture: '<cpu> & "gpu" \\ \u001f\u00e9\u{1f600}\n',
  nonce: 99,
  proof_of_work_nonce: 12,
  global_seed: Number.MAX_SAFE_INTEGER,
  claimed_loss: "1.5",
  token_count: 2048,
};
const text = (miner) => `${chain}|${miner}|bafyartifact|bafymodel|5|17|${hash}|${submission.gpu_architecture}|99`;
const own = { ...submission, signature: await sign(secret, text(address)) };
const forOther = { ...submission, miner: other, signature: await sign(secret, text(other)) };
const expiration = { seconds: 1_800_000_000n, nanos: 0 };
const coins = [{ denom: "uremes", amount: "500000" }];

/** Returns the ADR-36 signature of a text by the account `other`. */
async function statement(text) {
  const signer = await Secp256k1Wallet.fromKey(new Uint8Array(32).fill(8), "remes");
  const { signature } = await signer.signAmino(other, {
    chain_id: "",
    account_number: "0",
    sequence: "0",
    fee: { gas: "0", amount: [] },
    msgs: [{ type: "sign/MsgSignData", value: { signer: other, data: Buffer.from(text).toString("base64") } }],
    memo: "",
  });
  return Uint8Array.from(Buffer.from(signature.signature, "base64"));
}
const opening =
  `Open an R3MES mining session.\n\nChain: ${chain}\nSession key: ${address}\n` +
  "It may claim tasks and submit gradients in my name; rewards are mine.\n" +
  "It may spend on fees, in all: 500000 uremes\nExpires: 2027-01-15T08:00:00Z\nStatement number: 3";
const closing = `Close an R3MES mining session.\n\nChain: ${chain}\nSession key: ${address}\nStatement number: 4`;

const grant = (msg, expiration) => ({
  granter: address,
  grantee: other,
  grant: {
    authorization: pack(GenericAuthorization, "/cosmos.authz.v1beta1.GenericAuthorization", { msg }),
    expiration,
  },
});
const allowance = pack(AllowedMsgAllowance, "/cosmos.feegrant.v1beta1.AllowedMsgAllowance", {
  allowance: pack(BasicAllowance, "/cosmos.feegrant.v1beta1.BasicAllowance", { spendLimit: coins, expiration }),
  allowedMessages: ["/cosmos.authz.v1beta1.MsgExec"],
});
const inExec = (name, value) => ({ typeUrl: name, value: registry.encode({ typeUrl: name, value }) });

const free = { amount: [], gas: "200000" };
const paid = { amount: [{ denom: "uremes", amount: "250" }], gas: "200000" };
/** The transactions: the type URLs and values of the messages, the fee, the memo, and the timeout height. */
const rows = [
  [[["/cosmos.bank.v1beta1.MsgSend", { fromAddress: address, toAddress: other, amount: coins }]], paid, "", undefined],
  [
    [["/cosmos.bank.v1beta1.MsgSend", { fromAddress: address.toUpperCase(), toAddress: other, amount: coins }]],
    { ...paid, granter: other, payer: address },
    'a <memo> & "more" \\ \u0007\u2028é\n',
    12n,
  ],
  [[["/cosmos.authz.v1beta1.MsgGrant", grant("/remes.remes.v1.MsgClaimTask", expiration)]], free, "", undefined],
  [
    [["/cosmos.authz.v1beta1.MsgGrant", grant("/remes.remes.v1.MsgSubmitGradient", { ...expiration, nanos: 120_000 })]],
    free,
    "",
    undefined,
  ],
  [
    [
      [
        "/cosmos.authz.v1beta1.MsgRevoke",
        { granter: address, grantee: other, msgTypeUrl: "/remes.remes.v1.MsgClaimTask" },
      ],
      ["/cosmos.feegrant.v1beta1.MsgRevokeAllowance", { granter: address, grantee: other }],
      ["/cosmos.feegrant.v1beta1.MsgGrantAllowance", { granter: address, grantee: other, allowance }],
    ],
    paid,
    "",
    undefined,
  ],
  [
    [
      [
        "/cosmos.authz.v1beta1.MsgExec",
        {
          grantee: address,
          msgs: [
            inExec("/remes.remes.v1.MsgClaimTask", { miner: other, pool_id: 0, chunk_id: 9 }),
            inExec("/remes.remes.v1.MsgSubmitGradient", forOther),
          ],
        },
      ],
    ],
    { ...paid, granter: other },
    "",
    undefined,
  ],
  ...Object.entries({
    "remes.remes.v1.MsgClaimTask": { miner: address, pool_id: 0, chunk_id: 9 },
    "remes.remes.v1.MsgSubmitGradient": own,
    "remes.remes.v1.MsgCompleteTask": {
      miner: address,
      pool_id: 3,
      chunk_id: 9,
      gradient_hash: hash,
      gradient_ipfs_hash: "bafyartifact",
      miner_gpu: "cpu",
    },
    "remes.remes.v1.MsgRegisterNode": {
      node_address: address,
      node_type: 3,
      stake: "1000uremes",
      roles: [1, 4],
      resource_proof_ipfs_hash: "bafyproof",
      resources: { cpu_cores: 2, memory_gb: 24, gpu_memory_gb: 8, storage_gb: 100 },
    },
    "remes.remes.v1.MsgSubmitCPUVerification": {
      validator: address,
      challenge_id: 4,
      is_valid: true,
      computed_hash: hash,
      expected_hash: hash,
      leaf: hash,
    },
    "remes.remes.v1.MsgCommitAggregation": {
      proposer: address,
      commitment_hash: hash,
      training_round_id: 5,
      gradient_ids: [1, 2, 300],
    },
    "remes.remes.v1.MsgSubmitTrapJobResult": {
      miner: address,
      trap_job_id: "trap-7",
      gradient_ipfs_hash: "bafyartifact",
      gradient_hash: hash,
    },
    "r3mes.wgpu.v1.MsgSetPayout": { miner: address, payout: other },
    "r3mes.wgpu.v1.MsgCommitAttestation": { verifier: address, challenge_id: 4, commitment: bytes(32, 5) },
    "r3mes.wgpu.v1.MsgRevealBeacon": { validator: address, epoch: 9, number: bytes(32, 7), next: bytes(32, 8) },
    "r3mes.wgpu.v1.MsgRevealAttestation": {
      verifier: address,
      challenge_id: 4,
      result: "match",
      gradient_hash: hash,
      leaf: "",
      salt: bytes(32, 6),
    },
    "r3mes.wgpu.v1.MsgRevealAggregation": {
      proposer: address,
      commitment_id: 8,
      training_round_id: 5,
      gradient_ids: [1, 2, 300],
      merkle_root: hash,
      adapter: "bafyadapter",
      layout_root: hash,
      model_version: "bafymodel",
      salt: bytes(32, 7),
    },
    "r3mes.wgpu.v1.MsgUnregisterNode": { node_address: address },
    "r3mes.wgpu.v1.MsgSetConsensusKey": { node_address: address, key: new Uint8Array(32).fill(6) },
    "r3mes.wgpu.v1.MsgWithdraw": { miner: address },
    "r3mes.wgpu.v1.MsgOpenDispute": {
      challenger: address,
      stored_gradient_id: 6,
      chunk: bytes(8, 1),
      manifest: bytes(9, 2),
    },
    "r3mes.wgpu.v1.MsgAppeal": { sender: address, challenge_id: 4, chunk: bytes(8, 1), manifest: bytes(9, 2) },
    "r3mes.wgpu.v1.MsgAnswerDispute": { sender: address, dispute_id: 3, answer: bytes(7, 4) },
    "r3mes.wgpu.v1.MsgMoveDispute": { sender: address, dispute_id: 3, answer: 0, step: bytes(6, 8) },
    "r3mes.wgpu.v1.MsgOpenSession": {
      grantee: address,
      pub_key: otherKey,
      expiration: 1_800_000_000,
      cap: 500_000,
      number: 3,
      signature: await statement(opening),
    },
    "r3mes.wgpu.v1.MsgCloseSession": {
      sender: address,
      grantee: address,
      pub_key: otherKey,
      number: 4,
      signature: await statement(closing),
    },
  }).map(([name, value]) => [[[`/${name}`, value]], free, "", undefined]),
];

for (const [messages, fee, memo, timeoutHeight] of rows) {
  const objects = messages.map(([typeUrl, value]) => ({ typeUrl, value }));
  const amino = objects.map((object) => aminoTypes.toAmino(object));
  const doc = makeSignDoc(amino, fee, chain, memo, 0, 41, timeoutHeight);
  const { signature } = await wallet.signAmino(address, doc);
  const bodyBytes = registry.encodeTxBody({ messages: objects, memo, timeoutHeight });
  const authInfoBytes = makeAuthInfoBytes(
    [{ pubkey: encodePubkey(encodeSecp256k1Pubkey(pubkey)), sequence: 41 }],
    fee.amount,
    Number(fee.gas),
    fee.granter,
    fee.payer,
    SignMode.SIGN_MODE_LEGACY_AMINO_JSON,
  );
  const signatures = [Buffer.from(signature.signature, "base64")];
  const tx = TxRaw.encode({ bodyBytes, authInfoBytes, signatures }).finish();
  const digest = createHash("sha256").update(tx).digest("hex").toUpperCase();
  const columns = [
    messages.map(([typeUrl]) => typeUrl).join(","),
    Buffer.from(serializeSignDoc(doc)).toString(),
    digest,
    Buffer.from(tx).toString("base64"),
  ];
  console.log(columns.join("\t"));
}
