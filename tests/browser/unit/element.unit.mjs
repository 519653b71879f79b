// Tests that the element <r3mes-miner> shows the correct texts and controls after each event of the WebAssembly engine,
// which computes the gradients. The browser document and the engine are emulated; the browser tests run the real
// engine.

import assert from "node:assert/strict";
import { before, test } from "node:test";
import { FakeWorker, installPage, setGlobal, settle } from "./environment.mjs";

/** @import { MinerEvent } from "../../../www/r3mes_www.js" */

await installPage("<r3mes-miner intensity='0.25'></r3mes-miner>");
setGlobal("matchMedia", () => new EventTarget());
const ANSWERS = { grants: [], balances: [{ amount: "7000000" }], miner_score: { escrow: "0" } };
setGlobal("fetch", async () => ({ ok: true, status: 200, json: async () => ANSWERS }));
FakeWorker.answers = { create: () => "remes1own", setIntensity: () => undefined, sessionAddress: () => "remes1own" };

/** @type {import("../../../www/r3mes-miner.js").R3mesMiner} */
let miner;
/** @type {[type: string, detail: any][]} the events of the element */
const events = [];

before(async () => {
  await import("../../../www/r3mes-miner.js");
  miner = /** @type {typeof miner} */ (document.querySelector("r3mes-miner"));
  for (const type of ["state", "step", "submit", "reward", "error", "consent", "needs-consent"]) {
    miner.addEventListener(`r3mes:${type}`, (event) => events.push([type, /** @type {CustomEvent} */ (event).detail]));
  }
  await settle();
});

/** @param {string} id */
const part = (id) => /** @type {HTMLInputElement} */ (miner.shadowRoot?.getElementById(id));
/** @param {string} id */
const textOf = (id) => part(id).textContent;

/** @param {string} id */
async function click(id) {
  part(id).click();
  await settle();
}

/** @param {MinerEvent} event */
async function report(event) {
  FakeWorker.latest.report(event);
  await settle();
}

test("before consent only the question is shown, and start() has no effect", async () => {
  assert.deepEqual([part("consent").hidden, part("controls").hidden], [false, true]);
  assert.deepEqual(events, [["state", { state: "ready", reason: "" }]]);
  await miner.start();
  assert.deepEqual([miner.state, FakeWorker.opened.length], ["ready", 0]);
  assert.deepEqual(events.pop(), ["needs-consent", {}]);
});

test("a visitor who declines is asked again only on request", async () => {
  await click("decline");
  assert.deepEqual([part("consent").hidden, part("declined").hidden, part("controls").hidden], [true, false, true]);
  assert.deepEqual(events.pop(), ["consent", { given: false }]);
  await click("ask");
  assert.deepEqual([part("consent").hidden, part("declined").hidden], [false, true]);
});

test("the attribute sets the intensity of a visitor who has set none", () => {
  assert.equal(textOf("intensity-value"), "25 % of the time");
});

test("after consent Start opens the engine with the visitor's settings", async () => {
  await click("agree");
  assert.deepEqual([part("consent").hidden, part("controls").hidden], [true, false]);
  await click("start");
  assert.deepEqual(FakeWorker.latest.called, ["create", "setIntensity", "start"]);
  const [[options]] = /** @type {[[Record<string, unknown>]]} */ ([FakeWorker.latest.calls[0].arguments]);
  assert.deepEqual([options.node, options.backend, options.payout], ["http://127.0.0.1:7717", "auto", undefined]);
  assert.deepEqual(FakeWorker.latest.calls[1].arguments, [0.25]);
  assert.equal(textOf("address"), "remes1own");
});

test("the visitor can save the key that is paid; then the card disappears", async () => {
  const card = part("key-card");
  /** @param {string} name */
  const inside = (name) => /** @type {HTMLElement} */ (card.querySelector(`[data-at=${name}]`));
  assert.deepEqual([card.hidden, textOf("payee"), inside("key").textContent], [false, "this browser's own key", ""]);
  inside("show").click();
  await settle();
  assert.match(inside("key").textContent ?? "", /^[0-9a-f]{64}$/);
  inside("saved").click();
  await settle();
  assert.deepEqual([card.hidden, inside("key").textContent], [true, ""]);
});

