// Types of <r3mes-miner> in the JSX of React. Import them once: `import type {} from "r3mes-miner/jsx"`.

import type { DetailedHTMLProps, HTMLAttributes } from "react";
import type { MinerAttributes, R3mesMiner } from "./index.js";

declare module "react" {
  namespace JSX {
    interface IntrinsicElements {
      "r3mes-miner": DetailedHTMLProps<HTMLAttributes<R3mesMiner>, R3mesMiner> & MinerAttributes;
    }
  }
}
