// Types of <r3mes-miner> in the templates of Vue. Import them once: `import type {} from "r3mes-miner/vue"`.

import type { HTMLAttributes } from "vue";
import type { MinerAttributes, MinerEvents } from "./index.js";

/** The listeners of the events: `@r3mes:state` in a template is the property `onR3mes:state`. */
type MinerListeners = {
  [Name in keyof MinerEvents as `on${Capitalize<Name>}`]?: (event: MinerEvents[Name]) => void;
};

declare module "vue" {
  interface GlobalComponents {
    "r3mes-miner": new () => { $props: HTMLAttributes & MinerAttributes & MinerListeners };
  }
}
