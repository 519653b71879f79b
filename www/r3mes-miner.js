// <r3mes-miner>: the miner as an element, for this page and for any other.
//
// Attributes: node (URL; the page's own origin if left out), address (who is paid), intensity (0.05 to 1), backend
// (auto, gpu, cpu), autostart (heeded only after consent). Property: signer (a provider of Keplr's shape, which the site
// brings). Methods: start, pause, resume, finish, stop.
// Events: r3mes:state, r3mes:step, r3mes:submit, r3mes:reward, r3mes:error, r3mes:consent.

import { cacheSize, clearCache } from "./cache.js";
import { Chart } from "./chart.js";
import { Device } from "./device.js";
import { coins, megabytes, row } from "./dom.js";
import { Engine } from "./engine.js";
import { Log } from "./log.js";
import { template } from "./markup.js";
import { watch } from "./pauses.js";
import { WINDOWS, Rates } from "./rates.js";
import { forget, remember, secret, setting } from "./records.js";
import { Session } from "./session.js";
import { Submissions } from "./submissions.js";
import { checkDevice, tool, verifyReceipt } from "./tools.js";
import { WalletCard } from "./wallet-card.js";

/** What each state says. */
const STATES = {
  ready: "Ready.",
  opening: "Getting ready.",
  mining: "Mining.",
  paused: "Paused.",
  waiting: "Waiting.",
  offline: "Offline.",
  finishing: "Finishing this task.",
  stopped: "Stopped.",
  elsewhere: "Another tab of this browser is mining.",
  error: "Something failed.",
};
const SETTINGS = {
  intensity: 0.6,
  backend: "auto",
  battery: true,
  hidden: false,
  frames: true,
  user: false,
  cap: 0,
  awake: false,
};
const CHARTED = 200;

export class R3mesMiner extends HTMLElement {
  static observedAttributes = ["intensity"];

  #root = this.attachShadow({ mode: "open" });
  #session = new Session(() => this.#options());
  #rates = new Rates();
  #submissions;
  #log;
  #chart;
  #device;
  #counts = { accepted: 0, rejected: 0, awaiting: 0, earned: 0 };
  #balance;
  #escrow = 0;
  #cap;
  #wakeLock;
  #wallet;
  #signer;
  /** Makes what wallets sign; loaded when it is first asked. */
  #clerk;

