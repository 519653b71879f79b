// The wallet of a page that embeds the miner in a frame. The frame sends each call of a method to the page by a message,
// and the page answers with the result by another one. The key of the account stays in the page.

/** @import { WalletProvider } from "./wallet.js" */

/** The methods of Keplr's interface that a page can offer. */
const METHODS = ["experimentalSuggestChain", "enable", "getKey", "signDirect", "signAmino", "signArbitrary"];

/** Passes calls of a wallet's methods to the parent page, and the page's answers back to the callers. */
export class ParentWallet {
  #send;
  /** @type {Map<number, { resolve: (result: unknown) => void, reject: (error: Error) => void }>} */
  #pending = new Map();
  #lastId = 0;

  /** @param {(call: { id: number, method: string, arguments: unknown[] }) => void} send sends a call to the page */
  constructor(send) {
    this.#send = send;
  }

  /**
   * Returns a wallet with the methods that the page offers. Throws if the page offers a method that is unknown.
   * @param {unknown} methods the names of the methods
   */
  provider(methods) {
    if (!Array.isArray(methods)) throw new Error("signer is not a list of names of methods");
    const unknown = methods.find((method) => !METHODS.includes(method));
    if (unknown !== undefined) throw new Error(`signer contains ${unknown}, which is none of ${METHODS.join(", ")}`);
    /** @type {(method: string) => (...args: unknown[]) => Promise<unknown>} */
    const caller =
      (method) =>
      (...args) =>
        this.#call(method, args);
    const provider = Object.fromEntries(methods.map((method) => [method, caller(method)]));
    return /** @type {WalletProvider} */ (/** @type {unknown} */ (provider));
  }

  /**
   * Settles a call with the answer of the page. Throws if no such call is pending.
   * @param {{ id?: unknown, result?: unknown, error?: unknown }} answer `error`: why the call has failed, if it has
   */
  settle({ id, result, error }) {
    const call = this.#pending.get(Number(id));
    if (!call) throw new Error(`no call with the id ${id} is pending`);
    this.#pending.delete(Number(id));
    if (error === undefined) call.resolve(result);
    else call.reject(new Error(String(error)));
  }

  /**
   * @param {string} method
   * @param {unknown[]} args
   */
  #call(method, args) {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.#send({ id, method, arguments: args });
    });
  }
}