test("the device is shown with the reason for its choice", async () => {
  const device = {
    name: "Test GPU",
    class: "vendor architecture",
    software: true,
    bufferBytes: 2e9,
    bindingBytes: 1e9,
  };
  await report({ event: "backend", backend: "gpu", reason: "chosen", lowerings: ["a: x", "b: y"], ...device });
  assert.equal(textOf("device"), "Test GPU, a software GPU");
  assert.equal(textOf("device-reason"), "Using the GPU: chosen.");
  assert.match(textOf("device-facts"), /WebGPU.*2000\.0 MB.*1000\.0 MB/);
  assert.equal(part("lowerings").children.length, 2);
});

test("an accepted task is counted, and a rejected one shows its reason", async () => {
  const [cid, task, receipt, chunk] = ["bafyartifact", "bafytask", "{}", "bafychunkchunk"];
  await report({ event: "state", state: "mining", reason: "" });
  await report({ event: "claimed", task, chunk, seed: "ab".repeat(32), round: 3 });
  assert.equal(textOf("task"), "round 3 · chunk bafych…kchunk · seed abababab");
  await report({ event: "progress", share: 0.5 });
  assert.equal(Number(part("progress").value), 0.5);
  await report({ event: "computed", cid, task, receipt });
  assert.deepEqual([textOf("pending"), textOf("accepted")], ["1", "0"]);
  const money = { reward: 1e6, balance: 2e6, escrow: 5e5 };
  const result = { transaction: "AB12", gradientDigest: "cd34", round: 3, loss: 5.25, tokens: 2048, memoryBytes: 3e6 };
  await report({ event: "accepted", cid, receipt, ...result, ...money });
  assert.deepEqual([textOf("pending"), textOf("accepted"), textOf("share")], ["0", "1", "100 %"]);
  assert.deepEqual([textOf("earned"), textOf("balance")], ["1 R3MES", "2 R3MES + 0.5 R3MES in escrow"]);
  assert.deepEqual([textOf("loss"), textOf("memory")], ["5.2500", "3.0 MB"]);
  assert.match(textOf("submissions"), /accepted5\.25001 R3MESbafyartifactcd34AB12Show$/);

  await report({ event: "found", cid: "bafysecond", task, receipt });
  await report({ event: "rejected", transaction: "EF56", code: 4, reason: "too late" });
  assert.deepEqual([textOf("pending"), textOf("share")], ["0", "50 %"]);
  assert.match(textOf("submissions"), /rejected: too late––bafysecond–EF56/);
  assert.match(textOf("log"), /found bafysecond.*rejected EF56 too late/);
  const types = events.map(([type, { stage }]) => stage ?? type);
  assert.deepEqual(types.slice(-7), ["state", "claimed", "computed", "submit", "reward", "computed", "error"]);
});

test("a new submission does not replace the rows of others, which keep the keyboard focus", async () => {
  const [first, second] = Array.from(part("submissions").children);
  await report({ event: "found", cid: "bafyrow", task: "bafytask", receipt: "{}" });
  assert.equal(part("submissions").children.length, 3);
  assert.deepEqual([part("submissions").children[1], part("submissions").children[2]], [first, second]);
  await report({ event: "rejected", transaction: "EF56", code: 4, reason: "too late" });
  assert.equal(part("submissions").children[1], first);
});

test("Pause, Resume and Stop are shown", async () => {
  await click("pause");
  assert.deepEqual([textOf("state"), textOf("reason"), textOf("pause")], ["Paused.", "You paused mining.", "Resume"]);
  await click("pause");
  assert.deepEqual([textOf("state"), textOf("reason"), textOf("pause")], ["Mining.", "", "Pause"]);
  await click("stop");
  assert.deepEqual([textOf("state"), miner.dataset.state, FakeWorker.latest.terminated], ["Stopped.", "stopped", true]);
  assert.deepEqual([part("start").disabled, part("stop").disabled], [false, true]);
});

test("a restart after a failure continues the session's earnings; a new session begins at zero", async () => {
  await click("start");
  const accepted = { cid: "bafythird", receipt: "{}", transaction: "", gradientDigest: "", round: 3, tokens: 2048 };
  await report({ event: "accepted", ...accepted, reward: 1e6, balance: 3e6, escrow: 0, memoryBytes: 3e6 });
  assert.equal(textOf("loss"), "void");
  FakeWorker.latest.fail("start", "Backend", "the device was lost");
  await new Promise((resolve) => setTimeout(resolve, 1200));
  assert.equal(textOf("earned"), "1 R3MES");
  assert.match(textOf("log"), /failed: the device was lost.*opening: the device was lost; retrying in 1 s/);
  await click("stop");
  await click("start");
  assert.equal(textOf("earned"), "0 R3MES");
  await click("stop");
});

