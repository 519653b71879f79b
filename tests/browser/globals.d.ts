// Types of globals that the tests use inside of pages.

import type { AxeResults, RunOptions } from "axe-core";
import type { Engine } from "../../www/engine.js";
import type { R3mesMiner } from "../../www/r3mes-miner.js";
import type { MinerEvent } from "../../www/r3mes_www.js";
import type { WalletCard } from "../../www/wallet-card.js";
import type { Signature, StdSignDoc } from "../../www/wallet.js";

declare global {
  interface HTMLElementTagNameMap {
    "r3mes-miner": R3mesMiner;
  }

  // set by mine.test.mjs
  var axe: { run(context: Document, options: RunOptions): Promise<AxeResults> };
  var battery: EventTarget & { charging: boolean };
  var longTasks: number[];

  // set by engine.test.mjs
  var engine: Engine | undefined;

  // set by embed.test.mjs
  /** A message that a framed miner has sent, with its origin. */
  type FrameMessage = Record<string, unknown>;
  var received: FrameMessage[];
  var send: (message: object) => void;
  /** Whether the wallet of the page refuses to sign. */
  var refuses: boolean | undefined;
  var submitted: { cid: string; transaction: string } | undefined;

  // set by wallet.test.mjs
  type Payee = ReturnType<WalletCard["payee"]>;
  var card: WalletCard;
  var payees: Payee[];
  var mine: (
    tasks: number,
    payee?: Payee,
  ) => Promise<{ accepted: Extract<MinerEvent, { event: "accepted" }>[]; reason: string }>;
  var testKey: () => Promise<{ address: string; pubKey: string }>;
  var testSignDirect: (chainId: string, signer: string, doc: object) => Promise<Signature>;
  var testSignAmino: (signer: string, doc: StdSignDoc) => Promise<{ signed: StdSignDoc; signature: Signature }>;
  var testSignText: (signer: string, text: string) => Promise<Signature>;
}
