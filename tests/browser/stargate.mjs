// What CosmJS's StargateClient asks of any chain: an account's coins and sequence, a transfer, and the transaction again.

import assert from "node:assert/strict";
import { DirectSecp256k1Wallet } from "@cosmjs/proto-signing";
import { SigningStargateClient, StargateClient, coins } from "@cosmjs/stargate";

const wallet = (byte) => DirectSecp256k1Wallet.fromKey(new Uint8Array(32).fill(byte), "remes");
export const addressOf = async (byte) => (await (await wallet(byte)).getAccounts())[0].address;

/** Of two accounts, by the bytes of their keys, the first owns so many micro-units and never sent any; the second is new. */
export async function readsAndSends(url, chain, [rich, fresh], amount) {
  const [address, other] = [await addressOf(rich), await addressOf(fresh)];
  const reader = await StargateClient.connect(url);
  assert.equal(await reader.getChainId(), chain);
  assert.equal(await reader.getAccount(other), null);

  const held = { denom: "uremes", amount: String(amount) };
  assert.deepEqual(await reader.getBalance(address, "uremes"), held);
  assert.deepEqual(await reader.getAllBalances(address), [held]);
  assert.deepEqual(await reader.getSequence(address), { accountNumber: 0n, sequence: 0 });
  const height = await reader.getHeight();
  assert.ok(height > 4);
  assert.equal((await reader.getBlock(height)).header.height, height);

  const signer = await SigningStargateClient.connectWithSigner(url, await wallet(rich), {
    broadcastPollIntervalMs: 100,
  });
  const send = (sum, fee) => signer.sendTokens(address, other, coins(sum, "uremes"), { amount: fee, gas: "200000" });
  const sent = await send(1000, coins(5, "uremes"));
  assert.equal(sent.code, 0, sent.rawLog);
  const found = await reader.getTx(sent.transactionHash);
  assert.deepEqual(
    [found.height, found.code, found.msgResponses[0].typeUrl],
    [sent.height, 0, "/cosmos.bank.v1beta1.MsgSendResponse"],
  );
  assert.equal((await reader.getBalance(other, "uremes")).amount, "1000");
  assert.equal((await reader.getSequence(address)).sequence, 1);
  assert.equal(await reader.getTx("00".repeat(32)), null);
  const gone = await send(amount, []);
  assert.equal(gone.code, 5, gone.rawLog);
}
