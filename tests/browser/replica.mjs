// Checks that CosmJS works with a replica (a node under CometBFT) that `scripts/interop` started.
//
// Usage: node replica.mjs URL CHAIN AMOUNT, where CHAIN is the chain ID and AMOUNT is the balance of the first account
// in micro-units

import { checkClients } from "./comet.mjs";
import { checkAminoSends, checkReadsAndSends } from "./stargate.mjs";

const [url, chain, amount] = process.argv.slice(2);
await checkReadsAndSends(url, chain, [7, 8], Number(amount));
await checkAminoSends(url, [7, 8]);
await checkClients(url, [7, 8]);
