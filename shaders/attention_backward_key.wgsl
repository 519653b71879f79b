// The gradient of attention with respect to keys and values: dk = dSᵀ · q / √head_dim and dv = Pᵀ · dout, where P are
// the attention probabilities and dS is the gradient with respect to q · kᵀ / √head_dim. One workgroup computes one
// key/value head of one token. Each invocation computes the weights of one query at a time, and then the sums of one
// feature at a time.

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

// The weights of 128 queries in two sums over queries: in dk = dSᵀ · q / √head_dim (`key_weights`, from the elements of
// dS), and in dv = Pᵀ · dout (`value_weights`, from the elements of P). For each block of 32 queries, `block_shifts`
// holds two shifts, one for dk and one for dv. A weight is the stored integer times 2^shift.
var<workgroup> key_weights: array<i32, 128>;
var<workgroup> value_weights: array<i32, 128>;
var<workgroup> block_shifts: array<vec2<u32>, 4>;
// The 64-bit sums of dk (`key_sums`) and of dv (`value_sums`) before rounding, one for each feature of the head.
var<workgroup> key_sums: array<vec2<u32>, 256>;
var<workgroup> value_sums: array<vec2<u32>, 256>;

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

// For a query and a key: the attention probability P in Q30, and `gradient`, which is dS (the gradient with respect to
// q · kᵀ / √head_dim) as an i64.
struct Gradient {
    probability: u32,
    gradient: vec2<u32>,
}

fn gradient_of(pair: u32, key: u32) -> Gradient {
    let query = pair * head_vectors(params.head_dim);
    let at = pair << 3u;
    let value = key_score(query, key).value;
    let below = bitcast<u32>(max(bitcast<i32>(stats[at]), value)) - bitcast<u32>(value);
    let probability = probability_of(Normalizer(stats[at + 1u], stats[at + 2u]), exponential_of(below));

    let dp = round_even_64(folded_gradient(query, key, bitcast<i32>(stats[at + 4u])), stats[at + 6u]);
    // dP (the gradient with respect to the probability P) and its mean, weighted by P, are 32-bit integers, so their
    // difference may need 33 bits.
    let difference = subtract_64(dp, extend_64(bitcast<i32>(stats[at + 5u])));
    return Gradient(probability, round_even_64(multiply_64(difference, probability), 30u));
}

// Writes the row info (the scale, then two zeros) at word `end` of `out`. Before rounding, the sums of this row were in
// units of mantissa · 2^exponent, and the largest magnitude had `bits` bits. If `bits` is 0, the scale is 0.
fn put_info(end: u32, bits: u32, mantissa: u32, exponent: i32) {
    out[end] = select(bitcast<i32>(mantissa), 0i, bits == 0u);
    out[end + 1u] = select(exponent + bitcast<i32>(shift_of(bits, ROW_BITS)), 0i, bits == 0u);
    out[end + 2u] = 0i;
    out[end + 3u] = 0i;
}

