// The custom element <r3mes-miner>, which contains the miner and its controls. The node's own page and pages of other
// sites use it.
//
// docs/EMBEDDING.md documents the attributes, methods, properties and events of the element.

import { cacheSize, clearCache } from "./block-cache.js";
import { Chain } from "./chain.js";
import { DevicePanel } from "./device-panel.js";
import { find } from "./dom.js";
import { Engine } from "./engine.js";
import { errorMessage, formatMegabytes, shortenCid } from "./format.js";
import { KeyCard } from "./key-card.js";
import { Log } from "./log.js";
import { content } from "./markup.js";
import { watchConditions } from "./pauses.js";
import { Session } from "./session.js";
import { Settings } from "./settings.js";
import { Statistics } from "./statistics.js";
import { deleteSetting, isKept, loadSetting, saveSetting, sessionSecret } from "./storage.js";
import { addStyles } from "./styles.js";
import { SubmissionTable } from "./submission-table.js";
import { checkDevice, runOnClick, verifyReceipt } from "./verification.js";
import { VERSION } from "./version.js";
import { asProvider } from "./wallet.js";
import { WalletCard } from "./wallet-card.js";

/** @import { MinerEvent } from "./r3mes_www.js" */
/** @import { Condition } from "./pauses.js" */
/** @import { State } from "./session.js" */
/** @import { OfflineSigner, WalletProvider } from "./wallet.js" */

/**
 * The event `r3mes:<name>` of the element has the type `CustomEvent<MinerDetails[name]>`. Amounts are in micro-units
 * (millionths of a coin).
 *
 * @typedef {object} MinerDetails
 * @property {{ state: State, reason: string }} state the new state, and an explanation of it for the user
 * @property {{ stage: "claimed" | "computed" | "stored" | "submitted", task?: string, cid?: string, id?: number }} step
 *   the stage that a task has reached
 * @property {{ share: number }} progress the completed share of the current task, from 0 to 1
 * @property {{ cid: string, transaction: string }} submit a gradient that was accepted
 * @property {{ reward: number, balance: number }} reward the reward for it, and the new balance of whoever is paid
 * @property {{ message: string }} error an error of the miner
 * @property {{ given: boolean }} consent whether the user has given consent, or has declined or withdrawn it
 * @property {{}} needs-consent `start()` was called before the user has given consent
 * @property {{}} needs-payee `start()` was called where the key of the browser is paid, and the browser cannot keep it
 */

/**
 * The text that the page shows for each state of the miner.
 * @type {Record<State, string>}
 */
const STATE_TEXTS = {
  ready: "Ready.",
  opening: "Starting.",
  mining: "Mining.",
  paused: "Paused.",
  waiting: "Waiting for a task.",
  offline: "Offline.",
  finishing: "Finishing the current task.",
  stopped: "Stopped.",
  elsewhere: "Another tab of this browser is mining.",
  error: "Mining failed.",
};
/** The time between two updates of the displayed mining rates, in milliseconds. */
const RATES_UPDATE_MS = 5000;

/** The class `HTMLElement`; where there is none, such as on a server that renders pages, an empty class. */
const BaseElement = /** @type {typeof HTMLElement} */ (globalThis.HTMLElement ?? class {});

/**
 * The custom element <r3mes-miner>. It computes nothing before the visitor has given consent.
 *
 * @tag r3mes-miner
 * @attr {string} node - the URL of the node; by default, the origin of the page
 * @attr {string} address - the address that receives the rewards; by default, that of a key which only this browser has
 * @attr {number} intensity - the share of the time during which the miner computes, from 0.05 to 1
 * @attr {"auto" | "gpu" | "cpu"} backend - what computes; by default, the GPU if it computes correctly
 * @attr {boolean} autostart - whether mining starts when the page is loaded, provided that the visitor has given consent
 * @fires r3mes:state - the state, or its reason, has changed
 * @fires r3mes:step - a task has reached its next stage
 * @fires r3mes:progress - a part of the current task is complete
 * @fires r3mes:submit - a gradient was accepted
 * @fires r3mes:reward - a reward was paid
 * @fires r3mes:error - the miner has failed, or a gradient was rejected
 * @fires r3mes:consent - the visitor has given, declined or withdrawn consent
 * @fires r3mes:needs-consent - `start()` was called before the visitor has given consent
 * @fires r3mes:needs-payee - `start()` was called where this browser's key is paid, and the browser cannot keep the key
 */
export class R3mesMiner extends BaseElement {
  static observedAttributes = ["address", "backend", "intensity", "node"];

