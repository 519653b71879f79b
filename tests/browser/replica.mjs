// Runs CosmJS against a replica under CometBFT, which `scripts/interop` starts: node replica.mjs URL CHAIN AMOUNT

import { checkReadsAndSends } from "./stargate.mjs";

const [url, chain, amount] = process.argv.slice(2);
await checkReadsAndSends(url, chain, [7, 8], Number(amount));
