// ONNX models as bytes: the few fields of onnx.proto3 that one chain of products needs, in protobuf's wire format.

const utf8 = new TextEncoder();

export const FLOAT = 1;
export const UINT8 = 2;
export const INT8 = 3;
export const INT32 = 6;

function varint(value) {
  const bytes = [];
  for (let rest = BigInt(value); ;) {
    const low = Number(rest & 127n);
    rest >>= 7n;
    if (rest === 0n) return Uint8Array.from([...bytes, low]);
    bytes.push(low | 128);
  }
}

function joined(parts) {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  parts.reduce((at, part) => (whole.set(part, at), at + part.length), 0);
  return whole;
}

/** A message of [field, value] pairs: numbers are varints, texts and bytes are length-delimited. */
function message(...fields) {
  return joined(
    fields.flatMap(([field, value]) => {
      if (typeof value === "number") return [varint(field << 3), varint(value)];
      const bytes = typeof value === "string" ? utf8.encode(value) : value;
      return [varint((field << 3) | 2), varint(bytes.length), bytes];
    }),
  );
}

const each = (field, values) => values.map((value) => [field, value]);

/** An operator; attributes are integers. */
export function node(type, inputs, outputs, attributes = {}, domain = "") {
  const INT = 2;
  const listed = Object.entries(attributes).map(([name, value]) => message([1, name], [3, value], [20, INT]));
  return message(...each(1, inputs), ...each(2, outputs), [3, outputs[0]], [4, type], ...each(5, listed), [7, domain]);
}

/** A constant tensor. */
export function initializer(name, type, dimensions, values) {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return message(...each(1, dimensions), [2, type], [8, name], [9, bytes]);
}

/** The type of a graph's input or output. */
export function tensor(name, type, dimensions) {
  const shape = message(
    ...each(
      1,
      dimensions.map((dimension) => message([1, dimension])),
    ),
  );
  return message([1, name], [2, message([1, message([1, type], [2, shape])])]);
}

/** A model of one graph, in ONNX's operators and Microsoft's. */
export function model({ nodes, initializers, inputs, outputs }) {
  const graph = message(
    ...each(1, nodes),
    [2, "graph"],
    ...each(5, initializers),
    ...each(11, inputs),
    ...each(12, outputs),
  );
  const sets = [message([1, ""], [2, 21]), message([1, "com.microsoft"], [2, 1])];
  return message([1, 10], [7, graph], ...each(8, sets));
}
