// Checks that CosmJS, a client library for Cosmos chains, can read accounts, balances, sequences and blocks from a
// node, can send coins, and can find the result of the transaction.

import assert from "node:assert/strict";
import { Secp256k1Wallet } from "@cosmjs/amino";
import { DirectSecp256k1Wallet } from "@cosmjs/proto-signing";
import { SigningStargateClient, StargateClient, coins } from "@cosmjs/stargate";

/** @import { Coin } from "@cosmjs/stargate" */

/**
 * Returns the wallet of the account whose secret key consists of 32 copies of `byte`.
 * @param {number} byte
 */
export const walletOf = (byte) => DirectSecp256k1Wallet.fromKey(new Uint8Array(32).fill(byte), "remes");

/**
 * Returns the address of the account whose secret key consists of 32 copies of `byte`.
 * @param {number} byte
 */
export const addressOf = async (byte) => (await (await walletOf(byte)).getAccounts())[0].address;

/** A fee that suffices for a transfer, even to an address without an account. */
const FEE = coins(10_000, "uremes");

/**
 * Checks what CosmJS reads about two accounts, and that it can send coins from the first one to the second.
 * @param {string} url the URL of the node
 * @param {string} chain the expected chain ID
 * @param {[number, number]} keys one byte for each account, whose secret key consists of 32 copies of this byte; the
 *   first account has sent no transaction yet, and the second account does not exist yet
 * @param {number} amount the expected balance of the first account in micro-units
 */
export async function checkReadsAndSends(url, chain, [rich, fresh], amount) {
  const [address, other] = [await addressOf(rich), await addressOf(fresh)];
  const reader = await StargateClient.connect(url);
  assert.equal(await reader.getChainId(), chain);
  assert.equal(await reader.getAccount(other), null);

  const balance = { denom: "uremes", amount: String(amount) };
  assert.deepEqual(await reader.getBalance(address, "uremes"), balance);
  assert.deepEqual(await reader.getAllBalances(address), [balance]);
  assert.deepEqual(await reader.getSequence(address), { accountNumber: 0n, sequence: 0 });
  const height = await reader.getHeight();
  assert.ok(height > 4);
  assert.equal((await reader.getBlock(height)).header.height, height);

  const options = { broadcastPollIntervalMs: 100 };
  const signer = await SigningStargateClient.connectWithSigner(url, await walletOf(rich), options);
  /** @type {(sum: number, fee: readonly Coin[]) => ReturnType<typeof signer.sendTokens>} */
  const send = (sum, fee) => signer.sendTokens(address, other, coins(sum, "uremes"), { amount: fee, gas: "200000" });
  const sent = await send(1000, FEE);
  assert.equal(sent.code, 0, sent.rawLog);
  const found = await reader.getTx(sent.transactionHash);
  assert.ok(found);
  assert.deepEqual(
    [found.height, found.code, found.msgResponses[0].typeUrl],
    [sent.height, 0, "/cosmos.bank.v1beta1.MsgSendResponse"],
  );
  assert.equal((await reader.getBalance(other, "uremes")).amount, "1000");
  assert.equal((await reader.getSequence(address)).sequence, 1);
  assert.equal(await reader.getTx("00".repeat(32)), null);
  const failed = await send(amount, FEE);
  assert.equal(failed.code, 5, failed.rawLog);
}

/**
 * Checks that CosmJS can send coins with a wallet that signs transactions only as JSON, as Ledger hardware wallets do.
 * @param {string} url the URL of the node
 * @param {[number, number]} keys one byte for each account, whose secret key consists of 32 copies of this byte; the
 *   first account has coins
 */
export async function checkAminoSends(url, [rich, fresh]) {
  const wallet = await Secp256k1Wallet.fromKey(new Uint8Array(32).fill(rich), "remes");
  assert.ok(!("signDirect" in wallet));
  const [address, other] = [await addressOf(rich), await addressOf(fresh)];
  const client = await SigningStargateClient.connectWithSigner(url, wallet, { broadcastPollIntervalMs: 100 });
  const before = Number((await client.getBalance(other, "uremes")).amount);
  const fee = { amount: FEE, gas: "200000" };
  const sent = await client.sendTokens(address, other, coins(250, "uremes"), fee, 'a memo with <, > and "&"');
  assert.equal(sent.code, 0, sent.rawLog);
  assert.equal(Number((await client.getBalance(other, "uremes")).amount), before + 250);

  // an address in upper case denotes the same account as in lower case
  const upper = await client.sendTokens(address, other.toUpperCase(), coins(50, "uremes"), fee);
  assert.equal(upper.code, 0, upper.rawLog);
  assert.equal(Number((await client.getBalance(other, "uremes")).amount), before + 300);
  assert.equal(Number((await client.getBalance(other.toUpperCase(), "uremes")).amount), before + 300);
}
