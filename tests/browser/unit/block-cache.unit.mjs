// Tests that the block cache removes its oldest files first, and that the cache stays empty if the browser provides no
// storage.

import assert from "node:assert/strict";
import { test } from "node:test";
import { cacheSize, clearCache, filesToEvict, openBlockCache } from "../../../www/block-cache.js";
import { setGlobal } from "./environment.mjs";

const FILES = [
  { name: "new", size: 40, lastModified: 30 },
  { name: "old", size: 30, lastModified: 10 },
  { name: "middle", size: 20, lastModified: 20 },
];

test("the oldest files are removed until the limit is met", () => {
  assert.deepEqual(filesToEvict(FILES, 90), []);
  assert.deepEqual(filesToEvict(FILES, 89), ["old"]);
  assert.deepEqual(filesToEvict(FILES, 60), ["old"]);
  assert.deepEqual(filesToEvict(FILES, 59), ["old", "middle"]);
  assert.deepEqual(filesToEvict(FILES, 0), ["old", "middle", "new"]);
  assert.deepEqual(filesToEvict([], 0), []);
});

for (const [what, storage] of Object.entries({
  "has no file system": undefined,
  "denies access": { getDirectory: () => Promise.reject(new DOMException("denied", "SecurityError")) },
})) {
  test(`in a browser that ${what} the cache stays empty`, async () => {
    setGlobal("navigator", { storage });
    const cache = await openBlockCache();
    await cache.put("name", new Uint8Array(8));
    assert.equal(await cache.get("name"), undefined);
    assert.equal(await cacheSize(), 0);
    if (!storage) await clearCache();
  });
}