  async connectedCallback() {
    if (this.#log) return;
    this.#root.append(template.content.cloneNode(true));
    this.#chart = new Chart(this.#at("chart"), this.#at("chart-caption"));
    this.#device = new Device((id) => this.#at(id));
    this.#log = new Log(this.#at("log"), this.#at("filter"));
    this.#submissions = new Submissions(this.#at("submissions"));
    this.#listen();
    await this.#restore();
    this.#openWallet();
    this.#show(await this.#consented());
    this.#state(this.#session);
    if (this.hasAttribute("autostart") && (await this.#consented())) this.start();
  }

  disconnectedCallback() {
    this.stop();
  }

  attributeChangedCallback(_, before, after) {
    if (this.#log && before !== after) this.#setIntensity(Number(after));
  }

  /** `ready`, `mining`, … */
  get state() {
    return this.#session.state;
  }

  /** Offers a wallet that the site brings, beside those that the browser has. */
  set signer(provider) {
    this.#signer = provider;
    if (this.#wallet) this.#openWallet();
  }

  get signer() {
    return this.#signer;
  }

  /** Starts, if consent was given and no other tab mines. */
  async start() {
    if (!(await this.#consented())) return this.#show(false);
    await this.#session.start();
  }

  pause() {
    if (this.#session.active) this.#session.pauses.set("you", true, "Paused by you.");
  }

  /** Goes on, whatever the reason of the pause was. */
  resume() {
    this.#session.pauses.override();
  }

  /** Completes the task at hand, then stops. */
  finish() {
    this.#session.finish();
  }

  /** Stops at once: when this returns, nothing runs and nothing is sent any more. */
  stop() {
    this.#session.stop();
  }

  async #options() {
    await this.#wallet.ready;
    return {
      node: this.#node,
      ...this.#wallet.payer(),
      backend: this.#at("backend").value,
      secret: await secret(),
    };
  }

  #openWallet() {
    const engine = { call: (...given) => (this.#clerk ??= new Engine()).call(...given) };
    const changed = () => this.#session.stop("Who is paid has changed: start again.");
    const payout = this.getAttribute("address");
    this.#wallet = new WalletCard(this.#at("wallet"), {
      engine,
      node: this.#node,
      signer: this.#signer,
      payout,
      changed,
    });
  }

  get #node() {
    return this.getAttribute("node") || location.origin;
  }

  #consented() {
    return setting("consent");
  }

  #hear(event) {
    const heard = {
      backend: () => this.#device.show(event),
      claimed: () => {
        this.#at("task").textContent =
          `round ${event.round} · chunk ${short(event.chunk)} · seed ${event.seed.slice(0, 8)}`;
        this.#emit("step", { stage: "claimed", task: event.task });
      },
      progress: () => (this.#at("progress").value = event.share),
      computed: () => this.#computed(event),
      found: () => this.#computed(event),
      stored: () => this.#emit("step", { stage: "stored" }),
      submitted: () => this.#emit("step", { stage: "submitted", id: event.id }),
      accepted: () => this.#accepted(event),
      rejected: () => this.#rejected(event),
    };
    if (event.event !== "progress" && event.event !== "state") this.#log.note(summary(event));
    heard[event.event]?.();
  }

  #computed(event) {
    this.#counts.awaiting = 1;
    this.#at("progress").value = 1;
    this.#submissions.computed(event);
    this.#emit("step", { stage: "computed", task: event.task, cid: event.cid });
    this.#count();
  }

  #accepted(event) {
    this.#balance = event.balance;
    this.#escrow = event.escrow;
    this.#counts.accepted += 1;
    this.#counts.awaiting = 0;
    this.#counts.earned += event.reward;
    this.#rates.add(event.tokens);
    this.#chart.add(event.loss);
    this.#submissions.accepted(event);
    this.#at("loss").textContent = event.loss?.toFixed(4) ?? "void";
    this.#at("progress").value = 0;
    this.#device.memory(event.memoryBytes);
    this.#emit("submit", { cid: event.cid, transaction: event.transaction });
    this.#emit("reward", { reward: event.reward, balance: event.balance });
    this.#wallet.refresh();
    this.#count();
  }

  #rejected(event) {
    this.#counts.rejected += 1;
    this.#counts.awaiting = 0;
    this.#submissions.rejected(event);
    this.#emit("error", { message: event.reason });
    this.#count();
  }

  #count() {
    const { accepted, rejected, awaiting, earned } = this.#counts;
    this.#at("accepted").textContent = accepted;
    this.#at("awaiting").textContent = awaiting;
    this.#at("share").textContent =
      accepted + rejected ? `${Math.round((100 * accepted) / (accepted + rejected))} %` : "–";
    this.#at("earned").textContent = coins(earned);
    const held = this.#escrow ? ` + ${coins(this.#escrow)} in escrow` : "";
    if (this.#balance !== undefined) this.#at("balance").textContent = coins(this.#balance) + held;
    this.#showRates();
  }

  #showRates() {
    const rows = Object.entries(WINDOWS).map(([name, window]) => {
      const rate = this.#rates.over(window);
      return row(name, rate ? Math.round(rate.tokensPerSecond) : "–", rate ? rate.tasksPerMinute.toFixed(1) : "–");
    });
    this.#at("rates").replaceChildren(...rows);
  }

  #state({ state, reason }) {
    this.dataset.state = state;
    this.#at("state").textContent = STATES[state];
    this.#at("reason").textContent = reason;
    const { active } = this.#session;
    this.#at("start").disabled = active;
    for (const id of ["pause", "finish", "stop"]) this.#at(id).disabled = !active;
    this.#at("pause").textContent = state === "paused" ? "Resume" : "Pause";
    this.#log.note(reason ? `${state}: ${reason}` : state);
    this.#emit("state", { state, reason });
    if (!active) {
      clearTimeout(this.#cap);
      this.#cap = undefined;
      this.#size();
    }
    if (state === "error") this.#wallet.refresh();
    this.#stayAwake();
  }

  #began() {
    this.#rates.begin();
    this.#counts.earned = 0;
    const minutes = Number(this.#at("cap").value);
    if (minutes > 0)
      this.#cap = setTimeout(() => this.#session.finish(`Stopped after ${minutes} minutes, as set.`), 60_000 * minutes);
    this.#count();
  }

