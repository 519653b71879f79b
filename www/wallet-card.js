// The wallet card, with which the visitor chooses who receives the rewards: an account in a wallet, which grants a
// session to this browser's key, or an address that the visitor enters.
//
// The constructor receives the element that the card fills. The card can be used without the miner.

import { Chain } from "./chain.js";
import { find, fragment } from "./dom.js";
import { MICRO_UNITS, errorMessage, formatCoins } from "./format.js";
import { deleteSetting, loadSetting, saveSetting, sessionSecret } from "./storage.js";
import { Account, availableWallets } from "./wallet.js";

/** @import { Grants } from "./chain.js" */
/** @import { Engine } from "./engine.js" */
/** @import { Wallet, WalletProvider } from "./wallet.js" */

const SECONDS_PER_DAY = 86_400;

/** How often the card looks for wallets that have appeared since, in milliseconds, and how many times. */
const LOOK_MS = 1000;
const MAX_LOOKS = 20;

const content = fragment(`
  <p data-at="no-wallet">No Keplr or Leap wallet was found in this browser. Enter a payout address, or leave it empty to
    mine for this browser's own key.</p>
  <p data-at="wallets" class="buttons" role="group" aria-label="Connect a wallet"></p>
  <div data-at="account" hidden>
    <p>Account: <span data-at="address" class="digest"></span></p>
    <p>
      <label>Fee limit (R3MES) <input data-at="cap" type="number" min="0" max="1000000" step="any" value="0.5" required /></label>
      <label>Valid for (days) <input data-at="days" type="number" min="0.01" max="365" step="any" value="7" required /></label>
      <button data-at="grant" type="button">Grant</button>
    </p>
    <p>You sign once. After that, a key kept in this browser can claim tasks and submit gradients in your name. The rewards
      go to your account. The key cannot transfer your coins; it can only spend them on fees, up to the fee limit.</p>
  </div>
  <div data-at="session" hidden>
    <p>This browser mines for <span data-at="granter" class="digest"></span> until <time data-at="expires"></time>.
      Left for fees: <span data-at="left"></span>.</p>
    <p><button data-at="revoke" type="button">Revoke</button></p>
  </div>
  <p><label>Payout address <input data-at="payout" autocomplete="off" spellcheck="false" placeholder="this browser's own key" /></label></p>
  <p data-at="status" role="status"></p>`);

/**
 * The options of a wallet card.
 *
 * @typedef {object} WalletCardOptions
 * @property {Pick<Engine, "call">} engine the engine that encodes the transactions and statements that the wallet signs
 * @property {string} node the URL of the node
 * @property {WalletProvider} [signer] a wallet that the embedding site provides
 * @property {string} [payout] the payout address that is used unless the visitor enters another one
 * @property {() => void} [onChange] called when the result of `payee()` may have changed
 */

/** Shows the wallets, the session and the payout address, and tells the miner who receives the rewards. */
export class WalletCard {
  /** Resolves after the stored session and payout address have been loaded. */
  ready;

  #root;
  /** The first element of this card; another one takes its place when another card fills the element. */
  #first;
  #engine;
  #chain;
  #onChange;
  /** The payout address that is used unless the visitor enters another one. */
  #defaultPayout = "";
  /** @type {Set<WalletProvider>} the wallets for which there is a button */
  #offered = new Set();
  /** @type {Account | undefined} the connected account */
  #account;
  /** @type {string | undefined} the account that granted the session */
  #granter;
  /** @type {Grants | undefined} what the account has granted to the session key, if the session is valid */
  #grants;

