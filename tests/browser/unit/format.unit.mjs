// Tests that amounts, sizes, losses and CIDs are formatted for people, and that every thrown value yields a message.

import assert from "node:assert/strict";
import { test } from "node:test";
import { errorMessage, formatCoins, formatLoss, formatMegabytes, shortenCid } from "../../../www/format.js";

test("numbers are formatted for people", () => {
  assert.equal(formatCoins(0), "0 R3MES");
  assert.match(formatCoins(1), /^0.000001 R3MES$/);
  assert.equal(formatMegabytes(1_250_000), "1.3 MB");
  assert.equal(formatLoss(5.43218, "void"), "5.4322");
  assert.equal(formatLoss(undefined, "void"), "void");
  assert.equal(shortenCid("bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"), "bafybe…5fbzdi");
});

test("every thrown value has a message", () => {
  assert.equal(errorMessage(new TypeError("of an error")), "of an error");
  assert.equal(errorMessage({ message: "of a wallet" }), "of a wallet");
  assert.equal(errorMessage("a text"), "a text");
  assert.equal(errorMessage(undefined), "");
});
