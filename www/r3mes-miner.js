// <r3mes-miner>: the miner as an element, for this page and for any other.
//
// Attributes: node (URL; the page's own origin if left out), address (who is paid), intensity (0.05 to 1), backend
// (auto, gpu, cpu), autostart (heeded only after consent). Methods: start, pause, resume, finish, stop.
// Events: r3mes:state, r3mes:step, r3mes:submit, r3mes:reward, r3mes:error, r3mes:consent.

import { cacheSize, clearCache } from "./cache.js";
import { Chart } from "./chart.js";
import { Engine } from "./engine.js";
import { forget, record, remember, secret, setting, submission, submissions } from "./records.js";

const LOCK = "r3mes-miner";
/** Restarts after the engine failed, before giving up. */
const RESTARTS = 3;
const MINUTE = 60_000;
const SHOWN = 50;

const template = document.createElement("template");
template.innerHTML = `
  <link rel="stylesheet" href="${new URL("./miner.css", import.meta.url)}" />
  <section id="consent" aria-labelledby="consent-title" hidden>
    <h2 id="consent-title">May this page compute for you?</h2>
    <p>It trains a small adapter of a language model on this device: your GPU or processor works, uses power and gets
      warm. What it earns goes to the address below, or to a key that this browser keeps. Texts and results are public.
      Nothing starts by itself.</p>
    <p><button id="agree" type="button">I agree</button></p>
  </section>
  <section id="controls" aria-label="Mining" hidden>
    <p class="buttons">
      <button id="start" type="button">Start</button>
      <button id="pause" type="button" disabled>Pause</button>
      <button id="finish" type="button" disabled>Finish</button>
      <button id="stop" type="button" disabled>Stop</button>
    </p>
    <p id="state" role="status"></p>
    <p id="reason"></p>
    <dl>
      <div><dt>Rate</dt><dd id="rate">–</dd></div>
      <div><dt>Loss</dt><dd id="loss">–</dd></div>
      <div><dt>Accepted</dt><dd id="accepted">0</dd></div>
      <div><dt>Balance</dt><dd id="balance">–</dd></div>
    </dl>
    <canvas id="chart" role="img" aria-label="Loss of each accepted task"></canvas>
    <details id="device-card"><summary>Runs on: <span id="device">not started</span></summary><p id="device-reason"></p><ul id="lowerings"></ul></details>
    <details>
      <summary>Settings</summary>
      <p><label>Paid to <input id="address" autocomplete="off" spellcheck="false" placeholder="this browser's own key" /></label></p>
      <p><label>Intensity <select id="intensity"><option value="0.25">Eco</option><option value="0.6">Balanced</option><option value="1">Max</option></select></label>
        <label>Backend <select id="backend"><option value="auto">automatic</option><option value="gpu">GPU</option><option value="cpu">CPU</option></select></label></p>
      <p><label><input id="battery" type="checkbox" /> Pause on battery</label>
        <label><input id="hidden" type="checkbox" /> Pause when this tab is hidden</label>
        <label><input id="awake" type="checkbox" /> Keep the screen awake</label></p>
      <p>Kept on this device: <span id="size">–</span> <button id="clear" type="button">Clear</button>
        <button id="revoke" type="button">Take consent back</button></p>
    </details>
    <details open>
      <summary>Submissions</summary>
      <div class="wide"><table><thead><tr><th>Time</th><th>Status</th><th>Loss</th><th>CID</th></tr></thead><tbody id="submissions"></tbody></table></div>
    </details>
    <details><summary>Log</summary><ol id="log"></ol><p><button id="copy" type="button">Copy diagnostics</button></p></details>
  </section>`;

/** What each state says. */
const STATES = {
  ready: "Ready.",
  opening: "Getting ready.",
  mining: "Mining.",
  paused: "Paused.",
  waiting: "Waiting.",
  offline: "The node does not answer.",
  finishing: "Finishing this task.",
  stopped: "Stopped.",
  elsewhere: "Another tab of this browser is mining.",
  error: "Something failed.",
};
const ACTIVE = new Set(["opening", "mining", "paused", "waiting", "offline", "finishing"]);

