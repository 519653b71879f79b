// Measures, in the page that imports this module, how fast onnxruntime-web computes matrix products with low-bit
// weights. Each product is first checked and then timed in rounds.

import * as webgpu from "./node_modules/onnxruntime-web/dist/ort.webgpu.bundle.min.mjs";
import * as wasm from "./node_modules/onnxruntime-web/dist/ort.wasm.bundle.min.mjs";
import { FLOAT, INT32, INT8, UINT8, initializer, model, node, tensor } from "./onnx.mjs";

/** @typedef {{ tokens: number, features: number }} Shape the product of [tokens, features] by [features, features] */
/** @typedef {{ run: () => Promise<unknown>, launches: number }} Product `run` computes `launches` products */
/**
 * @typedef {{ what: string, backend: "gpu" | "cpu", samples: number[], error?: string }} PeerReport
 *   `samples`: the time of one product in each round, in milliseconds; `error`: why the product was not measured
 */

for (const runtime of [webgpu, wasm]) {
  // onnxruntime-web uses one thread here, because the miner's engine also uses one thread on a page without
  // cross-origin isolation
  runtime.env.wasm.numThreads = 1;
  runtime.env.logLevel = "error";
}

/**
 * The number of matrix products in one run on a GPU. Each product takes the result of the previous one as its input.
 * With several products in a run, the fixed cost of the run matters little.
 */
const LAUNCHES = 4;
/** The number of consecutive weights in a row of the weight matrix that share a scale. */
const BLOCK = 32;

/** @type {(PeerReport & Partial<Product>)[]} */
let timed = [];

/**
 * Prepares every product, and compares its result once with the expected one. Returns the reports, which contain no
 * times yet.
 * @param {Shape} shape
 */
export async function prepare({ tokens, features }) {
  timed = [];
  /** @type {[what: string, backend: "gpu" | "cpu", make: () => Promise<Product>][]} */
  const products = [
    // 2-bit weights without int8 arithmetic are not measured, because one product takes a minute on a software GPU
    ...[
      { bits: 4, accuracy: 0 },
      { bits: 4, accuracy: 4 },
      { bits: 2, accuracy: 4 },
    ].map(({ bits, accuracy }) => {
      const what = `MatMulNBits, ${bits} bits${accuracy === 4 ? ", int8 inside" : ""}`;
      const make = () => matMulNBits(tokens, features, bits, accuracy);
      return /** @type {[string, "gpu", () => Promise<Product>]} */ ([what, "gpu", make]);
    }),
    ["MatMulInteger, int8", "cpu", () => matMulInteger(tokens, features)],
    ["DynamicQuantizeMatMul, int8", "cpu", () => dynamicQuantizeMatMul(tokens, features)],
  ];
  for (const [what, backend, make] of products) {
    /** @type {PeerReport} */
    const peer = { what, backend, samples: [] };
    try {
      const product = await make();
      await product.run();
      Object.assign(peer, product);
    } catch (error) {
      peer.error = error instanceof Error ? error.message : String(error);
    }
    timed.push(peer);
  }
  return report();
}

/** Times every prepared product once more. Returns the reports of all rounds so far. */
export async function round() {
  for (const { run, launches, samples } of timed) {
    if (!run || !launches) continue;
    const start = performance.now();
    await run();
    samples.push((performance.now() - start) / launches);
  }
  return report();
}

/** @returns {PeerReport[]} */
const report = () => timed.map(({ what, backend, samples, error }) => ({ what, backend, samples, error }));

/**
 * Returns a pseudo-random generator (xorshift32): a function that draws an integer from `low` to `high`, both included.
 * @param {number} seed
 */
function randomIntegers(seed) {
  let state = seed;
  return (/** @type {number} */ low, /** @type {number} */ high) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return low + Math.floor(((state >>> 0) / 2 ** 32) * (high - low + 1));
  };
}

/**
 * Returns a random matrix [features, features] of trits (−1, 0 or 1).
 * @param {number} features
 * @param {ReturnType<typeof randomIntegers>} random
 */
const randomTrits = (features, random) => Int8Array.from({ length: features * features }, () => random(-1, 1));

/**
 * Multiplies a row vector [columns] by the transpose of a matrix [rows, columns]. Returns a row vector [rows].
 * @param {ArrayLike<number>} row
 * @param {Int8Array} matrix
 */
function multiply(row, matrix) {
  const out = new Float64Array(matrix.length / row.length);
  for (let n = 0; n < out.length; n++) {
    for (let k = 0; k < row.length; k++) out[n] += row[k] * matrix[n * row.length + k];
  }
  return out;
}

/**
 * Throws an error if a value differs from the expected value by more than `tolerance` times the largest expected
 * magnitude.
 * @param {ArrayLike<number>} found
 * @param {Float64Array} expected
 * @param {number} tolerance
 */
function checkRow(found, expected, tolerance) {
  const largest = Math.max(...expected.map(Math.abs));
  expected.forEach((value, index) => {
    if (Math.abs(found[index] - value) > tolerance * largest) throw new Error(`wrong: ${found[index]} for ${value}`);
  });
}

/**
 * Prepares a chain of matrix products that the operator `MatMulNBits` computes with weights of a few bits.
 * @param {number} tokens
 * @param {number} features
 * @param {number} bits the number of bits of a weight
 * @param {number} accuracyLevel the operator's attribute: 4 permits int8 arithmetic, 0 sets no level
 * @returns {Promise<Product>}
 */
