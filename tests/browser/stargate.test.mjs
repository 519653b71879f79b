// CosmJS against a node, as any Cosmos chain's; `replica.mjs` does the same against one under CometBFT.

import { test } from "node:test";
import { mine, startNode } from "./node.mjs";
import { addressOf, readsAndSends } from "./stargate.mjs";

test("CosmJS connects, reads balance and sequence, broadcasts, and finds its transaction", async (t) => {
  const node = await startNode({ page: "/nowhere" });
  t.after(node.stop);
  await mine(node, await addressOf(7), 2);
  await readsAndSends(node.url, "r3mes-local-1", [7, 8], 2_000_000);
});