  /**
   * @param {HTMLElement} root the element that the card fills
   * @param {WalletCardOptions} options
   */
  constructor(root, { engine, node, signer, payout = "", onChange = () => {} }) {
    this.#root = root;
    this.#engine = engine;
    this.#chain = new Chain(node);
    this.#onChange = onChange;
    root.replaceChildren(content());
    this.#first = root.firstElementChild;
    this.defaultPayout = payout;
    this.#offerWallets(signer);
    this.#button("grant").addEventListener("click", () => this.#run(this.#button("grant"), () => this.#grant()));
    this.#button("revoke").addEventListener("click", () => this.#run(this.#button("revoke"), () => this.#revoke()));
    this.#input("payout").addEventListener("change", () => {
      this.#onChange();
      saveSetting("payout", this.#input("payout").value.trim());
    });
    this.ready = this.#restore();
  }

  /**
   * Returns who receives the rewards, as fields of the engine's `MinerOptions`: `granter` if an account has granted a
   * session, otherwise `payout` if there is a payout address, otherwise no field.
   * @returns {{ granter?: string, payout?: string }}
   */
  payee() {
    if (this.#granter && this.#grants) return { granter: this.#granter };
    const payout = this.#input("payout").value.trim() || this.#defaultPayout;
    return payout ? { payout } : {};
  }

  /** The payout address that is used unless the visitor enters another one, or "" for this browser's own key. */
  get defaultPayout() {
    return this.#defaultPayout;
  }

  set defaultPayout(address) {
    this.#defaultPayout = address.trim();
    this.#input("payout").placeholder = this.#defaultPayout || "this browser's own key";
  }

  /** Opens the field in which the visitor enters a payout address. */
  focus() {
    this.#input("payout").focus();
  }

  /** Asks the node whether the session is still valid, and shows the answer. */
  async refresh() {
    this.#grants = this.#granter ? await this.#sessionGrants(this.#granter) : undefined;
    this.#show();
    if (this.#granter && !this.#grants)
      this.#say(`The session for ${this.#granter} has ended: it expired or was revoked.`);
  }

  /**
   * Offers the wallets that are present. Then looks for others for a while, because extensions may add theirs after the
   * page has loaded.
   * @param {WalletProvider | undefined} signer
   */
  #offerWallets(signer, looks = 0) {
    for (const wallet of availableWallets(signer)) if (!this.#offered.has(wallet.provider)) this.#offerWallet(wallet);
    this.#part("no-wallet").hidden = this.#offered.size > 0;
    this.#part("wallets").hidden = this.#offered.size === 0;
    if (looks >= MAX_LOOKS) return;
    setTimeout(() => {
      if (this.#root.firstElementChild === this.#first) this.#offerWallets(signer, looks + 1);
    }, LOOK_MS);
  }

  /** @param {Wallet} wallet */
  #offerWallet(wallet) {
    this.#offered.add(wallet.provider);
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `Connect ${wallet.name}`;
    button.addEventListener("click", () => this.#run(button, () => this.#connect(wallet)));
    this.#part("wallets").append(button);
    if (wallet.changeEvent) addEventListener(wallet.changeEvent, () => this.#disconnect(wallet));
  }

  async #restore() {
    this.#input("payout").value = (await loadSetting("payout")) ?? "";
    this.#granter = await loadSetting("granter");
    try {
      await this.refresh();
    } catch (error) {
      this.#say(`Could not read the session from the node: ${errorMessage(error)}`);
    }
    this.#onChange();
  }

  /**
   * Returns what an account has granted to this browser's session key, or `undefined` if the key cannot mine for the
   * account. To mine, the key needs grants to send messages; a fee allowance alone does not suffice.
   * @param {string} granter the address of the account
   */
  async #sessionGrants(granter) {
    const grantee = await this.#engine.call("sessionAddress", [await sessionSecret()]);
    const grants = await this.#chain.grants(granter, grantee);
    return grants?.messages.length ? grants : undefined;
  }

  /** @param {Wallet} wallet */
  async #connect(wallet) {
    this.#say(`Waiting for ${wallet.name}.`);
    const connection = { engine: this.#engine, chain: this.#chain, secret: await sessionSecret() };
    this.#account = await Account.connect(wallet, connection);
    const { address } = this.#account;
    if (await this.#sessionGrants(address)) await this.#useSession(address);
    this.#show();
    this.#say(`Connected to ${wallet.name}.`);
  }

  /**
   * Disconnects the account of a wallet. Called when another account has been selected in the wallet.
   * @param {Wallet} wallet
   */
  #disconnect(wallet) {
    if (this.#account?.wallet !== wallet) return;
    this.#account = undefined;
    this.#show();
    this.#say(`The account of ${wallet.name} has changed. Connect it again.`);
  }

  async #grant() {
    const [cap, days] = [this.#input("cap"), this.#input("days")];
    if (!this.#account || !cap.reportValidity() || !days.reportValidity()) return;
    this.#say("Waiting for your signature in the wallet.");
    const microUnits = Math.round(MICRO_UNITS * cap.valueAsNumber);
    await this.#account.grant(microUnits, Math.round(SECONDS_PER_DAY * days.valueAsNumber));
    await this.#useSession(this.#account.address);
    this.#say("Granted. This browser can now mine for your account.");
  }

  async #revoke() {
    if (!this.#account || this.#account.address !== this.#granter) {
      this.#say("Connect the wallet that granted this session, then revoke it.");
      return;
    }
    this.#say("Waiting for your signature in the wallet.");
    await this.#account.revoke();
    await deleteSetting("granter");
    this.#granter = undefined;
    await this.refresh();
    this.#onChange();
    this.#say("Revoked. This browser no longer mines for your account.");
  }

  /**
   * Uses the session that an account has granted: from now on, this browser mines for the account.
   * @param {string} granter the address of the account
   */
  async #useSession(granter) {
    this.#granter = granter;
    await saveSetting("granter", granter);
    await this.refresh();
    this.#onChange();
  }

  #show() {
    const address = this.#account?.address ?? "";
    this.#part("account").hidden = !address;
    this.#part("address").textContent = address;
    this.#part("session").hidden = !this.#grants;
    this.#input("payout").disabled = Boolean(this.#grants);
    if (!this.#grants) return;
    const { capLeft, expires } = this.#grants;
    const expiration = new Date(1000 * expires);
    this.#part("granter").textContent = this.#granter ?? "";
    const time = this.#part("expires", HTMLTimeElement);
    time.dateTime = expiration.toISOString();
    time.textContent = expiration.toLocaleString();
    this.#part("left").textContent = capLeft === undefined ? "nothing" : formatCoins(capLeft);
  }

  /**
   * Runs the action of a button. The button is disabled until the action has ended. If the action fails, its error is
   * shown.
   * @param {HTMLButtonElement} button
   * @param {() => Promise<void>} action
   */
  async #run(button, action) {
    button.disabled = true;
    try {
      await action();
    } catch (error) {
      this.#say(errorMessage(error) || "The wallet refused the request.");
    } finally {
      button.disabled = false;
    }
  }

  /** @param {string} text */
  #say(text) {
    this.#part("status").textContent = text;
  }

  /** @param {string} name */
  #input(name) {
    return this.#part(name, HTMLInputElement);
  }

  /** @param {string} name */
  #button(name) {
    return this.#part(name, HTMLButtonElement);
  }

  /**
   * Returns the element of the card whose attribute `data-at` equals `name`. Throws if its class is not `type`.
   * @template {HTMLElement} [Type=HTMLElement]
   * @param {string} name
   * @param {new () => Type} [type]
   * @returns {Type}
   */
  #part(name, type = /** @type {new () => Type} */ (HTMLElement)) {
    return find(this.#root, `[data-at="${name}"]`, type);
  }
}
