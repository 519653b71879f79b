// Tests that the line of the loss chart fills its canvas, and that the caption states the losses in words.

import assert from "node:assert/strict";
import { test } from "node:test";
import { describeLosses, linePoints } from "../../../www/chart.js";

test("the line fills the canvas within its margins, the smallest value at the bottom", () => {
  assert.deepEqual(linePoints([3, 1, 2], 104, 58), [
    [2, 4],
    [52, 54],
    [102, 29],
  ]);
});

test("equal values are a line at the bottom", () => {
  assert.deepEqual(linePoints([5, 5], 14, 18), [
    [2, 14],
    [12, 14],
  ]);
});

test("a tiny difference does not fill the chart", () => {
  assert.deepEqual(
    linePoints([6.1271, 6.127], 14, 18).map(([, y]) => Math.round(y)),
    [14, 14],
  );
});

test("the caption gives the losses in words", () => {
  assert.equal(
    describeLosses([5.5, 7, 4.25, 5]),
    "Loss of the last 4 tasks: first 5.500, last 5.000, lowest 4.250, highest 7.000",
  );
});
