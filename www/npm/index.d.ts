// Types of the element <r3mes-miner>, its attributes and its events.

import type { MinerDetails, R3mesMiner } from "./r3mes-miner.js";

export { R3mesMiner, type MinerDetails } from "./r3mes-miner.js";
export type { State } from "./session.js";
export type { OfflineSigner, WalletProvider } from "./wallet.js";

/** The events of the element. All of them bubble. */
export type MinerEvents = { [Name in keyof MinerDetails as `r3mes:${Name}`]: CustomEvent<MinerDetails[Name]> };

/** The attributes of the element. */
export interface MinerAttributes {
  /** The URL of the node; by default, the origin of the page. */
  node?: string;
  /** The address that receives the rewards; by default, that of a key which only this browser has. */
  address?: string;
  /** The share of the time during which the miner computes, from 0.05 to 1. */
  intensity?: number | string;
  backend?: "auto" | "gpu" | "cpu";
  /** Whether mining starts when the page is loaded, provided that the user has given consent. */
  autostart?: boolean | "";
}

declare global {
  interface HTMLElementTagNameMap {
    "r3mes-miner": R3mesMiner;
  }
  interface HTMLElementEventMap extends MinerEvents {}
  interface DocumentEventMap extends MinerEvents {}
  interface WindowEventMap extends MinerEvents {}
}
