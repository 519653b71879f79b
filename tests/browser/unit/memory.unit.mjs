// Tests that settings and submissions are kept in memory if the browser lets the page store nothing.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  deleteSetting,
  isKept,
  listSubmissions,
  loadSetting,
  loadSubmission,
  saveSetting,
  saveSubmission,
  sessionSecret,
} from "../../../www/storage.js";

Object.defineProperty(globalThis, "indexedDB", {
  get() {
    throw new DOMException("access is denied for this document", "SecurityError");
  },
});

/**
 * Stores an accepted submission.
 * @param {number} time the time of acceptance; the submission's CID contains this number
 */
const save = (time) => saveSubmission({ cid: `cid ${time}`, status: "accepted", time });

test("settings are kept in memory, and the page knows that nothing is stored", async () => {
  assert.equal(await isKept(), false);
  await saveSetting("intensity", 0.5);
  assert.equal(await loadSetting("intensity"), 0.5);
  await deleteSetting("intensity");
  assert.equal(await loadSetting("intensity"), undefined);
  assert.deepEqual(await sessionSecret(), await sessionSecret());
});

test("submissions are kept in memory, latest first, and at most 1000 of them", async () => {
  for (let time = 1102; time > 100; time -= 1) await save(time);
  const all = await listSubmissions();
  assert.deepEqual([all.length, all[0].time, all[999].time], [1000, 1102, 103]);
  assert.deepEqual(
    (await listSubmissions(2)).map(({ time }) => time),
    [1102, 1101],
  );
  assert.equal((await loadSubmission("cid 103"))?.time, 103);
  assert.equal(await loadSubmission("another"), undefined);
});
