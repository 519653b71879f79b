// Types of the React component.

import type { HTMLAttributes, ReactElement, Ref } from "react";
import type { MinerAttributes, MinerDetails, OfflineSigner, R3mesMiner, WalletProvider } from "./index.js";

/** "needs-consent" becomes "NeedsConsent". */
type PascalCase<Name extends string> = Name extends `${infer First}-${infer Rest}`
  ? `${Capitalize<First>}${PascalCase<Rest>}`
  : Capitalize<Name>;

/** For each event, a function that is called with its details: `onState` for the event `r3mes:state`. */
export type MinerListeners = {
  [Name in keyof MinerDetails as `on${PascalCase<Name>}`]?: (detail: MinerDetails[Name]) => void;
};

export interface MinerProps
  extends MinerAttributes, MinerListeners, Omit<HTMLAttributes<R3mesMiner>, keyof MinerListeners> {
  /** A wallet that your site provides, in addition to the wallets of the browser. */
  signer?: WalletProvider | OfflineSigner;
  /** Receives the element, whose methods start and stop mining. */
  ref?: Ref<R3mesMiner>;
}

/** Shows the element <r3mes-miner>. */
export function Miner(props: MinerProps): ReactElement;