@compute @workgroup_size(128, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let lane = local.x;
    let kv_head = group.x;
    let token = group.y + params.first_group;
    let first = stats[((token * params.heads) << 3u) + 3u];
    let end = first + params.context;
    let column = token - first;
    let vectors = plane_vectors(params.head_dim);
    let row = head_vectors(params.head_dim);
    let key = (token * params.kv_heads + kv_head) * row;
    let first_head = kv_head * params.group;

    var tops = vec2(LOWEST_EXPONENT);
    for (var head = first_head; head < first_head + params.group; head++) {
        for (var t = token + lane; t < end; t += HEAD_LANES) {
            tops = max(tops, exponents(t * params.heads + head));
        }
    }
    tops = vec2(head_max(lane, tops.x), head_max(lane, tops.y));

    for (var c = lane; c < params.head_dim; c += HEAD_LANES) {
        key_sums[c] = vec2(0u, 0u);
        value_sums[c] = vec2(0u, 0u);
    }
    for (var head = first_head; head < first_head + params.group; head++) {
        // Process the queries in groups of four blocks of 32. Start with the block that contains this key's own token,
        // because earlier queries do not see this key.
        for (var start = first + (column & 0xffffffe0u); start < end; start += HEAD_LANES) {
            let t = start + lane;
            let sees = t >= token && t < end;
            var folded_key = vec2(0u, 0u);
            var folded_value = vec2(0u, 0u);
            if sees {
                let pair = t * params.heads + head;
                let pair_exponents = exponents(pair);
                let of_query = gradient_of(pair, key);
                let gradient = shift_left_64(of_query.gradient, 30u);
                folded_key = shift_right_signed_64(gradient, distance_to(tops.x, pair_exponents.x));
                let probability = shift_left_64(vec2(of_query.probability, 0u), 31u);
                folded_value = shift_right_64(probability, distance_to(tops.y, pair_exponents.y));
            }
            let bits = block_max(lane, vec2(bits_64(magnitude_64(folded_key)), bits_64(folded_value)));
            let shifts = vec2(shift_of(bits.x, WIDE_BITS), shift_of(bits.y, WIDE_BITS));
            var key_weight = 0u;
            var value_weight = 0u;
            if sees {
                let index = (dither[0] + t) * params.heads + head;
                let key_dither = dither_at(dither_key(params.key_stream), index, column);
                let value_dither = dither_at(dither_key(params.value_stream), index, column);
                key_weight = round_dither_64(folded_key, shifts.x, key_dither).x;
                value_weight = round_dither_64(folded_value, shifts.y, value_dither).x;
            }
            key_weights[lane] = bitcast<i32>(key_weight);
            value_weights[lane] = bitcast<i32>(value_weight);
            if (lane & 31u) == 0u {
                block_shifts[lane >> 5u] = shifts;
            }
            workgroupBarrier();

            for (var c = lane; c < params.head_dim; c += HEAD_LANES) {
                var key_sum = key_sums[c]; // in units of 2^(tops.x − 2)
                var value_sum = value_sums[c]; // in units of 2^(tops.y − 20)
                for (var block = start; block < min(start + HEAD_LANES, end); block += 32u) {
                    var high = vec2(0i); // |.| ≤ 2^14 · 2^6 · 32
                    var low = vec2(0i);
                    for (var t = max(block, token); t < min(block + 32u, end); t++) {
                        let vector = (t * params.heads + head) * row + (c >> 4u);
                        let word = (c >> 2u) & 3u;
                        let weights = vec2(key_weights[t - start], value_weights[t - start]);
                        high += weights * vec2(byte_of(q[vector][word], c), byte_of(dout[vector][word], c));
                        let below = vector + vectors;
                        low += weights * vec2(byte_of(q[below][word], c), byte_of(dout[below][word], c));
                    }
                    let aligned = bitcast<vec2<i32>>(block_shifts[(block - start) >> 5u]) - vec2(28i, 41i);
                    key_sum = add_64(key_sum, align_64(join_planes(0i, high.x, low.x), aligned.x));
                    value_sum = add_64(value_sum, align_64(join_planes(0i, high.y, low.y), aligned.y));
                }
                key_sums[c] = key_sum;
                value_sums[c] = value_sum;
            }
            workgroupBarrier();
        }
    }

    var bits = vec2(0u);
    for (var c = lane; c < params.head_dim; c += HEAD_LANES) {
        bits = max(bits, vec2(bits_64(magnitude_64(key_sums[c])), bits_64(magnitude_64(value_sums[c]))));
    }
    bits.x = bitcast<u32>(head_max(lane, bitcast<i32>(bits.x)));
    bits.y = bitcast<u32>(head_max(lane, bitcast<i32>(bits.y)));
    let key_at = ((token << 1u) * params.kv_heads + kv_head) * (params.head_dim + 4u);
    let value_at = key_at + params.kv_heads * (params.head_dim + 4u);
    for (var c = lane; c < params.head_dim; c += HEAD_LANES) {
        out[key_at + c] = bitcast<i32>(round_even_64(key_sums[c], shift_of(bits.x, ROW_BITS)).x);
        out[value_at + c] = bitcast<i32>(round_even_64(value_sums[c], shift_of(bits.y, ROW_BITS)).x);
    }
    if lane == 0u {
        put_info(key_at + params.head_dim, bits.x, params.inverse_root, params.inverse_root_exponent + tops.x - 2i);
        put_info(value_at + params.head_dim, bits.y, 0x40000000u, tops.y - 50i);
    }
}
