// An app of Vite and React. The query of the page's URL names the node, and the address
// that is paid.

import { useState } from "react";
import { createRoot } from "react-dom/client";
import { Miner } from "r3mes-miner/react";

function App({ node, address }: { node: string; address: string }) {
  const [earned, setEarned] = useState(0);
  return (
    <main>
      <title>{earned ? `Earned ${earned}` : "Nothing earned yet"}</title>
      <Miner
        node={node}
        address={address}
        backend="cpu"
        intensity={1}
        onReward={({ reward }) => setEarned((earned) => earned + reward)}
      />
    </main>
  );
}

const asked = new URLSearchParams(location.search);
const root = document.getElementById("root");
if (root) createRoot(root).render(<App node={asked.get("node") ?? ""} address={asked.get("address") ?? ""} />);
