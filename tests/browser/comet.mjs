// Checks that CosmJS can send batches of calls to a node, find transactions by their events, pay fees that it has
// computed from a simulation, and subscribe to blocks and transactions.

import assert from "node:assert/strict";
import { GasPrice, SigningStargateClient, StargateClient, coins } from "@cosmjs/stargate";
import { Comet38Client, HttpBatchClient, WebsocketClient } from "@cosmjs/tendermint-rpc";
import { addressOf, walletOf } from "./stargate.mjs";

/** The delay between two attempts to find a transaction. CometBFT indexes a transaction shortly after its block. */
const POLL_MS = 100;
const POLLS = 100;

/**
 * Checks that CosmJS can send batches of calls, pay a fee that it has computed from a simulation, find transactions,
 * and subscribe to events.
 * @param {string} url the URL of the node
 * @param {[number, number]} keys one byte for each account, whose secret key consists of 32 copies of this byte; the
 *   first account has coins and has already sent some to the second account
 */
export async function checkClients(url, [rich, other]) {
  await checkBatches(url);
  const height = await checkSimulation(url, [rich, other]);
  await checkSearch(url, [rich, other], height);
  await checkSubscriptions(url, [rich, other]);
}

/** @param {string} url the URL of the node */
async function checkBatches(url) {
  const rpc = new HttpBatchClient(url, { dispatchInterval: 20, batchSizeLimit: 20 });
  const comet = Comet38Client.create(rpc);
  const latest = (await comet.status()).syncInfo.latestBlockHeight;
  const heights = Array.from({ length: 25 }, (_, i) => latest - (i % 3));
  const [status, missing, ...blocks] = await Promise.all([
    comet.status(),
    comet.block(2 ** 40).catch(String),
    ...heights.map((height) => comet.block(height)),
  ]);
  assert.ok(status.syncInfo.latestBlockHeight > 3);
  assert.match(String(missing), /height/);
  assert.deepEqual(
    blocks.map(({ block }) => block.header.height),
    heights,
  );
  comet.disconnect();
}

/**
 * Sends coins with a fee that CosmJS computes from a simulation and the node's gas price. Returns the height of the
 * block that contains the transaction.
 * @param {string} url the URL of the node
 * @param {[number, number]} keys one byte for each account, whose secret key consists of 32 copies of this byte
 */
async function checkSimulation(url, [rich, other]) {
  const config = await (await fetch(`${url}/cosmos/base/node/v1beta1/config`)).json();
  const gasPrice = GasPrice.fromString(config.minimum_gas_price);
  const options = { gasPrice, broadcastPollIntervalMs: POLL_MS };
  const client = await SigningStargateClient.connectWithSigner(url, await walletOf(rich), options);
  const [fromAddress, toAddress] = [await addressOf(rich), await addressOf(other)];
  /** @param {number} amount */
  const transfer = (amount) => [
    {
      typeUrl: "/cosmos.bank.v1beta1.MsgSend",
      value: { fromAddress, toAddress, amount: coins(amount, "uremes") },
    },
  ];
  assert.ok((await client.simulate(fromAddress, transfer(7), "")) > 0);
  await assert.rejects(client.simulate(fromAddress, transfer(1e15), ""), /insufficient funds/);
  const sent = await client.signAndBroadcast(fromAddress, transfer(7), "auto");
  assert.equal(sent.code, 0, sent.rawLog);
  client.disconnect();
  return sent.height;
}

/**
 * Checks that CosmJS finds a transfer from the first account to the second one if it searches for the sender, the
 * recipient or the block height.
 * @param {string} url the URL of the node
 * @param {[number, number]} keys one byte for each account, whose secret key consists of 32 copies of this byte
 * @param {number} height the height of a block that contains a transfer of the first account
 */
async function checkSearch(url, [rich, other], height) {
  const [from, to] = [await addressOf(rich), await addressOf(other)];
  const client = await StargateClient.connect(url);
  /** @param {Parameters<typeof client.searchTx>[0]} query */
  const search = async (query) => {
    for (let poll = 0; poll < POLLS; poll++) {
      const found = await client.searchTx(query);
      if (found.length > 0) return found;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    throw new Error(`no transaction matches ${JSON.stringify(query)}`);
  };
  const sender = { key: "message.sender", value: from };
  const [found] = await search([sender, { key: "tx.height", value: height }]);
  assert.deepEqual([found.height, found.code], [height, 0]);
  const events = found.events.map(({ type }) => type);
  assert.ok(events.join().endsWith("message,coin_spent,coin_received,transfer,message"), events.join());
  const transfer = found.events.find(({ type }) => type === "transfer");
  assert.deepEqual(
    transfer?.attributes.map(({ key, value }) => [key, value]),
    [
      ["recipient", to],
      ["sender", from],
      ["amount", "7uremes"],
      ["msg_index", "0"],
    ],
  );
  const all = await search([sender]);
  assert.ok(all.length > 1 && all.some(({ hash }) => hash === found.hash));
  const received = await search(`transfer.recipient='${to}' AND tx.height>=${height}`);
  assert.deepEqual(
    received.map(({ hash }) => hash),
    [found.hash],
  );
  assert.deepEqual(await client.searchTx([{ key: "message.sender", value: "remes1nobody" }]), []);
  client.disconnect();
}

/**
 * Checks that CosmJS can subscribe to new blocks, and to the transfers that the first account sends.
 * @param {string} url the URL of the node
 * @param {[number, number]} keys one byte for each account, whose secret key consists of 32 copies of this byte
 */
async function checkSubscriptions(url, [rich, other]) {
  const rpc = new WebsocketClient(url.replace("http", "ws"));
  const comet = Comet38Client.create(rpc);
  const [from, to] = [await addressOf(rich), await addressOf(other)];
  assert.ok((await comet.status()).nodeInfo.network);
  /**
   * Returns the first event of a stream.
   * @template T
   * @param {{ addListener: (listener: { next: (event: T) => void, error: (error: unknown) => void }) => void }} stream
   * @returns {Promise<T>}
   */
  const first = (stream) => new Promise((next, error) => stream.addListener({ next, error }));
  const block = first(comet.subscribeNewBlock());
  const header = first(comet.subscribeNewBlockHeader());
  const tx = first(comet.subscribeTx(`transfer.sender='${from}'`));
  // calls are answered in the order in which they were sent, so the subscriptions exist after the answer to this call
  await comet.health();

  const signer = await SigningStargateClient.connectWithSigner(url, await walletOf(rich), {
    broadcastPollIntervalMs: POLL_MS,
  });
  const fee = { amount: coins(10_000, "uremes"), gas: "200000" };
  const sent = await signer.sendTokens(from, to, coins(9, "uremes"), fee);
  assert.equal(sent.code, 0, sent.rawLog);
  const { height, hash, result } = await tx;
  assert.deepEqual([height, Buffer.from(hash).toString("hex").toUpperCase()], [sent.height, sent.transactionHash]);
  assert.equal(result.code, 0);
  assert.ok((await block).header.height <= sent.height);
  assert.ok((await header).height <= sent.height);
  signer.disconnect();
  comet.disconnect();
  // CosmJS has just started a timer that would connect again, and would keep this process running
  clearTimeout(/** @type {any} */ (rpc).socket.reconnectTimeout);
}
