// The script of a page without a bundler. The address of the page states the node and who is paid.

const asked = new URLSearchParams(location.search);
const miner = document.querySelector("r3mes-miner");
for (const name of ["node", "address"]) miner?.setAttribute(name, asked.get(name) ?? "");
addEventListener("r3mes:reward", ({ detail }) => (document.title = `Earned ${detail.reward}`));
