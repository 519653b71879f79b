// Tests the Web Worker that runs the WebAssembly engine. Each of its answers and events must reach the function call to
// which it belongs, and a crash of the Web Worker must reject all pending calls.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Engine, openWorker } from "../../../www/engine.js";
import { FakeWorker, ORIGIN, installWorkers, setGlobal } from "./environment.mjs";

installWorkers();
// the engine's module is loaded from a file, so its origin is "null"; the page gets the same origin, unless a test
// changes it
setGlobal("location", { origin: "null" });
beforeEach(() => {
  FakeWorker.opened = [];
  FakeWorker.answers = {};
});

test("each answer settles its own call", async () => {
  const engine = new Engine();
  const [first, second] = [engine.call("addressOf", [new Uint8Array(33)]), engine.devices()];
  const refused = assert.rejects(first, { name: "Refused", message: "no" });
  FakeWorker.latest.resolve("devices", []);
  FakeWorker.latest.fail("addressOf", "Refused", "no");
  assert.deepEqual(await second, []);
  await refused;
});

test("a miner reports events after its call has returned", async () => {
  /** @type {string[]} */
  const events = [];
  const engine = new Engine();
  const options = { node: "http://node", backend: /** @type {const} */ ("auto"), secret: new Uint8Array(32) };
  const created = engine.call("create", [options], ({ event }) => events.push(event));
  FakeWorker.latest.report({ event: "stored" });
  FakeWorker.latest.resolve("create", "remes1own");
  assert.equal(await created, "remes1own");
  FakeWorker.latest.report({ event: "stored" });
  assert.deepEqual(events, ["stored", "stored"]);
});

test("a crash and terminate() reject every pending call", async () => {
  /** @type {Error[]} */
  const crashes = [];
  const engine = new Engine((error) => crashes.push(error));
  const crashed = assert.rejects(engine.devices(), { name: "Crash", message: "out of memory" });
  FakeWorker.latest.dispatchEvent(Object.assign(new Event("error"), { message: "out of memory" }));
  await crashed;
  assert.deepEqual([crashes.length, crashes[0].name], [1, "Crash"]);
  const stopped = assert.rejects(engine.devices(), /the engine was stopped/);
  engine.terminate();
  await stopped;
  assert.ok(FakeWorker.latest.terminated);
});

test("the error of a script that cannot be loaded says whether its server can be reached", async () => {
  setGlobal("location", new URL(ORIGIN));
  for (const [answer, name, message] of /** @type {const} */ ([
    [async () => ({}), "Crash", /could not be started/],
    [async () => Promise.reject(new TypeError("no network")), "Offline", /from 127\.0\.0\.1:7717\. Check that/],
  ])) {
    setGlobal("fetch", answer);
    for (const event of [new Event("error"), Object.assign(new Event("message"), { data: { unloaded: true } })]) {
      const failed = assert.rejects(new Engine().devices(), { name, message });
      FakeWorker.latest.dispatchEvent(event);
      await failed;
    }
  }
});

test("on a page of another origin the worker is a blob that imports the node's worker", async () => {
  const create = URL.createObjectURL;
  /** @type {Blob | undefined} */
  let source;
  URL.createObjectURL = (blob) => {
    source = /** @type {Blob} */ (blob);
    return "blob:test";
  };
  setGlobal("location", { origin: ORIGIN });
  openWorker("http://node.example/engine.js");
  URL.createObjectURL = create;
  assert.match((await source?.text()) ?? "", /import\("http:\/\/node\.example\/worker\.js"\)/);
});
