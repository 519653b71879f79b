// An app of webpack without a framework. The query of the page's URL names the node, and the address
// that is paid.

import "r3mes-miner";

const asked = new URLSearchParams(location.search);
const miner = document.createElement("r3mes-miner");
for (const name of ["node", "address"]) miner.setAttribute(name, asked.get(name) ?? "");
miner.setAttribute("backend", "cpu");
miner.addEventListener("r3mes:reward", ({ detail }) => (document.title = `Earned ${detail.reward}`));
document.body.append(miner);