async function matMulNBits(tokens, features, bits, accuracyLevel) {
  const random = randomIntegers(2026 + bits);
  const matrices = Array.from({ length: LAUNCHES }, () => randomTrits(features, random));
  // this scale gives the output of a product the same variance as its input
  const scale = Math.fround(1 / Math.sqrt((2 / 3) * features));
  const blocks = features / BLOCK;
  const shape = [tokens, features];
  const valuesPerByte = 8 / bits;
  const initializers = matrices.flatMap((matrix, index) => {
    const packed = new Uint8Array(matrix.length / valuesPerByte);
    matrix.forEach((trit, i) => {
      packed[Math.floor(i / valuesPerByte)] |= (trit + 2 ** (bits - 1)) << (bits * (i % valuesPerByte));
    });
    const scales = new Float32Array(features * blocks).fill(scale);
    return [
      initializer(`b${index}`, UINT8, [features, blocks, BLOCK / valuesPerByte], packed),
      initializer(`scales${index}`, FLOAT, [features, blocks], scales),
    ];
  });
  const attributes = { K: features, N: features, bits, block_size: BLOCK, accuracy_level: accuracyLevel };
  const nodes = matrices.map((_, index) => {
    const inputs = [`x${index}`, `b${index}`, `scales${index}`];
    return node("MatMulNBits", inputs, [`x${index + 1}`], attributes, "com.microsoft");
  });
  const last = `x${LAUNCHES}`;
  const [inputs, outputs] = [[tensor("x0", FLOAT, shape)], [tensor(last, FLOAT, shape)]];
  const session = await webgpu.InferenceSession.create(model({ nodes, initializers, inputs, outputs }), {
    executionProviders: ["webgpu"],
  });
  const x = Float32Array.from({ length: tokens * features }, () => random(-127, 127) / 64);
  const feeds = { x0: new webgpu.Tensor("float32", x, shape) };
  const { [last]: found } = await session.run(feeds);
  const expected = matrices.reduce(
    (row, matrix) => multiply(row, matrix).map((value) => value * scale),
    Float64Array.from(x.slice(0, features)),
  );
  checkRow(/** @type {Float32Array} */ (found.data), expected, accuracyLevel === 4 ? 0.05 : 0.001);
  return { run: () => session.run(feeds), launches: LAUNCHES };
}

/**
 * Returns the transpose of a square matrix. The operators `MatMulInteger` and `DynamicQuantizeMatMul` expect their
 * weights in the transposed shape [columns, rows].
 * @param {Int8Array} matrix
 * @param {number} features
 */
function transpose(matrix, features) {
  return matrix.map((_, i) => matrix[(i % features) * features + Math.floor(i / features)]);
}

/**
 * Prepares the product of a uint8 input and int8 weights, which the operator `MatMulInteger` computes.
 * @param {number} tokens
 * @param {number} features
 */
async function matMulInteger(tokens, features) {
  const random = randomIntegers(7);
  const [matrix, shape] = [randomTrits(features, random), [tokens, features]];
  const bytes = model({
    nodes: [node("MatMulInteger", ["x", "b"], ["y"])],
    initializers: [initializer("b", INT8, [features, features], transpose(matrix, features))],
    inputs: [tensor("x", UINT8, shape)],
    outputs: [tensor("y", INT32, shape)],
  });
  const x = Uint8Array.from({ length: tokens * features }, () => random(0, 255));
  const expected = multiply(x.subarray(0, features), matrix);
  return checkedProduct(bytes, { x: new wasm.Tensor("uint8", x, shape) }, expected, 0);
}

/**
 * Prepares a matrix product that the operator `DynamicQuantizeMatMul` computes. The operator itself quantizes its f32
 * input to 8 bits.
 * @param {number} tokens
 * @param {number} features
 */
async function dynamicQuantizeMatMul(tokens, features) {
  const random = randomIntegers(8);
  const [matrix, shape] = [randomTrits(features, random), [tokens, features]];
  const bytes = model({
    nodes: [node("DynamicQuantizeMatMul", ["x", "b", "scale"], ["y"], {}, "com.microsoft")],
    initializers: [
      initializer("b", INT8, [features, features], transpose(matrix, features)),
      initializer("scale", FLOAT, [1], new Float32Array([1])),
    ],
    inputs: [tensor("x", FLOAT, shape)],
    outputs: [tensor("y", FLOAT, shape)],
  });
  const x = Float32Array.from({ length: tokens * features }, () => random(-127, 127) / 64);
  const expected = multiply(x.subarray(0, features), matrix);
  return checkedProduct(bytes, { x: new wasm.Tensor("float32", x, shape) }, expected, 0.05);
}

/**
 * Loads a model that computes one product, runs it, and checks the first row of the output.
 * @param {Uint8Array} bytes
 * @param {Record<string, wasm.Tensor>} feeds
 * @param {Float64Array} expected
 * @param {number} tolerance
 * @returns {Promise<Product>}
 */
async function checkedProduct(bytes, feeds, expected, tolerance) {
  const session = await wasm.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
  const { y } = await session.run(feeds);
  checkRow(/** @type {Float32Array} */ (y.data), expected, tolerance);
  return { run: () => session.run(feeds), launches: 1 };
}
