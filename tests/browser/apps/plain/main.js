// The script of a page without a bundler. The query of the page's URL names the node, and the address that is paid.

const asked = new URLSearchParams(location.search);
const miner = document.querySelector("r3mes-miner");
for (const name of ["node", "address"]) miner?.setAttribute(name, asked.get(name) ?? "");
addEventListener("r3mes:reward", ({ detail }) => (document.title = `Earned ${detail.reward}`));