export class R3mesMiner extends HTMLElement {
  static observedAttributes = ["intensity"];

  #root = this.attachShadow({ mode: "open" });
  #engine;
  #state = "ready";
  #reason = "";
  #release;
  #restarts = 0;
  #run = 0;
  #pauses = new Set();
  #rates = [];
  #accepted = 0;
  #log = [];
  #chart;
  #wakeLock;
  #battery;

  async connectedCallback() {
    if (this.#chart) return;
    this.#root.append(template.content.cloneNode(true));
    this.#chart = new Chart(this.#at("chart"));
    this.#listen();
    await this.#restore();
    this.#tell("ready");
    if (this.hasAttribute("autostart") && (await setting("consent"))) this.start();
  }

  disconnectedCallback() {
    this.stop();
  }

  attributeChangedCallback() {
    this.#engine?.call("setIntensity", [this.#intensity()]);
  }

  /** `ready`, `mining`, … */
  get state() {
    return this.#state;
  }

  /** Starts, if consent was given and no other tab mines. */
  async start() {
    if (ACTIVE.has(this.#state)) return;
    if (!(await setting("consent"))) return this.#show("consent");
    const release = await this.#lock();
    if (!release) return this.#tell("elsewhere", "One miner a browser is enough; close the other tab or stop it there.");
    this.#release = release;
    this.#restarts = 0;
    await this.#work();
  }

  pause() {
    this.#hold("you", true);
  }

  resume() {
    this.#pauses.clear();
    this.#applyPauses();
  }

  /** Completes the task at hand, then stops. */
  finish() {
    if (!ACTIVE.has(this.#state)) return;
    this.#pauses.clear();
    this.#tell("finishing");
    this.#engine?.call("finish").catch(() => {});
  }

  /** Stops at once: when this returns, nothing runs and nothing is sent any more. */
  stop() {
    if (!this.#engine) return;
    this.#run += 1;
    this.#end();
    this.#tell("stopped", "The task at hand stays claimed; starting again completes it.");
  }

  async #work() {
    const run = ++this.#run;
    this.#tell("opening");
    const engine = new Engine((error) => this.#failed(run, error));
    this.#engine = engine;
    const options = {
      node: this.getAttribute("node") || location.origin,
      payout: this.#at("address").value.trim() || undefined,
      backend: this.#at("backend").value,
      secret: await secret(),
    };
    try {
      const own = await engine.call("create", [options], (event) => this.#run === run && this.#hear(event));
      this.#at("address").placeholder = own;
      await engine.call("setIntensity", [this.#intensity()]);
      const mining = engine.call("start");
      this.#applyPauses();
      await mining;
      if (this.#run !== run) return;
      this.#end();
      this.#tell("stopped", "The last task is done.");
    } catch (error) {
      this.#failed(run, error);
    }
  }

  /** Begins anew after a pause; after three failures in a row it gives up and says why. */
  #failed(run, error) {
    if (this.#run !== run) return;
    this.#note(`failed: ${error.message}`);
    this.#run += 1;
    this.#engine?.terminate();
    this.#engine = undefined;
    this.#emit("error", { message: error.message });
    this.#restarts += 1;
    if (this.#restarts > RESTARTS || /refused|another address|no address/.test(error.message)) {
      this.#end();
      return this.#tell("error", error.message);
    }
    const seconds = 2 ** (this.#restarts - 1);
    this.#tell("opening", `${error.message}. Starting again in ${seconds} s.`);
    const next = this.#run;
    setTimeout(() => this.#run === next && this.#work(), 1000 * seconds);
  }

  #end() {
    this.#engine?.terminate();
    this.#engine = undefined;
    this.#pauses.clear();
    this.#release?.();
    this.#release = undefined;
  }

  /** Resolves to what gives the lock back, or to nothing where another tab has it. */
  #lock() {
    if (!navigator.locks) return Promise.resolve(() => {});
    return new Promise((got) => {
      navigator.locks.request(LOCK, { ifAvailable: true }, (lock) => {
        if (!lock) return got(undefined);
        return new Promise((release) => got(release));
      });
    });
  }

  #hear(event) {
    if (event.event === "state") {
      if (event.state === "mining") this.#applyPauses();
      if (event.state === "stopped" || (event.state === "mining" && this.#state === "finishing")) return;
      this.#tell(event.state, event.reason);
    } else if (event.event === "backend") {
      this.#at("device").textContent = event.software ? `${event.name}, a software GPU` : event.name;
      this.#at("device-reason").textContent = event.reason;
      this.#at("lowerings").replaceChildren(...event.lowerings.map((text) => element("li", text)));
      this.#note(`runs on ${event.name}: ${event.reason}`);
    } else if (event.event === "stage") {
      this.#note(`${event.stage} ${event.cid}`.trim());
      this.#emit("step", { stage: event.stage, cid: event.cid });
      if (event.stage === "computed") this.#keep({ cid: event.cid, status: "pending", time: Date.now(), receipt: event.receipt });
    } else if (event.event === "accepted") {
      this.#restarts = 0;
      this.#accepted += 1;
      this.#rates.push({ time: Date.now(), tokens: 2048, seconds: event.seconds });
      this.#keep({ ...event, status: "accepted", time: Date.now() });
      this.#chart.add(event.loss);
      this.#at("balance").textContent = coins(event.balance);
      this.#at("loss").textContent = event.loss?.toFixed(4) ?? "void";
      this.#at("accepted").textContent = this.#accepted;
      this.#rate();
      this.#emit("submit", { cid: event.cid, transaction: event.transaction });
      this.#emit("reward", { balance: event.balance });
    }
  }

  async #keep(entry) {
    await record({ ...(await submission(entry.cid)), ...entry });
    await this.#list();
  }

  async #list() {
    const rows = (await submissions()).slice(0, SHOWN).map((entry) => {
      const cid = element("td", entry.cid);
      cid.className = "digest";
      return element("tr", element("td", new Date(entry.time).toLocaleTimeString()), element("td", entry.status), element("td", entry.loss?.toFixed(4) ?? "–"), cid);
    });
    this.#at("submissions").replaceChildren(...rows);
  }

  #rate() {
    const recent = this.#rates.filter(({ time }) => time > Date.now() - 15 * MINUTE);
    const sum = (of) => recent.reduce((sum, entry) => sum + entry[of], 0);
    this.#at("rate").textContent = recent.length ? `${Math.round(sum("tokens") / sum("seconds"))} tokens/s` : "–";
  }

  // Pauses: each has a reason, and lasts while one is left.

  #hold(reason, held) {
    if (held) this.#pauses.add(reason);
    else this.#pauses.delete(reason);
    this.#applyPauses();
  }

  #applyPauses() {
    if (!this.#engine || !ACTIVE.has(this.#state) || this.#state === "opening" || this.#state === "finishing") return;
    const [reason] = this.#pauses;
    if (reason) this.#engine.call("pause", [`Paused by ${reason}.`]).catch(() => {});
    else if (this.#state === "paused") this.#engine.call("resume").catch(() => {});
  }

  #watch() {
    const hidden = () => this.#hold("the hidden tab", this.#at("hidden").checked && document.hidden);
    document.addEventListener("visibilitychange", hidden);
    this.#at("hidden").addEventListener("change", hidden);
    const battery = () => this.#hold("the battery: this device is not plugged in", this.#at("battery").checked && this.#battery?.charging === false);
    this.#at("battery").addEventListener("change", battery);
    navigator.getBattery?.().then((found) => {
      this.#battery = found;
      found.addEventListener("chargingchange", battery);
      battery();
    }, () => {});
  }

  #listen() {
    const on = (id, work) => this.#at(id).addEventListener("click", work);
    on("agree", async () => {
      await remember("consent", Date.now());
      this.#emit("consent", { given: true });
      this.#show("controls");
      this.#at("start").focus();
    });
    on("revoke", async () => {
      this.stop();
      await forget("consent");
      this.#emit("consent", { given: false });
      this.#show("consent");
    });
    on("start", () => this.start());
    on("pause", () => (this.#state === "paused" ? this.resume() : this.pause()));
    on("finish", () => this.finish());
    on("stop", () => this.stop());
    on("clear", async () => {
      await clearCache();
      this.#size();
    });
    on("copy", () => navigator.clipboard.writeText(this.#log.join("\n")));
    for (const id of ["address", "intensity", "backend", "battery", "hidden", "awake"]) {
      this.#at(id).addEventListener("change", ({ target }) => remember(id, target.type === "checkbox" ? target.checked : target.value));
    }
    this.#at("intensity").addEventListener("change", ({ target }) => this.setAttribute("intensity", target.value));
    this.#at("awake").addEventListener("change", () => this.#stayAwake());
    this.#watch();
  }

  async #restore() {
    for (const [id, otherwise] of Object.entries({
      address: this.getAttribute("address") ?? "",
      intensity: this.getAttribute("intensity") ?? "0.6",
      backend: this.getAttribute("backend") ?? "auto",
      battery: true,
      hidden: false,
      awake: false,
    })) {
      const value = (await setting(id)) ?? otherwise;
      const field = this.#at(id);
      if (field.type === "checkbox") field.checked = value;
      else field.value = value;
    }
    const past = await submissions();
    const done = past.filter(({ status }) => status === "accepted");
    this.#accepted = done.length;
    this.#at("accepted").textContent = done.length;
    if (done.length) this.#at("balance").textContent = coins(done[0].balance);
    for (const { loss } of done.slice(0, 200).reverse()) this.#chart.add(loss);
    await this.#list();
    this.#size();
    this.#show((await setting("consent")) ? "controls" : "consent");
  }

  async #size() {
    this.#at("size").textContent = `${((await cacheSize()) / 1e6).toFixed(1)} MB`;
  }

  async #stayAwake() {
    await this.#wakeLock?.release();
    this.#wakeLock = undefined;
    if (this.#at("awake").checked && ACTIVE.has(this.#state)) this.#wakeLock = await navigator.wakeLock?.request("screen").catch(() => undefined);
  }

  #intensity() {
    return Number(this.getAttribute("intensity") ?? this.#at("intensity").value) || 1;
  }

  #show(section) {
    for (const id of ["consent", "controls"]) this.#at(id).hidden = id !== section;
  }

  #tell(state, reason = "") {
    const changed = state !== this.#state;
    this.#state = state;
    this.#reason = reason;
    this.dataset.state = state;
    this.#at("state").textContent = STATES[state];
    this.#at("reason").textContent = reason;
    const active = ACTIVE.has(state);
    this.#at("start").disabled = active;
    for (const id of ["pause", "finish", "stop"]) this.#at(id).disabled = !active;
    this.#at("pause").textContent = state === "paused" ? "Resume" : "Pause";
    if (changed) {
      this.#note(`${state}${reason ? `: ${reason}` : ""}`);
      this.#stayAwake();
      if (state === "opening" || !active) this.#size();
    }
    this.#emit("state", { state, reason });
  }

  #note(text) {
    this.#log.push(`${new Date().toISOString()} ${text}`);
    if (this.#log.length > 500) this.#log.shift();
    const list = this.#at("log");
    list.append(element("li", this.#log.at(-1)));
    while (list.children.length > 100) list.firstChild.remove();
  }

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(`r3mes:${name}`, { detail, bubbles: true, composed: true }));
  }

  #at(id) {
    return this.#root.getElementById(id);
  }
}

function element(name, ...children) {
  const made = document.createElement(name);
  made.append(...children);
  return made;
}

function coins(units) {
  return `${(units / 1e6).toLocaleString(undefined, { maximumFractionDigits: 6 })} R3MES`;
}

customElements.define("r3mes-miner", R3mesMiner);
