// Tests that the tables of the benchmark page show the measured times and their ratios. The browser document and the
// WebAssembly engine are emulated; `tests/browser/bench.mjs` measures in a real browser.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { FakeWorker, installPage, settle } from "./environment.mjs";

/** @import { BenchEvent } from "../../../www/r3mes_www.js" */

const html = await readFile(new URL("../../../www/bench.html", import.meta.url), "utf8");
await installPage(/<body>([^]*)<\/body>/.exec(html)?.[1] ?? "");
await import("../../../www/bench.js");

/** @type {BenchEvent[]} */
const SUBJECTS = [
  { event: "device", name: "Test GPU", software: false },
  { event: "lowering", kernel: "product", lowering: "tiled", lowerings: ["tiled 1 ms", "plain 2 ms"] },
  { event: "subject", what: "f32", backend: "gpu", by: "tiled", tokens: 64, operations: 2e6 },
  { event: "subject", what: "forward, int8", backend: "gpu", by: "tiled", tokens: 64, operations: 2e6 },
  { event: "subject", what: "forward, int8", backend: "cpu", by: "simd128", tokens: 64, operations: 2e6 },
  { event: "subject", what: "forward, int8", backend: "cpu", by: "scalar", tokens: 64, operations: 2e6 },
  { event: "subject", what: "whole step", backend: "cpu", by: "simd128", tokens: 64, digest: "ab".repeat(32) },
];
/** For each round, the time of each subject in `SUBJECTS`, in milliseconds. */
const ROUNDS = [
  [4, 2, 8, 80, 640],
  [8, 1, 9, 90, 160],
  [6, 3, 7, 70, 320],
];

test("the page measures the given number of rounds and shows ratios of the fastest times", async () => {
  let round = 0;
  FakeWorker.answers = {
    bench: (worker) => {
      for (const event of SUBJECTS) worker.send({ id: worker.calls.at(-1)?.id ?? 0, event });
    },
    round: (worker) => {
      ROUNDS[round++].forEach((milliseconds, subject) => {
        worker.send({ id: worker.calls.at(-1)?.id ?? 0, event: { event: "time", subject, milliseconds } });
      });
    },
  };
  const form = /** @type {HTMLFormElement} */ (document.querySelector("#shape"));
  /** @type {HTMLInputElement} */ (form.querySelector("[name=rounds]")).value = "3";
  form.dispatchEvent(new Event("submit", { cancelable: true }));
  await settle();
  assert.equal(document.querySelector("#status")?.textContent, "Done.");
  assert.equal(document.body.dataset.verdict, "done");
  const options = { tokens: 128, features: 1024, step: "small" };
  assert.deepEqual(FakeWorker.latest.calls[0].arguments, [options]);
  assert.deepEqual(FakeWorker.latest.called, ["bench", "round", "round", "round"]);
  const rows = Array.from(document.querySelectorAll("#results tbody tr"), (row) =>
    Array.from(row.children, (cell) => cell.textContent),
  );
  assert.deepEqual(rows, [
    ["f32", "tiled", "4.00 ms", "6.00 ms", "0.5", "1.00"],
    ["forward, int8", "tiled", "1.00 ms", "2.00 ms", "2.0", "4.00"],
    ["forward, int8", "simd128", "7.00 ms", "8.00 ms", "0.3", "10.00"],
    ["forward, int8", "scalar", "70.00 ms", "80.00 ms", "0.0", "1.00"],
    ["CPU", "simd128", "160.00 ms", "400.0", "200.0", "ab".repeat(8)],
  ]);
});
