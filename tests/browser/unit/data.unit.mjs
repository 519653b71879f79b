// Tests that the JavaScript programs in tests/data print exactly the expected values that are stored in files there.
// The programs compute the values with other implementations, such as CosmJS.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const DATA = new URL("../../data/", import.meta.url);

for (const [file, script, ...args] of [
  ["cosmjs_addresses.tsv", "cosmjs_addresses.mjs"],
  ["cosmjs_grant_hash.txt", "cosmjs_session.mjs", "grant"],
  ["cosmjs_messages.tsv", "cosmjs_messages.mjs"],
  ["cosmjs_send_hash.txt", "cosmjs_send_hash.mjs"],
  ["cosmjs_statement_signature.txt", "cosmjs_session.mjs", "statement"],
  ["cosmjs_submission_signature.txt", "cosmjs_submission_signature.mjs"],
  ["cosmjs_tx_hash.txt", "cosmjs_tx_hash.mjs"],
  ["keystore.json", "keystore.mjs"],
]) {
  test(`${script} ${args.join(" ")} prints ${file}`, async () => {
    const { stdout } = await promisify(execFile)(process.execPath, [fileURLToPath(new URL(script, DATA)), ...args]);
    assert.equal(stdout, await readFile(new URL(file, DATA), "utf8"));
  });
}
