// Tests the reasons for which the page pauses mining. The page must show the first active reason. After the visitor has
// overridden a reason, the page must ignore the reason until it ends. The function clear() must remove all overrides
// and the reason that the Pause button has set.

import assert from "node:assert/strict";
import { test } from "node:test";
import { PauseReasons } from "../../../www/pauses.js";

test("the first active reason is shown, and a repeated one changes nothing", () => {
  let changes = 0;
  const pauses = new PauseReasons(() => (changes += 1));
  assert.equal(pauses.reason, undefined);
  pauses.set("battery", true, "battery");
  pauses.set("battery", true, "battery");
  pauses.set("hidden", true, "hidden");
  assert.deepEqual([pauses.reason, changes], ["battery", 2]);
  pauses.set("battery", false, "battery");
  assert.deepEqual([pauses.reason, changes], ["hidden", 3]);
  pauses.set("hidden", false, "hidden");
  pauses.set("hidden", false, "hidden");
  assert.deepEqual([pauses.reason, changes], [undefined, 4]);
});

test("an overridden reason that ends and occurs again pauses mining", () => {
  const pauses = new PauseReasons(() => {});
  pauses.set("battery", true, "battery");
  pauses.override();
  assert.equal(pauses.reason, undefined);
  pauses.set("battery", true, "battery");
  assert.equal(pauses.reason, undefined, "the overridden reason has not ended");
  pauses.set("hidden", true, "hidden");
  assert.equal(pauses.reason, "hidden", "another reason is not overridden");
  pauses.set("hidden", false, "hidden");
  pauses.set("battery", false, "battery");
  pauses.set("battery", true, "battery");
  assert.equal(pauses.reason, "battery");
});

test("overriding releases the Pause button, which then works at once", () => {
  const pauses = new PauseReasons(() => {});
  pauses.set("button", true, "button");
  pauses.override();
  assert.equal(pauses.reason, undefined);
  pauses.set("button", true, "button");
  assert.equal(pauses.reason, "button");
});

test("clear() removes the reason of the Pause button and the overrides, and keeps the conditions", () => {
  const pauses = new PauseReasons(() => {});
  pauses.set("battery", true, "battery");
  pauses.override();
  pauses.set("button", true, "button");
  pauses.clear();
  assert.equal(pauses.reason, "battery");
});
