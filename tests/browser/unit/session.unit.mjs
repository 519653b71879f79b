// Tests that a mining session in the page reports the correct states, that it pauses, and that it restarts after
// failures. Also tests that only one tab can hold the lock that mining requires.

import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { Session, backoffSecs } from "../../../www/session.js";
import { FakeWorker, installWorkers, setGlobal, settle } from "./environment.mjs";

/** @import { MinerEvent, MinerOptions } from "../../../www/r3mes_www.js" */

installWorkers();
/** @type {string[]} the states so far */
let states;
/** @type {string[]} the messages of the failures so far */
let failures;

beforeEach(() => {
  [states, failures] = [[], []];
  FakeWorker.opened = [];
  FakeWorker.answers = { create: () => "remes1own", setIntensity: () => undefined };
});

function newSession() {
  /** @type {MinerOptions} */
  const options = { node: "http://node", backend: "auto", secret: new Uint8Array(32) };
  return new Session(async () => options, {
    onState: (state, reason) => states.push(reason ? `${state}: ${reason}` : state),
    onEvent: () => {},
    onAddress: () => {},
    onFailure: ({ message }) => failures.push(message),
  });
}

/** Starts a session and waits until it mines. */
async function startedSession() {
  const session = newSession();
  session.start();
  await settle();
  FakeWorker.latest.report({ event: "state", state: "mining", reason: "" });
  return session;
}

/** @param {string} reason */
const rejected = (reason) => /** @type {MinerEvent} */ ({ event: "rejected", transaction: "", code: 1, reason });

test("a session starts, mines, pauses, resumes, finishes", async () => {
  const session = await startedSession();
  const worker = FakeWorker.latest;
  assert.deepEqual(worker.called, ["create", "setIntensity", "start"]);
  session.pauses.set("button", true, "You paused mining.");
  session.pauses.override();
  session.finish();
  assert.deepEqual(worker.called.slice(3), ["pause", "resume", "resume", "finish"]);
  worker.resolve("start");
  await settle();
  assert.deepEqual(states, [
    "opening",
    "mining",
    "paused: You paused mining.",
    "mining",
    "finishing",
    "stopped: The last task is complete.",
  ]);
  assert.ok(worker.terminated && !session.active);
});

test("a session that starts while a pause reason is active starts paused", async () => {
  const session = newSession();
  session.pauses.set("battery", true, "battery");
  session.start();
  await settle();
  assert.deepEqual(FakeWorker.latest.called, ["create", "setIntensity", "start", "pause"]);
  FakeWorker.latest.report({ event: "state", state: "mining", reason: "" });
  assert.deepEqual(states, ["opening", "paused: battery"]);
});

test("after stop() events and errors of the old worker have no effect", async () => {
  const session = await startedSession();
  const worker = FakeWorker.latest;
  session.stop("enough");
  assert.ok(worker.terminated);
  worker.report({ event: "state", state: "waiting", reason: "late" });
  worker.dispatchEvent(Object.assign(new Event("error"), { message: "late" }));
  await settle();
  assert.deepEqual([states.at(-1), failures], ["stopped: enough", []]);
  session.start();
  await settle();
  assert.equal(FakeWorker.opened.length, 2);
});

test("stop() while a session is starting prevents the start", async () => {
  const session = newSession();
  session.start();
  session.stop("enough");
  await settle();
  assert.deepEqual([FakeWorker.opened.length, states], [0, ["opening", "stopped: enough"]]);
});

test("finish() before mining has begun stops at once", async () => {
  const session = newSession();
  session.start();
  await settle();
  session.finish("enough");
  assert.deepEqual(states, ["opening", "stopped: enough"]);
});

test("the delay before a restart doubles from 1 s to 60 s", () => {
  assert.deepEqual([1, 2, 3, 6, 7, 100].map(backoffSecs), [1, 2, 4, 32, 60, 60]);
});

test("a failed engine is restarted three times; an accepted task resets the count", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const session = newSession();
  session.start();
  /** @param {string} message */
  const fail = async (message) => {
    for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
    FakeWorker.latest.fail("start", "Backend", message);
    for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
    mock.timers.tick(60_000);
  };
  for (const message of ["1", "2", "3"]) await fail(message);
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
  const accepted = /** @type {MinerEvent} */ ({ event: "accepted" });
  FakeWorker.latest.report(accepted);
  for (const message of ["4", "5", "6"]) await fail(message);
  assert.ok(session.active);
  await fail("7");
  mock.timers.reset();
  assert.deepEqual([FakeWorker.opened.length, session.state, session.reason], [7, "error", "7"]);
  assert.deepEqual(failures, ["1", "2", "3", "4", "5", "6", "7"]);
  assert.ok(states.includes("opening: 3; retrying in 4 s") && states.includes("opening: 4; retrying in 1 s"));
});

test("an unreachable node is retried; a refusal and a wrong option end the session", async () => {
  for (const [name, state] of [
    ["Offline", "offline: no node; retrying in 1 s"],
    ["Refused", "error: no node"],
    ["Error", "error: no node"],
  ]) {
    const session = await startedSession();
    FakeWorker.latest.report(rejected("no"));
    FakeWorker.latest.fail("start", name, "no node");
    await settle();
    assert.equal(states.at(-1), state);
    session.stop();
  }
});

test("restart() starts the engine again with new options, and only while a session is running", async () => {
  const session = newSession();
  session.restart();
  assert.equal(FakeWorker.opened.length, 0);
  session.start();
  await settle();
  const first = FakeWorker.latest;
  session.restart();
  await settle();
  assert.ok(first.terminated && session.active);
  assert.deepEqual(FakeWorker.latest.called, ["create", "setIntensity", "start"]);
  assert.equal(FakeWorker.opened.length, 2);
  session.stop();
});

test("only one tab mines; another one begins when the first has stopped", async () => {
  /** @type {(() => void)[]} */
  const waiting = [];
  let held = false;
  const locks = {
    /** @type {(name: string, options: { ifAvailable?: boolean }, work: (lock: object | null) => unknown) => Promise<unknown>} */
    async request(_name, { ifAvailable }, work) {
      if (held && ifAvailable) return work(null);
      if (held) await new Promise((resolve) => waiting.push(() => resolve(undefined)));
      held = true;
      await work({});
      held = false;
      waiting.shift()?.();
      return undefined;
    },
  };
  setGlobal("navigator", { locks });
  const [first, second] = [newSession(), newSession()];
  first.start();
  await settle();
  second.start();
  await settle();
  assert.deepEqual([second.state, FakeWorker.opened.length], ["elsewhere", 1]);
  assert.match(second.reason, /^Only one tab/);
  first.stop();
  await settle();
  assert.deepEqual([second.state, FakeWorker.opened.length], ["opening", 2]);
  second.stop();
  await settle();
  assert.ok(!held);
  // a tab that was stopped while it waited does not begin
  first.start();
  await settle();
  second.start();
  second.stop();
  first.stop();
  await settle();
  assert.deepEqual([second.state, held], ["stopped", false]);
});

test("where the browser denies access to locks, a session starts without one", async () => {
  const request = () => Promise.reject(new DOMException("denied", "SecurityError"));
  setGlobal("navigator", { locks: { request } });
  const session = await startedSession();
  assert.equal(session.state, "mining");
  session.stop();
});
