// CosmJS's StargateClient against a node, as any Cosmos chain's.

import assert from "node:assert/strict";
import { test } from "node:test";
import { DirectSecp256k1Wallet } from "@cosmjs/proto-signing";
import { SigningStargateClient, StargateClient, coins } from "@cosmjs/stargate";
import { mine, startNode } from "./node.mjs";

test("CosmJS connects, reads balance and sequence, broadcasts, and finds its transaction", async (t) => {
  const node = await startNode({ page: "/nowhere" });
  t.after(node.stop);
  const wallet = await DirectSecp256k1Wallet.fromKey(new Uint8Array(32).fill(7), "remes");
  const [{ address }] = await wallet.getAccounts();
  const [{ address: other }] = await (await DirectSecp256k1Wallet.fromKey(new Uint8Array(32).fill(8), "remes")).getAccounts();
  const reader = await StargateClient.connect(node.url);
  assert.equal(await reader.getChainId(), "r3mes-local-1");
  assert.equal(await reader.getAccount(other), null);

  await mine(node, address, 2);
  assert.deepEqual(await reader.getBalance(address, "uremes"), { denom: "uremes", amount: "2000000" });
  assert.deepEqual(await reader.getAllBalances(address), [{ denom: "uremes", amount: "2000000" }]);
  assert.deepEqual(await reader.getSequence(address), { accountNumber: 0n, sequence: 0 });
  const height = await reader.getHeight();
  assert.ok(height > 4);
  assert.equal((await reader.getBlock(height)).header.height, height);

  const signer = await SigningStargateClient.connectWithSigner(node.url, wallet, { broadcastPollIntervalMs: 100 });
  const sent = await signer.sendTokens(address, other, coins(1000, "uremes"), { amount: coins(5, "uremes"), gas: "200000" });
  assert.equal(sent.code, 0, sent.rawLog);
  const found = await reader.getTx(sent.transactionHash);
  assert.deepEqual([found.height, found.code, found.msgResponses[0].typeUrl], [sent.height, 0, "/cosmos.bank.v1beta1.MsgSendResponse"]);
  assert.equal((await reader.getBalance(other, "uremes")).amount, "1000");
  assert.equal((await reader.getSequence(address)).sequence, 1);
  assert.equal(await reader.getTx("00".repeat(32)), null);
  const gone = await signer.sendTokens(address, other, coins(5_000_000, "uremes"), { amount: [], gas: "200000" });
  assert.equal(gone.code, 5, gone.rawLog);
});
