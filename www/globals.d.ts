// Browser interfaces that TypeScript's DOM library does not declare.

import type { WalletProvider } from "./wallet.js";

declare global {
  /** The Battery Status API, which only Chromium has. */
  interface Navigator {
    getBattery?(): Promise<EventTarget & { charging: boolean }>;
  }

  /** Set by the Keplr browser extension. */
  var keplr: WalletProvider | undefined;
  /** Set by the Leap browser extension. */
  var leap: WalletProvider | undefined;
}
