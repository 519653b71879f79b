// Encodes ONNX models in the wire format of protobuf. Supports only those fields of onnx.proto3 that a chain of matrix
// products needs.

/** @typedef {number | string | Uint8Array} Value the value of a protobuf field */
/** @typedef {[field: number, value: Value]} Field */

const utf8 = new TextEncoder();

/** Element types of ONNX tensors (`TensorProto.DataType`). */
export const FLOAT = 1;
export const UINT8 = 2;
export const INT8 = 3;
export const INT32 = 6;

/** The type of an integer attribute (`AttributeProto.AttributeType`). */
const INT_ATTRIBUTE = 2;

/** @param {number} value */
function varint(value) {
  const bytes = [];
  for (let rest = BigInt(value); ;) {
    const low = Number(rest & 127n);
    rest >>= 7n;
    if (rest === 0n) return Uint8Array.from([...bytes, low]);
    bytes.push(low | 128);
  }
}

/** @param {Uint8Array[]} parts */
function concat(parts) {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

/**
 * Encodes a protobuf message. Numbers become varint fields; texts and bytes become length-delimited fields.
 * @param {...Field} fields
 */
function message(...fields) {
  return concat(
    fields.flatMap(([field, value]) => {
      if (typeof value === "number") return [varint(field << 3), varint(value)];
      const bytes = typeof value === "string" ? utf8.encode(value) : value;
      return [varint((field << 3) | 2), varint(bytes.length), bytes];
    }),
  );
}

/**
 * Returns a repeated field as a list of fields, one for each value.
 * @param {number} field the field number
 * @param {Value[]} values
 * @returns {Field[]}
 */
const repeated = (field, values) => values.map((value) => [field, value]);

/**
 * Encodes a node of the graph: the application of one operator.
 * @param {string} type the name of the operator
 * @param {string[]} inputs the names of the input tensors
 * @param {string[]} outputs the names of the output tensors
 * @param {Record<string, number>} attributes integer attributes by name
 */
export function node(type, inputs, outputs, attributes = {}, domain = "") {
  const encoded = Object.entries(attributes).map(([name, value]) =>
    message([1, name], [3, value], [20, INT_ATTRIBUTE]),
  );
  return message(...repeated(1, inputs), ...repeated(2, outputs), [3, outputs[0]], [4, type], ...repeated(5, encoded), [
    7,
    domain,
  ]);
}

/**
 * Encodes a constant tensor of the graph.
 * @param {string} name
 * @param {number} type the element type, such as `FLOAT`
 * @param {number[]} dimensions
 * @param {ArrayBufferView} values
 */
export function initializer(name, type, dimensions, values) {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return message(...repeated(1, dimensions), [2, type], [8, name], [9, bytes]);
}

/**
 * Encodes the name, the element type and the shape of an input or output of the graph.
 * @param {string} name
 * @param {number} type the element type, such as `FLOAT`
 * @param {number[]} dimensions
 */
export function tensor(name, type, dimensions) {
  const encoded = dimensions.map((dimension) => message([1, dimension]));
  return message([1, name], [2, message([1, message([1, type], [2, message(...repeated(1, encoded))])])]);
}

/**
 * Encodes a model that consists of one graph. The graph may use the standard operators of ONNX and those of
 * `com.microsoft`.
 * @param {Record<"nodes" | "initializers" | "inputs" | "outputs", Uint8Array[]>} graph
 */
export function model({ nodes, initializers, inputs, outputs }) {
  const graph = message(
    ...repeated(1, nodes),
    [2, "graph"],
    ...repeated(5, initializers),
    ...repeated(11, inputs),
    ...repeated(12, outputs),
  );
  const operatorSets = [message([1, ""], [2, 21]), message([1, "com.microsoft"], [2, 1])];
  return message([1, 10], [7, graph], ...repeated(8, operatorSets));
}
