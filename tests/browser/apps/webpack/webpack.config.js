export default {
  // webpack warns about every file of more than 244 KiB, and the engine is one
  performance: { assetFilter: (/** @type {string} */ name) => !name.endsWith(".wasm") },
};