test("the log is filtered", () => {
  const all = part("log").children.length;
  part("filter").value = "BAFYSECOND";
  part("filter").dispatchEvent(new Event("input"));
  assert.equal(part("log").children.length, 1);
  part("filter").value = "";
  part("filter").dispatchEvent(new Event("input"));
  assert.equal(part("log").children.length, all);
});

test("a payout address is stored and paid; withdrawing consent hides the controls", async () => {
  const field = /** @type {HTMLInputElement} */ (part("wallet").querySelector("[data-at=payout]"));
  field.value = " remes1payee ";
  field.dispatchEvent(new Event("change"));
  await click("start");
  const [[options]] = /** @type {[[Record<string, unknown>]]} */ ([FakeWorker.latest.calls[0].arguments]);
  assert.equal(options.payout, "remes1payee");
  await click("withdraw");
  assert.deepEqual([miner.state, part("consent").hidden, part("controls").hidden], ["stopped", false, true]);
  assert.deepEqual(events.at(-1), ["consent", { given: false }]);
});

test("setting the attribute changes the intensity, limited to its range", () => {
  miner.setAttribute("intensity", "0.6");
  assert.equal(textOf("intensity-value"), "60 % of the time");
  const balanced = /** @type {HTMLInputElement} */ (miner.shadowRoot?.querySelector("[name=preset][value='0.6']"));
  assert.ok(balanced.checked);
  miner.setAttribute("intensity", "7");
  assert.equal(textOf("intensity-value"), "100 % of the time");
});

test("a new address, backend or node of the host is used at once, unless the visitor has chosen another address", async () => {
  const field = /** @type {HTMLInputElement} */ (part("wallet").querySelector("[data-at=payout]"));
  const latestOptions = () => /** @type {[Record<string, unknown>]} */ (FakeWorker.latest.calls[0].arguments)[0];
  await click("agree");
  await click("start");
  miner.setAttribute("address", "remes1host");
  await settle();
  assert.deepEqual([latestOptions().payout, miner.state], ["remes1payee", "opening"]);
  field.value = "";
  field.dispatchEvent(new Event("change"));
  await settle();
  assert.deepEqual([miner.state, textOf("payee"), textOf("balance")], ["stopped", "remes1host", "7 R3MES"]);
  await click("start");
  assert.equal(latestOptions().payout, "remes1host");
  const opened = FakeWorker.opened.length;
  miner.setAttribute("backend", "cpu");
  await settle();
  miner.setAttribute("address", "remes1other");
  await settle();
  assert.deepEqual([latestOptions().backend, latestOptions().payout], ["cpu", "remes1other"]);
  assert.deepEqual([FakeWorker.opened.length, miner.state], [opened + 2, "opening"]);
  miner.setAttribute("node", "http://127.0.0.1:9");
  await settle();
  assert.equal(latestOptions().node, "http://127.0.0.1:9");
  await click("stop");
});

test("Clear keeps a gradient that is not submitted yet, and asks whether to delete it", async () => {
  await click("start");
  await report({ event: "computed", cid: "bafyfourth", task: "bafytask", receipt: "{}" });
  await click("clear");
  assert.equal(part("unsubmitted").hidden, false);
  await click("discard");
  assert.equal(part("unsubmitted").hidden, true);
  await click("stop");
});

test("an element that leaves the document stops, and watches nothing any more", async () => {
  /** @type {FrameRequestCallback[]} */
  const frames = [];
  setGlobal("requestAnimationFrame", (/** @type {FrameRequestCallback} */ frame) => frames.push(frame));
  miner.remove();
  document.body.append(miner);
  assert.equal(frames.length, 1, "the element measures the frame rate while it is in the document");
  frames[0](0);
  assert.equal(frames.length, 2);
  miner.remove();
  frames[1](0);
  assert.equal(frames.length, 2);
  setGlobal("requestAnimationFrame", () => 0);
});
