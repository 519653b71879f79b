// The gradient of attention with respect to keys and values: dk = dSᵀ · q / √head_dim and dv = Pᵀ · dout, where P are
// the attention probabilities and dS is the gradient with respect to q · kᵀ / √head_dim.

struct Params {
    first_group: u32,
    tokens: u32,
    context: u32,
    heads: u32,
    kv_heads: u32,
    head_dim: u32,
    group: u32,
    score_mantissa: u32,
    score_shift: i32,
    inverse_root: u32,
    inverse_root_exponent: i32,
    key_stream: u32,
    value_stream: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<u32>>; // [tokens, heads] head rows
@group(0) @binding(2) var<storage, read> k: array<vec4<u32>>; // [tokens, kv_heads] head rows
@group(0) @binding(3) var<storage, read> v: array<vec4<u32>>; // [tokens, kv_heads] head rows
@group(0) @binding(4) var<storage, read> dout: array<vec4<u32>>; // [tokens, heads] head rows
@group(0) @binding(5) var<storage, read> stats: array<u32>; // [tokens, heads, 8], see src/kernels/attention.rs
@group(0) @binding(6) var<storage, read> tables: array<u32>; // [257] exponentials Q30, then [257] logarithms Q24
@group(0) @binding(7) var<storage, read> dither: array<u32>; // index of the first token, 0, keys of the streams
@group(0) @binding(8) var<storage, read_write> out: array<i32>; // [tokens, 2, kv_heads, head_dim + 4] i32 rows: dk, dv

// Returns two exponents for a query: the exponent of the product dS · q, and the exponent of the dout row. `pair`,
// which is token · heads + head, identifies the query's token and head. The exponent of a zero row is ZERO_EXPONENT.
fn exponents(pair: u32) -> vec2<i32> {
    let at = pair * head_vectors(params.head_dim) + (plane_vectors(params.head_dim) << 1u);
    let value = bitcast<i32>(dout[at].x);
    let query = bitcast<i32>(q[at].x);
    let top = bitcast<i32>(stats[(pair << 3u) + 4u]);
    let zero = top == ZERO_EXPONENT || value == ZERO_EXPONENT || query == ZERO_EXPONENT;
    let gradient = value + top - 25i + bitcast<i32>(stats[(pair << 3u) + 6u]);
    return vec2(select(gradient + query, ZERO_EXPONENT, zero), value);
}

// Writes the row info (the scale, then two zeros) at word `end` of `out`. Before rounding, the sums of this row were in
// units of mantissa · 2^exponent, and the largest magnitude had `bits` bits. If `bits` is 0, the scale is 0.
fn put_info(end: u32, bits: u32, mantissa: u32, exponent: i32) {
    out[end] = select(bitcast<i32>(mantissa), 0i, bits == 0u);
    out[end + 1u] = select(exponent + bitcast<i32>(shift_of(bits, ROW_BITS)), 0i, bits == 0u);
    out[end + 2u] = 0i;
    out[end + 3u] = 0i;
}
