// Tests that CosmJS works with a node in the same way as with a node of any other Cosmos chain. `replica.mjs` makes the
// same checks with a node under CometBFT.

import { test } from "node:test";
import { checkClients } from "./comet.mjs";
import { mine, startNode } from "./node.mjs";
import { addressOf, checkAminoSends, checkReadsAndSends } from "./stargate.mjs";

test("CosmJS reads, sends, searches, simulates and subscribes", async (t) => {
  const node = await startNode({ page: "/nonexistent" });
  t.after(node.stop);
  await mine(node, await addressOf(7), 2);
  await checkReadsAndSends(node.url, "r3mes-local-1", [7, 8], 2_000_000);
  await checkAminoSends(node.url, [7, 8]);
  await checkClients(node.url, [7, 8]);
});