  #listen() {
    const on = (id, work) => this.#at(id).addEventListener("click", work);
    on("agree", async () => {
      await remember("consent", Date.now());
      this.#emit("consent", { given: true });
      this.#show(true);
      this.#at("start").focus();
    });
    on("revoke", async () => {
      this.stop();
      await forget("consent");
      this.#emit("consent", { given: false });
      this.#show(false);
    });
    on("start", () => this.start());
    on("pause", () => (this.state === "paused" ? this.resume() : this.pause()));
    on("finish", () => this.finish());
    on("stop", () => this.stop());
    on("clear", async () => {
      await clearCache();
      this.#size();
    });
    on("copy", () => navigator.clipboard.writeText(`${navigator.userAgent}\n${this.#log}`));
    tool(this.#at("test"), this.#at("findings"), checkDevice);
    const options = () => ({ node: this.#node, backend: this.#at("backend").value });
    tool(this.#at("verify"), this.#at("findings"), () => verifyReceipt(this.#at("receipt").value, options()));

    const look = watch(this.#session.pauses, (name) => this.#at(name).checked);
    for (const id of Object.keys(SETTINGS)) {
      this.#at(id).addEventListener("change", () => {
        remember(id, value(this.#at(id)));
        look();
      });
    }
    this.#at("intensity").addEventListener("input", ({ target }) => this.#setIntensity(Number(target.value)));
    for (const preset of this.#root.querySelectorAll("[name=preset]")) {
      preset.addEventListener("change", () => this.#setIntensity(Number(preset.value)));
    }
    this.#at("awake").addEventListener("change", () => this.#stayAwake());
    document.addEventListener("visibilitychange", () => this.#stayAwake());

    this.#session.addEventListener("state", ({ detail }) => {
      if (detail.state === "opening" && this.#cap === undefined && this.dataset.state !== "opening") this.#began();
      this.#state(detail);
    });
    this.#session.addEventListener("engine", ({ detail }) => this.#hear(detail));
    this.#session.addEventListener("address", ({ detail }) => (this.#at("address").textContent = detail));
    this.#session.addEventListener("failure", ({ detail }) => {
      this.#log.note(`failed: ${detail.message}`);
      this.#emit("error", { message: detail.message });
    });
    setInterval(() => this.#session.active && this.#showRates(), 5000);
  }

  async #restore() {
    for (const [id, otherwise] of Object.entries(SETTINGS)) {
      const field = this.#at(id);
      const known = (await setting(id)) ?? this.getAttribute(id) ?? otherwise;
      if (field.type === "checkbox") field.checked = known;
      else field.value = known;
    }
    this.#setIntensity(Number(this.#at("intensity").value));
    const past = await this.#submissions.restore();
    const accepted = past.filter(({ status }) => status === "accepted");
    this.#counts.accepted = accepted.length;
    this.#counts.rejected = past.filter(({ status }) => status === "rejected").length;
    this.#balance = accepted[0]?.balance;
    this.#escrow = accepted[0]?.escrow;
    for (const { loss } of accepted.slice(0, CHARTED).reverse()) this.#chart.add(loss);
    this.#count();
    this.#size();
  }

  #setIntensity(share) {
    this.#session.intensity = share;
    this.#at("intensity").value = share;
    this.#at("intensity-value").textContent = `${Math.round(100 * share)} % of the time`;
    for (const preset of this.#root.querySelectorAll("[name=preset]")) preset.checked = Number(preset.value) === share;
    remember("intensity", share);
  }

  async #size() {
    this.#at("size").textContent = megabytes(await cacheSize());
  }

  async #stayAwake() {
    const wanted = this.#at("awake").checked && this.#session.active && !document.hidden;
    if (!wanted) {
      await this.#wakeLock?.release();
      this.#wakeLock = undefined;
    } else if (!this.#wakeLock || this.#wakeLock.released) {
      this.#wakeLock = await navigator.wakeLock?.request("screen").catch(() => undefined);
    }
  }

  #show(consented) {
    this.#at("consent").hidden = Boolean(consented);
    this.#at("controls").hidden = !consented;
  }

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(`r3mes:${name}`, { detail, bubbles: true, composed: true }));
  }

  #at(id) {
    return this.#root.getElementById(id);
  }
}

const value = (field) => (field.type === "checkbox" ? field.checked : field.value);

const short = (cid) => `${cid.slice(0, 6)}…${cid.slice(-6)}`;

/** An event of the engine in a line. */
function summary({ event, cid, task, transaction, reason, name }) {
  return [event, name, cid ?? task, transaction, reason].filter(Boolean).join(" ");
}

customElements.define("r3mes-miner", R3mesMiner);
