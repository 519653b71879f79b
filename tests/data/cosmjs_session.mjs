// Prints what CosmJS produces for a mining session: `grant` prints the hash of the transaction that grants the session,
// `statement` prints the signature of the statement that opens it. The library must produce the same.
//
// npm --prefix tests/browser ci --ignore-scripts
// node tests/data/cosmjs_session.mjs grant > tests/data/cosmjs_grant_hash.txt
// node tests/data/cosmjs_session.mjs statement > tests/data/cosmjs_statement_signature.txt

import { createHash } from "node:crypto";
import { createRequire } from "node:module";

const require = createRequire(new URL("../browser/package.json", import.meta.url));
const { DirectSecp256k1Wallet, encodePubkey, makeAuthInfoBytes, makeSignDoc } = require("@cosmjs/proto-signing");
const { Secp256k1Wallet, encodeSecp256k1Pubkey } = require("@cosmjs/amino");
const { GenericAuthorization } = require("cosmjs-types/cosmos/authz/v1beta1/authz");
const { MsgGrant } = require("cosmjs-types/cosmos/authz/v1beta1/tx");
const { AllowedMsgAllowance, BasicAllowance } = require("cosmjs-types/cosmos/feegrant/v1beta1/feegrant");
const { MsgGrantAllowance } = require("cosmjs-types/cosmos/feegrant/v1beta1/tx");
const { TxBody, TxRaw } = require("cosmjs-types/cosmos/tx/v1beta1/tx");

const secret = new Uint8Array(32).fill(7);
const [{ address: granter, pubkey }] = await (await DirectSecp256k1Wallet.fromKey(secret, "remes")).getAccounts();
const session = await DirectSecp256k1Wallet.fromKey(new Uint8Array(32).fill(8), "remes");
const [{ address: grantee }] = await session.getAccounts();
const expiration = { seconds: 1_800_000_000n, nanos: 0 };
const packAny = (type, typeUrl, value) => ({ typeUrl, value: type.encode(type.fromPartial(value)).finish() });

async function grant() {
  const grants = ["/remes.remes.v1.MsgClaimTask", "/remes.remes.v1.MsgSubmitGradient"].map((msg) => {
    const authorization = packAny(GenericAuthorization, "/cosmos.authz.v1beta1.GenericAuthorization", { msg });
    return packAny(MsgGrant, "/cosmos.authz.v1beta1.MsgGrant", {
      granter,
      grantee,
      grant: { authorization, expiration },
    });
  });
  const basic = packAny(BasicAllowance, "/cosmos.feegrant.v1beta1.BasicAllowance", {
    spendLimit: [{ denom: "uremes", amount: "500000" }],
    expiration,
  });
  const allowance = packAny(AllowedMsgAllowance, "/cosmos.feegrant.v1beta1.AllowedMsgAllowance", {
    allowance: basic,
    allowedMessages: ["/cosmos.authz.v1beta1.MsgExec"],
  });
  const messages = [
    ...grants,
    packAny(MsgGrantAllowance, "/cosmos.feegrant.v1beta1.MsgGrantAllowance", { granter, grantee, allowance }),
  ];
  const body = TxBody.encode(TxBody.fromPartial({ messages })).finish();
  const info = makeAuthInfoBytes(
    [{ pubkey: encodePubkey(encodeSecp256k1Pubkey(pubkey)), sequence: 41 }],
    [],
    200_000,
    undefined,
    undefined,
  );
  const wallet = await DirectSecp256k1Wallet.fromKey(secret, "remes");
  const { signed, signature } = await wallet.signDirect(granter, makeSignDoc(body, info, "r3mes-test-1", 0));
  const tx = TxRaw.encode({
    bodyBytes: signed.bodyBytes,
    authInfoBytes: signed.authInfoBytes,
    signatures: [Buffer.from(signature.signature, "base64")],
  }).finish();
  return createHash("sha256").update(tx).digest("hex").toUpperCase();
}

async function statement() {
  const text =
    `Open an R3MES mining session.\n\nChain: r3mes-test-1\nSession key: ${grantee}\n` +
    "It may claim tasks and submit gradients in my name; rewards are mine.\n" +
    "It may spend on fees, in all: 500000 uremes\nExpires: 2027-01-15T08:00:00Z\nStatement number: 3";
  const wallet = await Secp256k1Wallet.fromKey(secret, "remes");
  const { signature } = await wallet.signAmino(granter, {
    chain_id: "",
    account_number: "0",
    sequence: "0",
    fee: { gas: "0", amount: [] },
    msgs: [{ type: "sign/MsgSignData", value: { signer: granter, data: Buffer.from(text).toString("base64") } }],
    memo: "",
  });
  return Buffer.from(signature.signature, "base64").toString("hex");
}

console.log(await { grant, statement }[process.argv[2]]());
