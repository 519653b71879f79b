// Tests that mining rates are averaged over the last minute, over the last 15 minutes, and over the whole session.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Rates, WINDOWS } from "../../../www/rates.js";

const MINUTE = 60_000;

test("there is no rate before a session and at its start", () => {
  const rates = new Rates();
  assert.equal(rates.average(MINUTE, 1000), undefined);
  rates.begin(1000);
  assert.equal(rates.average(MINUTE, 1000), undefined);
});

test("a session that is shorter than the window is averaged over its own length", () => {
  const rates = new Rates();
  rates.begin(0);
  rates.add(2048, 10_000);
  assert.deepEqual(rates.average(MINUTE, 20_000), { tokensPerSecond: 102.4, tasksPerMinute: 3 });
});

test("a window counts only the tasks inside of it, and the session counts all", () => {
  const rates = new Rates();
  rates.begin(0);
  for (let minute = 1; minute <= 30; minute += 1) rates.add(600, minute * MINUTE);
  const now = 30 * MINUTE;
  // a window includes the tasks exactly at its start and exactly at its end
  assert.deepEqual(rates.average(WINDOWS["60 s"], now), { tokensPerSecond: 20, tasksPerMinute: 2 });
  assert.deepEqual(rates.average(WINDOWS["15 min"], now), {
    tokensPerSecond: (16 * 600) / 900,
    tasksPerMinute: 16 / 15,
  });
  assert.deepEqual(rates.average(WINDOWS.session, now), { tokensPerSecond: 10, tasksPerMinute: 1 });
});

test("rates fall while no task is accepted, and a new session forgets the old one", () => {
  const rates = new Rates();
  rates.begin(0);
  rates.add(600, MINUTE);
  assert.equal(rates.average(MINUTE, 3 * MINUTE)?.tasksPerMinute, 0);
  assert.equal(rates.average(WINDOWS.session, 4 * MINUTE)?.tasksPerMinute, 0.25);
  rates.begin(4 * MINUTE);
  assert.equal(rates.average(WINDOWS.session, 5 * MINUTE)?.tokensPerSecond, 0);
});
