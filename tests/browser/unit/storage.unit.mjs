// Tests that settings and submissions are stored and deleted, and that the secret of the session key is created only
// once.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  deleteSetting,
  listSubmissions,
  loadSetting,
  loadSubmission,
  saveSetting,
  saveSubmission,
  sessionSecret,
} from "../../../www/storage.js";
import { installStorage } from "./environment.mjs";

await installStorage();

/**
 * Stores an accepted submission.
 * @param {number} time the time of acceptance; the submission's CID contains this number
 */
const save = (time) => saveSubmission({ cid: `cid ${time}`, status: "accepted", time });

test("settings are stored, replaced and deleted", async () => {
  assert.equal(await loadSetting("intensity"), undefined);
  await saveSetting("intensity", 0.25);
  await saveSetting("intensity", 0.5);
  assert.equal(await loadSetting("intensity"), 0.5);
  await deleteSetting("intensity");
  assert.equal(await loadSetting("intensity"), undefined);
});

test("the secret of the session key is created once", async () => {
  const secret = await sessionSecret();
  assert.equal(secret.length, 32);
  assert.deepEqual(await sessionSecret(), secret);
});

test("submissions are listed latest first; one with the same CID is replaced", async () => {
  for (const time of [20, 10, 30]) await save(time);
  await saveSubmission({ cid: "cid 10", status: "rejected", time: 40 });
  const times = (await listSubmissions()).map(({ time }) => time);
  assert.deepEqual(times, [40, 30, 20]);
  assert.deepEqual((await listSubmissions(2)).length, 2);
  assert.equal((await loadSubmission("cid 10"))?.status, "rejected");
  assert.equal(await loadSubmission("another"), undefined);
});

test("of more than 1000 submissions the oldest are deleted", async () => {
  for (let time = 100; time < 1102; time += 1) await save(time);
  const all = await listSubmissions();
  assert.equal(all.length, 1000);
  assert.deepEqual([all[0].time, all[999].time], [1101, 102]);
});
