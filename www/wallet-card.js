// The wallet card: who is paid. A wallet's account, for which a session's key mines; or an address that is pasted.
//
// It fills a section that it is given, and knows nothing of the miner around it.

import { forget, remember, secret, setting } from "./records.js";
import { Account, Chain, found } from "./wallet.js";

const MICRO = 1_000_000;
const DAY = 86_400;

const template = document.createElement("template");
template.innerHTML = `
  <p data-at="none">No Keplr or Leap wallet is in this browser. Paste an address instead, or mine to this browser's own key.</p>
  <p data-at="wallets" class="buttons" role="group" aria-label="Connect a wallet"></p>
  <div data-at="account" hidden>
    <p>Account: <span data-at="address" class="digest"></span></p>
    <p data-at="terms">
      <label>Fees it may spend, in R3MES <input data-at="cap" type="number" min="0" max="1000000" step="any" value="0.5" required /></label>
      <label>For how many days <input data-at="days" type="number" min="0.01" max="365" step="any" value="7" required /></label>
      <button data-at="grant" type="button">Grant</button>
    </p>
    <p>You sign once. A key that this browser keeps may then claim tasks and submit gradients in your name. What they earn
      is yours; the key can move nothing of it, and can pay fees of it up to your limit only.</p>
  </div>
  <div data-at="session" hidden>
    <p>This browser mines for <span data-at="granter" class="digest"></span> until <time data-at="expires"></time>.
      Left for fees: <span data-at="left"></span>.</p>
    <p><button data-at="revoke" type="button">Revoke</button></p>
  </div>
  <p><label>Or paid to this address <input data-at="payout" autocomplete="off" spellcheck="false" placeholder="this browser's own key" /></label></p>
  <p data-at="said" role="status"></p>`;

/** `engine`: an Engine; `node`: its URL; `signer`: a provider that the site hands over; `payout`: the address until another
 * is given; `changed` hears that payer() did. */
export class WalletCard {
  #root;
  #engine;
  #chain;
  #wallets;
  #changed;
  #account;
  #granter;
  #granted;

  /** Resolves once what was remembered is shown. */
  ready;

  constructor(root, { engine, node, signer, payout, changed = () => {} }) {
    this.#root = root;
    this.#engine = engine;
    this.#chain = new Chain(node);
    this.#wallets = found(signer);
    this.#changed = changed;
    root.replaceChildren(template.content.cloneNode(true));
    this.#at("none").hidden = this.#wallets.length > 0;
    this.#at("wallets").hidden = this.#wallets.length === 0;
    for (const wallet of this.#wallets) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = `Connect ${wallet.name}`;
      button.addEventListener("click", () => this.#do(button, () => this.#connect(wallet)));
      this.#at("wallets").append(button);
      if (wallet.event) addEventListener(wallet.event, () => this.#disconnect(wallet));
    }
    this.#on("grant", () => this.#grant());
    this.#on("revoke", () => this.#revoke());
    this.#at("payout").addEventListener("change", ({ target }) => {
      this.#changed();
      remember("payout", target.value.trim());
    });
    this.ready = this.#restore(payout);
  }

  /** Who is paid, as the miner's options say it: `granter`, else `payout`, else neither. */
  payer() {
    if (this.#granted) return { granter: this.#granter };
    const payout = this.#at("payout").value.trim();
    return payout ? { payout } : {};
  }

  /** Asks the node what is left of the session. */
  async refresh() {
    this.#granted = this.#granter && (await this.#live(this.#granter));
    this.#show();
    if (this.#granter && !this.#granted)
      this.#say(`The session for ${this.#granter} is over: it expired or was revoked.`);
  }

  async #restore(payout) {
    this.#at("payout").value = (await setting("payout")) ?? payout ?? "";
    this.#granter = await setting("granter");
    try {
      await this.refresh();
    } catch (error) {
      this.#say(`The session could not be asked for: ${error.message}`);
    }
    this.#changed();
  }

  /** What an account grants to this browser's key; an allowance alone lets nobody mine. */
  async #live(granter) {
    const granted = await this.#chain.granted(granter, await this.#engine.call("sessionAddress", [await secret()]));
    return granted?.messages.length ? granted : undefined;
  }

  async #connect(wallet) {
    this.#say(`Asking ${wallet.name}.`);
    const { address } = (this.#account = await Account.connect(wallet.provider, {
      engine: this.#engine,
      chain: this.#chain,
      secret: await secret(),
    }));
    this.#account.wallet = wallet;
    if (await this.#live(address)) await this.#use(address);
    this.#show();
    this.#say(`Connected to ${wallet.name}.`);
  }

  /** The wallet's owner changed its account: what was connected is gone. */
  #disconnect(wallet) {
    if (this.#account?.wallet !== wallet) return;
    this.#account = undefined;
    this.#show();
    this.#say(`${wallet.name} changed its account. Connect it again.`);
  }

  async #grant() {
    const [cap, days] = [this.#at("cap"), this.#at("days")];
    if (!cap.reportValidity() || !days.reportValidity()) return;
    this.#say("Asking the wallet to sign.");
    await this.#account.grant(Math.round(MICRO * cap.valueAsNumber), Math.round(DAY * days.valueAsNumber));
    await this.#use(this.#account.address);
    this.#say("Granted.");
  }

  async #revoke() {
    if (this.#account?.address !== this.#granter) {
      return this.#say("Connect the wallet that granted it, then revoke.");
    }
    this.#say("Asking the wallet to sign.");
    await this.#account.revoke();
    await forget("granter");
    this.#granter = undefined;
    await this.refresh();
    this.#changed();
    this.#say("Revoked. Nothing mines for the account any more.");
  }

  async #use(address) {
    this.#granter = address;
    await remember("granter", address);
    await this.refresh();
    this.#changed();
  }

  #show() {
    const { address } = this.#account ?? {};
    this.#at("account").hidden = !address;
    this.#at("address").textContent = address ?? "";
    this.#at("session").hidden = !this.#granted;
    this.#at("payout").disabled = Boolean(this.#granted);
    if (!this.#granted) return;
    const { capLeft, expires } = this.#granted;
    const end = new Date(1000 * expires);
    this.#at("granter").textContent = this.#granter;
    this.#at("expires").dateTime = end.toISOString();
    this.#at("expires").textContent = end.toLocaleString();
    this.#at("left").textContent =
      capLeft === undefined
        ? "nothing"
        : `${(capLeft / MICRO).toLocaleString(undefined, { maximumFractionDigits: 6 })} R3MES`;
  }

  #on(name, work) {
    this.#at(name).addEventListener("click", ({ target }) => this.#do(target, work));
  }

  /** One thing at a time by each button; what fails is said. */
  async #do(button, work) {
    button.disabled = true;
    try {
      await work.call(this);
    } catch (error) {
      this.#say(error?.message || "The wallet refused.");
    } finally {
      button.disabled = false;
    }
  }

  #say(text) {
    this.#at("said").textContent = text;
  }

  #at(name) {
    return this.#root.querySelector(`[data-at="${name}"]`);
  }
}