  #root = this.attachShadow({ mode: "open" });
  #session = new Session(() => this.#loadOptions(), {
    onState: () => this.#showState(),
    onEvent: (event) => this.#handleEvent(event),
    onAddress: (address) => this.#showAddress(address),
    onFailure: ({ message }) => this.#reportFailure(message),
  });
  /** Adds or removes pause reasons. Called after a setting has changed. */
  #applyConditions = () => {};
  #devicePanel;
  #keyCard;
  #log;
  #settings;
  #statistics;
  #submissions;
  /** @type {WalletCard | undefined} */
  #walletCard;
  /** @type {WalletProvider | undefined} */
  #signer;
  /** @type {Engine | undefined} the engine that encodes what wallets sign; created on first use */
  #walletEngine;
  /** The index of the latest call of `#showPayee`. Balances that earlier calls have requested are ignored. */
  #lastPayee = 0;
  /** Aborted when the element leaves the document. */
  #connection = new AbortController();
  /** The payee with which the engine was started last, as JSON. */
  #payeeInUse = "";
  /** @type {Promise<void> | undefined} resolves when the element is ready for use in a document */
  #setUp;
  /** Whether `#setUp` has resolved. */
  #isReady = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} stops the session after the time limit */
  #limitTimer;
  /** @type {WakeLockSentinel | undefined} */
  #wakeLock;

  constructor() {
    super();
    addStyles(this.#root);
    this.#root.append(content());
    this.#devicePanel = new DevicePanel(this.#root);
    this.#keyCard = new KeyCard(this.#part("key-card"), {
      onSaved: () => this.#button("start").focus(),
      onChoose: () => this.#enterAddress(),
    });
    this.#log = new Log(this.#part("log"), find(this.#root, "#filter", HTMLInputElement));
    this.#statistics = new Statistics(this.#root);
    this.#submissions = new SubmissionTable(this.#part("submissions"), (receipt) => this.#showReceipt(receipt));
    this.#settings = new Settings(this.#root, {
      onIntensity: (share) => this.#session.setIntensity(share),
      onChange: () => this.#applySettings(),
    });
  }

  connectedCallback() {
    this.#setUp ??= this.#initialize();
    this.#connection = new AbortController();
    this.#watch(this.#connection.signal);
  }

  disconnectedCallback() {
    this.stop();
    this.#connection.abort();
  }

  /**
   * Applies an attribute that has changed. Called by the browser.
   * @param {string} name the name of the attribute
   * @param {string | null} before
   * @param {string | null} after
   */
  attributeChangedCallback(name, before, after) {
    if (before === after) return;
    if (this.#isReady) this.#applyAttribute(name, after);
    else this.#setUp?.then(() => this.#applyAttribute(name, after));
  }

  /** What the miner is doing, such as mining or waiting. */
  get state() {
    return this.#session.state;
  }

  /**
   * A wallet that the embedding site provides: with the interface of Keplr, or a signer of CosmJS. It is offered in
   * addition to the wallets of the browser.
   * @returns {WalletProvider | undefined}
   */
  get signer() {
    return this.#signer;
  }

  /** @param {WalletProvider | OfflineSigner | undefined} signer */
  set signer(signer) {
    this.#signer = signer && asProvider(signer);
    if (this.#walletCard) this.#openWalletCard();
  }

  /** Starts mining, if the visitor has given consent and no other tab is mining. Resolves after mining has ended. */
  async start() {
    if (!this.#setUp) throw new Error("<r3mes-miner> must be in a document before it is started");
    await this.#setUp;
    if (!(await loadSetting("consent"))) {
      this.#showConsent(undefined);
      this.#emit("needs-consent", {});
      return;
    }
    if (this.#session.active) return;
    if (!(await isKept()) && (await this.#paysUnsavedKey())) {
      this.#keyCard.focus();
      this.#emit("needs-payee", {});
      return;
    }
    this.#beginSession();
    await this.#session.start();
  }

  /** Pauses mining until `resume()` is called. */
  pause() {
    if (this.#session.active) this.#session.pauses.set("button", true, "You paused mining.");
  }

  /** Continues mining, even if a reason for the pause remains. */
  resume() {
    this.#session.pauses.override();
  }

  /** Completes the current task, then stops. */
  finish() {
    this.#session.finish();
  }

  /** Stops immediately. After this call, nothing is computed, and nothing is sent to the node. */
  stop() {
    this.#session.stop();
  }

  /** The URL of the node. */
  get #node() {
    return this.getAttribute("node") || location.origin;
  }

  /** Shows what earlier visits have stored, and connects the controls. */
  async #initialize() {
    this.#listen();
    this.#part("unkept").hidden = await isKept();
    await this.#settings.restore({
      intensity: this.getAttribute("intensity"),
      backend: this.getAttribute("backend"),
    });
    this.#statistics.restore(await this.#submissions.restore());
    this.#showAddress(await loadSetting("address"));
    this.#openWalletCard();
    this.#showConsent(await loadSetting("consent"));
    this.#showState();
    this.#isReady = true;
    if (this.hasAttribute("autostart") && (await loadSetting("consent"))) this.start();
  }

  /**
   * Applies an attribute that has changed after the element was set up. A new node, address or backend is used at once.
   * @param {string} name the name of the attribute
   * @param {string | null} value
   */
  #applyAttribute(name, value) {
    if (name === "intensity") {
      if (value !== null) this.#settings.setIntensity(Number(value));
      return;
    }
    const payeeBefore = this.#walletCard?.payee().payout;
    if (name === "backend") this.#settings.setBackend(value);
    else if (name === "node") this.#openWalletCard();
    else if (this.#walletCard) this.#walletCard.defaultPayout = value ?? "";
    this.#showPayee();
    if (name !== "address" || this.#walletCard?.payee().payout !== payeeBefore) this.#session.restart();
  }

  #openWalletCard() {
    this.#walletCard = new WalletCard(this.#part("wallet"), {
      engine: { call: (...call) => (this.#walletEngine ??= new Engine()).call(...call) },
      node: this.#node,
      signer: this.#signer,
      payout: this.getAttribute("address") ?? "",
      onChange: () => {
        this.#showPayee();
        if (JSON.stringify(this.#walletCard?.payee()) === this.#payeeInUse) return;
        this.#session.stop("The payout address has changed. Start again to mine for the new one.");
      },
    });
  }

  /** Returns whether this browser's own key is paid. */
  get #paysOwnKey() {
    const { granter, payout } = this.#walletCard?.payee() ?? {};
    return !granter && !payout;
  }

  /** Returns whether this browser's own key is paid, and the visitor has not saved a copy of it. */
  async #paysUnsavedKey() {
    await this.#walletCard?.ready;
    return this.#paysOwnKey && !(await loadSetting("backedUp"));
  }

  /** Shows the card with which the visitor can save the key of this browser. */
  async #showKeyCard() {
    this.#keyCard.show({ kept: await isKept(), paid: this.#paysOwnKey });
  }

  /** Shows who is paid, the balance of the payee, and if need be, the card that lets the visitor save the key. */
  async #showPayee() {
    const index = ++this.#lastPayee;
    const { granter, payout } = this.#walletCard?.payee() ?? {};
    const address = granter ?? payout;
    const chosenBy = address === this.#walletCard?.defaultPayout ? "this site has" : "you have";
    this.#part("payee").textContent = address ?? "this browser's own key";
    this.#part("who").textContent = address
      ? `the address ${address}, which ${chosenBy} chosen. You can enter another one under Settings.`
      : "you, at an address of your choice or at a key that only this browser has.";
    if (await this.#paysUnsavedKey()) await this.#showKeyCard();
    else this.#keyCard.hide();
    const own = await loadSetting("address");
    const [payee, miner] = [granter ?? payout ?? own, granter ?? own];
    if (!payee) return this.#statistics.showBalance(undefined, 0);
    try {
      const chain = new Chain(this.#node);
      const [balance, escrow] = [await chain.balance(payee), miner ? await chain.escrow(miner) : 0];
      if (index === this.#lastPayee) this.#statistics.showBalance(balance, escrow);
    } catch (error) {
      this.#statistics.showBalance(undefined, 0);
      this.#log.add(`could not read the balance from the node: ${errorMessage(error)}`);
    }
  }

  /** @param {string | undefined} address the address of this browser's session key, if the key exists */
  #showAddress(address) {
    if (!address) return;
    this.#part("address").textContent = address;
    saveSetting("address", address);
  }

  /**
   * Shows a receipt in the field from which the visitor can copy or verify it.
   * @param {string} receipt
   */
  #showReceipt(receipt) {
    find(this.#root, "#checks", HTMLDetailsElement).open = true;
    const field = find(this.#root, "#receipt", HTMLTextAreaElement);
    field.value = receipt;
    field.focus();
    field.select();
  }

  /** Opens the settings at the field for the payout address. */
  #enterAddress() {
    find(this.#root, "#settings", HTMLDetailsElement).open = true;
    this.#walletCard?.focus();
  }

  /** Returns the engine's options for the next start. */
  async #loadOptions() {
    await this.#walletCard?.ready;
    const { backend } = this.#settings;
    const payee = this.#walletCard?.payee();
    this.#payeeInUse = JSON.stringify(payee);
    return { node: this.#node, ...payee, backend, secret: await sessionSecret() };
  }

  #listen() {
    /** @type {(id: string, action: () => void) => void} */
    const onClick = (id, action) => this.#button(id).addEventListener("click", action);
    onClick("agree", () => this.#giveConsent());
    onClick("decline", () => this.#decline());
    onClick("ask", () => {
      this.#showConsent(undefined);
      this.#button("agree").focus();
    });
    onClick("withdraw", () => this.#withdrawConsent());
    onClick("start", () => this.start());
    onClick("pause", () => (this.state === "paused" ? this.resume() : this.pause()));
    onClick("finish", () => this.finish());
    onClick("stop", () => this.stop());
    onClick("clear", async () => {
      this.#part("unsubmitted").hidden = !this.#submissions.hasPending;
      await clearCache({ keepWork: this.#submissions.hasPending });
      await this.#showCacheSize();
    });
    onClick("discard", async () => {
      this.#part("unsubmitted").hidden = true;
      await clearCache();
      await this.#showCacheSize();
    });
    onClick("show-key", async () => {
      await this.#showKeyCard();
      await this.#keyCard.reveal();
    });
    onClick("copy", () => navigator.clipboard.writeText(this.#diagnostics()));
    const findings = this.#part("findings");
    runOnClick(this.#button("test"), findings, checkDevice);
    runOnClick(this.#button("verify"), findings, () => {
      const receipt = find(this.#root, "#receipt", HTMLTextAreaElement).value;
      return verifyReceipt(receipt, { node: this.#node, backend: this.#settings.backend });
    });
  }

  /**
   * Watches the device, the page and the clock.
   * @param {AbortSignal} signal aborted when the element leaves the document
   */
  #watch(signal) {
    const pausesOn = (/** @type {Condition} */ condition) => this.#settings.pausesOn(condition);
    this.#applyConditions = watchConditions(this.#session.pauses, pausesOn, signal);
    document.addEventListener("visibilitychange", () => this.#updateWakeLock(), { signal });
    const timer = setInterval(() => {
      if (this.#session.active) this.#statistics.showRates();
    }, RATES_UPDATE_MS);
    signal.addEventListener("abort", () => clearInterval(timer));
  }

  /** Returns what a bug report needs: the versions, the settings, the device and the log. It contains no secrets. */
  #diagnostics() {
    const { backend, intensity } = this.#settings;
    const lowerings = Array.from(this.#part("lowerings").children, ({ textContent }) => textContent).join(", ");
    return [
      navigator.userAgent,
      `miner ${VERSION}`,
      `node ${this.#node}`,
      `backend ${backend}, intensity ${intensity}`,
      `device: ${this.#part("device").textContent}. ${this.#part("device-reason").textContent} ${lowerings}`,
      this.#log,
    ].join("\n");
  }

  #applySettings() {
    this.#applyConditions();
    this.#updateWakeLock();
  }

  async #giveConsent() {
    await saveSetting("consent", Date.now());
    this.#emit("consent", { given: true });
    this.#showConsent(Date.now());
    this.#button("start").focus();
  }

  async #decline() {
    await saveSetting("consent", 0);
    this.#emit("consent", { given: false });
    this.#showConsent(0);
    this.#button("ask").focus();
  }

  async #withdrawConsent() {
    this.stop();
    await deleteSetting("consent");
    this.#emit("consent", { given: false });
    this.#showConsent(undefined);
  }

  /** Resets the statistics of the session, and starts the timer that ends the session at its time limit. */
  #beginSession() {
    this.#statistics.beginSession();
    const { minutes } = this.#settings;
    clearTimeout(this.#limitTimer);
    if (minutes <= 0) return;
    const reason = `Stopped after ${minutes} minutes, the limit in the settings.`;
    this.#limitTimer = setTimeout(() => this.#session.finish(reason), 60_000 * minutes);
  }

  /** @param {MinerEvent} event */
  #handleEvent(event) {
    if (event.event !== "progress" && event.event !== "state") this.#log.add(summarize(event));
    switch (event.event) {
      case "backend":
        this.#devicePanel.show(event);
        break;
      case "claimed":
        this.#part("task").textContent =
          `round ${event.round} · chunk ${shortenCid(event.chunk)} · seed ${event.seed.slice(0, 8)}`;
        this.#emit("step", { stage: "claimed", task: event.task });
        break;
      case "progress":
        this.#showProgress(event.share);
        this.#emit("progress", { share: event.share });
        break;
      case "computed":
      case "found":
        this.#showProgress(1);
        this.#statistics.addComputed();
        this.#submissions.addComputed(event);
        this.#emit("step", { stage: "computed", task: event.task, cid: event.cid });
        break;
      case "stored":
        this.#emit("step", { stage: "stored" });
        break;
      case "submitted":
        this.#emit("step", { stage: "submitted", id: event.id });
        break;
      case "accepted":
        this.#showProgress(0);
        this.#statistics.addAccepted(event);
        this.#submissions.addAccepted(event);
        this.#devicePanel.showMemory(event.memoryBytes);
        this.#emit("submit", { cid: event.cid, transaction: event.transaction });
        this.#emit("reward", { reward: event.reward, balance: event.balance });
        this.#refreshWalletCard();
        break;
      case "rejected":
        this.#statistics.addRejected();
        this.#submissions.addRejected(event);
        this.#emit("error", { message: event.reason });
        break;
    }
  }

  /** @param {string} message */
  #reportFailure(message) {
    this.#log.add(`failed: ${message}`);
    this.#emit("error", { message });
  }

  async #refreshWalletCard() {
    try {
      await this.#walletCard?.refresh();
    } catch (error) {
      this.#log.add(`could not read the session from the node: ${errorMessage(error)}`);
    }
  }

  /** @param {number} share the completed share of the current task, from 0 to 1 */
  #showProgress(share) {
    find(this.#root, "#progress", HTMLProgressElement).value = share;
  }

  #showState() {
    const { state, reason, active } = this.#session;
    const focused = this.#root.activeElement;
    this.dataset.state = state;
    this.#part("state").textContent = STATE_TEXTS[state];
    this.#part("reason").textContent = reason;
    this.#button("start").disabled = active;
    for (const id of ["pause", "finish", "stop"]) this.#button(id).disabled = !active;
    this.#button("pause").textContent = state === "paused" ? "Resume" : "Pause";
    // a disabled button loses the keyboard focus
    if (focused instanceof HTMLButtonElement && focused.disabled) this.#button(active ? "pause" : "start").focus();
    this.#log.add(reason ? `${state}: ${reason}` : state);
    this.#emit("state", { state, reason });
    if (!active) {
      clearTimeout(this.#limitTimer);
      this.#showCacheSize();
    }
    if (state === "error") this.#refreshWalletCard();
    this.#updateWakeLock();
  }

  /** @param {number | undefined} consent the stored setting */
  #showConsent(consent) {
    this.#part("consent").hidden = consent !== undefined;
    this.#part("declined").hidden = consent !== 0;
    this.#part("controls").hidden = !consent;
  }

  async #showCacheSize() {
    this.#part("size").textContent = formatMegabytes(await cacheSize());
  }

  /** Keeps the screen awake while a session is running in a visible tab, if the settings say so. */
  async #updateWakeLock() {
    if (!this.#settings.awake || !this.#session.active || document.hidden) {
      await this.#wakeLock?.release();
      this.#wakeLock = undefined;
    } else if (!this.#wakeLock || this.#wakeLock.released) {
      this.#wakeLock = await navigator.wakeLock?.request("screen").catch(() => undefined);
    }
  }

  /**
   * Dispatches the event `r3mes:<name>` from this element.
   * @template {keyof MinerDetails} Name
   * @param {Name} name
   * @param {MinerDetails[Name]} detail
   */
  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(`r3mes:${name}`, { detail, bubbles: true, composed: true }));
  }

  /** @param {string} id */
  #part(id) {
    return find(this.#root, `#${id}`, HTMLElement);
  }

  /** @param {string} id */
  #button(id) {
    return find(this.#root, `#${id}`, HTMLButtonElement);
  }
}

/**
 * Returns a log entry for an event of the engine: the event's name and its most important fields.
 * @param {MinerEvent} event
 */
function summarize(event) {
  const { name, cid, task, transaction, reason } = /** @type {Record<string, unknown>} */ (event);
  return [event.event, name, cid ?? task, transaction, reason].filter(Boolean).join(" ");
}

if (globalThis.customElements && !customElements.get("r3mes-miner")) customElements.define("r3mes-miner", R3mesMiner);
