// A web wallet that is built with esbuild. Its key is a signer of CosmJS. The query of the page's URL names
// the node.

import { DirectSecp256k1HdWallet } from "@cosmjs/proto-signing";
import "r3mes-miner";

const miner = document.createElement("r3mes-miner");
miner.setAttribute("node", new URLSearchParams(location.search).get("node") ?? "");
miner.setAttribute("backend", "cpu");
miner.addEventListener("r3mes:reward", ({ detail }) => (document.title = `Earned ${detail.reward}`));
miner.signer = await DirectSecp256k1HdWallet.generate(12, { prefix: "remes" });
document.body.append(miner);
