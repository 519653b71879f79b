// onnxruntime-web's low-bit products of one shape, in the page that imports this: checked, then timed a round at a time.

import * as webgpu from "./node_modules/onnxruntime-web/dist/ort.webgpu.bundle.min.mjs";
import * as wasm from "./node_modules/onnxruntime-web/dist/ort.wasm.bundle.min.mjs";
import { FLOAT, INT32, INT8, UINT8, initializer, model, node, tensor } from "./onnx.mjs";

// as the engine's page: no threads without cross-origin isolation
for (const runtime of [webgpu, wasm]) Object.assign(runtime.env.wasm, { numThreads: 1 });
for (const runtime of [webgpu, wasm]) runtime.env.logLevel = "error";

/** Products in one run on a GPU, each on the result of the one before, so that the run's own cost does not count. */
const LAUNCHES = 4;
/** Contracted values that share a scale. */
const BLOCK = 32;

let timed = [];

/** Makes every peer ready; resolves to what each is called, and why it is left out where it is. */
export async function prepare({ tokens, features }) {
  timed = [];
  const made = [];
  // 2 bits without int8 inside take a minute a product on a software GPU
  for (const [bits, accuracy] of [
    [4, 0],
    [4, 4],
    [2, 4],
  ]) {
    const what = `MatMulNBits, ${bits} bits${accuracy === 4 ? ", int8 inside" : ""}`;
    made.push([what, "gpu", () => nbits(tokens, features, bits, accuracy)]);
  }
  made.push(["MatMulInteger, int8", "cpu", () => integers(tokens, features)]);
  made.push(["DynamicQuantizeMatMul, int8", "cpu", () => quantized(tokens, features)]);
  for (const [what, backend, make] of made) {
    const peer = { what, backend, samples: [] };
    try {
      Object.assign(peer, await make());
      await peer.run();
    } catch (error) {
      peer.error = String(error.message ?? error);
    }
    timed.push(peer);
  }
  return report();
}

/** Times each peer once more. */
export async function round() {
  for (const { error, run, launches, samples } of timed) {
    if (error) continue;
    const start = performance.now();
    await run();
    samples.push((performance.now() - start) / launches);
  }
  return report();
}

const report = () => timed.map(({ what, backend, samples, error }) => ({ what, backend, samples, error }));

/** Whole numbers of low..=high, drawn by xorshift32. */
function drawer(seed) {
  let state = seed;
  return (low, high) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return low + Math.floor(((state >>> 0) / 2 ** 32) * (high - low + 1));
  };
}

/** A [features, features] matrix of trits. */
const trits = (features, draw) => Int8Array.from({ length: features * features }, () => draw(-1, 1));

/** A row by the transpose of a [rows, columns] matrix. */
function product(row, matrix) {
  const out = new Float64Array(matrix.length / row.length);
  for (let n = 0; n < out.length; n++)
    for (let k = 0; k < row.length; k++) out[n] += row[k] * matrix[n * row.length + k];
  return out;
}

function checkRow(found, expected, tolerance) {
  const scale = Math.max(...expected.map(Math.abs));
  expected.forEach((value, at) => {
    if (Math.abs(found[at] - value) > tolerance * scale) throw new Error(`wrong: ${found[at]} for ${value}`);
  });
}

async function nbits(tokens, features, bits, accuracy_level) {
  const draw = drawer(2026 + bits);
  const matrices = Array.from({ length: LAUNCHES }, () => trits(features, draw));
  // keeps the variance from one product to the next
  const scale = Math.fround(1 / Math.sqrt((2 / 3) * features));
  const blocks = features / BLOCK;
  const [shape, each] = [[tokens, features], 8 / bits];
  const constants = matrices.flatMap((matrix, at) => {
    const packed = new Uint8Array(matrix.length / each);
    matrix.forEach((trit, i) => (packed[Math.floor(i / each)] |= (trit + 2 ** (bits - 1)) << (bits * (i % each))));
    return [
      initializer(`b${at}`, UINT8, [features, blocks, BLOCK / each], packed),
      initializer(`scales${at}`, FLOAT, [features, blocks], new Float32Array(features * blocks).fill(scale)),
    ];
  });
  const attributes = { K: features, N: features, bits, block_size: BLOCK, accuracy_level };
  const nodes = matrices.map((_, at) =>
    node("MatMulNBits", [`x${at}`, `b${at}`, `scales${at}`], [`x${at + 1}`], attributes, "com.microsoft"),
  );
  const last = `x${LAUNCHES}`;
  const bytes = model({
    nodes,
    initializers: constants,
    inputs: [tensor("x0", FLOAT, shape)],
    outputs: [tensor(last, FLOAT, shape)],
  });
  const session = await webgpu.InferenceSession.create(bytes, { executionProviders: ["webgpu"] });
  const x = Float32Array.from({ length: tokens * features }, () => draw(-127, 127) / 64);
  const feeds = { x0: new webgpu.Tensor("float32", x, shape) };
  const { [last]: found } = await session.run(feeds);
  const through = (row, matrix) => product(row, matrix).map((value) => value * scale);
  checkRow(found.data, matrices.reduce(through, x.slice(0, features)), accuracy_level === 4 ? 0.05 : 0.001);
  return { run: () => session.run(feeds), launches: LAUNCHES };
}

/** B of `MatMul…` is [columns, rows]. */
function transposed(matrix, features) {
  return matrix.map((_, i) => matrix[(i % features) * features + Math.floor(i / features)]);
}

async function integers(tokens, features) {
  const draw = drawer(7);
  const [matrix, shape] = [trits(features, draw), [tokens, features]];
  const bytes = model({
    nodes: [node("MatMulInteger", ["x", "b"], ["y"])],
    initializers: [initializer("b", INT8, [features, features], transposed(matrix, features))],
    inputs: [tensor("x", UINT8, shape)],
    outputs: [tensor("y", INT32, shape)],
  });
  const x = Uint8Array.from({ length: tokens * features }, () => draw(0, 255));
  return checked(bytes, { x: new wasm.Tensor("uint8", x, shape) }, product(x.subarray(0, features), matrix), 0);
}

async function quantized(tokens, features) {
  const draw = drawer(8);
  const [matrix, shape] = [trits(features, draw), [tokens, features]];
  const bytes = model({
    nodes: [node("DynamicQuantizeMatMul", ["x", "b", "scale"], ["y"], {}, "com.microsoft")],
    initializers: [
      initializer("b", INT8, [features, features], transposed(matrix, features)),
      initializer("scale", FLOAT, [1], new Float32Array([1])),
    ],
    inputs: [tensor("x", FLOAT, shape)],
    outputs: [tensor("y", FLOAT, shape)],
  });
  const x = Float32Array.from({ length: tokens * features }, () => draw(-127, 127) / 64);
  return checked(bytes, { x: new wasm.Tensor("float32", x, shape) }, product(x.subarray(0, features), matrix), 0.05);
}

async function checked(bytes, feeds, expected, tolerance) {
  const session = await wasm.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
  const { y } = await session.run(feeds);
  checkRow(y.data, expected, tolerance);
  return { run: () => session.run(feeds), launches: 1 };
}
