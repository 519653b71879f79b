// CosmJS against a replica under CometBFT, which scripts/interop starts: `node replica.mjs URL CHAIN AMOUNT`.

import { readsAndSends } from "./stargate.mjs";

const [url, chain, amount] = process.argv.slice(2);
await readsAndSends(url, chain, [7, 8], Number(amount));
