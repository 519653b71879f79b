// The gradient of attention with respect to queries: dq = dS · k / √head_dim, where dS = P ∘ (dP − Σ P ∘ dP),
// dP = dout · vᵀ, and P are the attention probabilities; the sum is over keys, and ∘ is the elementwise product. One
// workgroup computes one query head of one token. Each invocation computes the weight of one key at a time, and then
// the sum of one feature at a time.
// The array `keys` holds one word for each key. During the computation, this word is first the key's probability P, and
// later the weight of the key's k row in dq, which is computed from dS.

struct Params {
    first_group: u32,
    tokens: u32,
    heads: u32,
    kv_heads: u32,
    head_dim: u32,
    group_inverse: u32,
    score_mantissa: u32,
    score_shift: i32,
    inverse_root: u32,
    inverse_root_exponent: i32,
    stream: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<u32>>; // [tokens, heads] head rows
@group(0) @binding(2) var<storage, read> k: array<vec4<u32>>; // [tokens, kv_heads] head rows
@group(0) @binding(3) var<storage, read> v: array<vec4<u32>>; // [tokens, kv_heads] head rows
@group(0) @binding(4) var<storage, read> dout: array<vec4<u32>>; // [tokens, heads] head rows
@group(0) @binding(5) var<storage, read> tables: array<u32>; // [257] exponentials Q30, then [257] logarithms Q24
@group(0) @binding(6) var<storage, read> dither: array<u32>; // index of the first token, 0, keys of the streams
@group(0) @binding(7) var<storage, read_write> stats: array<u32>; // [tokens, heads, 8], see src/kernels/attention.rs
@group(0) @binding(8) var<storage, read_write> dq: array<i32>; // [tokens, heads, head_dim + 4] i32 rows

// The 64-bit sums of dq before rounding, one for each feature of the head.
var<workgroup> sums: array<vec2<u32>, 256>;
var<workgroup> first_key: u32;

// Returns one of the two int8 parts (the high or the low one) of feature c of a key row. `vector` is the index in the
// buffer `k` of the vector that contains this part. A vector has four words and contains the parts of 16 features.
// `weighted_sum` calls this function for the key rows that it adds up.
fn summed_byte(vector: u32, c: u32) -> i32 {
    return byte_of(k[vector][(c >> 2u) & 3u], c);
}

@compute @workgroup_size(128, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let lane = local.x;
    let head = group.x;
    let token = group.y + params.first_group;
    let pair = token * params.heads + head;
    let row = head_vectors(params.head_dim);
    let exponent_at = row - 1u;
    let normalizer = Normalizer(stats[(pair << 3u) + 1u], stats[(pair << 3u) + 2u]);
    let top = bitcast<i32>(stats[(pair << 3u) + 4u]);
    if lane == 0u {
        first_key = stats[(pair << 3u) + 3u];
    }
    let first = workgroupUniformLoad(&first_key);
    let count = token - first + 1u;
    // `start` is the index in k and in v at which the first visible key's row for this head begins. `stride` is the
    // distance from one key's row to the next. Both are counted in vectors of four words.
    let start = (first * params.kv_heads + ((head * params.group_inverse) >> 16u)) * row;
    let stride = params.kv_heads * row;

    let query = pair * row;
    let largest = bitcast<i32>(stats[pair << 3u]);
    var key_top = LOWEST_EXPONENT;
    var bits = 0u;
    for (var i = lane; i < count; i += HEAD_LANES) {
        let key = start + i * stride;
        let key_exponent = bitcast<i32>(k[key + exponent_at].x);
        let value = key_score(query, key).value;
        let below = bitcast<u32>(max(largest, value)) - bitcast<u32>(value);
        keys[i] = probability_of(normalizer, exponential_of(below));
        key_top = max(key_top, key_exponent);
        bits = max(bits, bits_64(magnitude_64(folded_gradient(query, key, top))));
    }
    key_top = head_max(lane, key_top);
    bits = bitcast<u32>(head_max(lane, bitcast<i32>(bits)));
    let gradient_shift = shift_of(bits, ROW_BITS);

    var sum = vec2(0u, 0u);
    for (var i = lane; i < count; i += HEAD_LANES) {
        let dp = round_even_64(folded_gradient(query, start + i * stride, top), gradient_shift).x;
        sum = add_64(sum, multiply_i32(bitcast<i32>(keys[i]), bitcast<i32>(dp)));
    }
    let mean = round_even_64(head_sum(lane, sum), 30u).x;

    let dithers = dither_key(params.stream);
    let index = (dither[0] + token) * params.heads + head;
    for (var block = 0u; block < count; block += HEAD_LANES) {
        let i = block + lane;
        var folded = vec2(0u, 0u);
        if i < count {
            let key = start + i * stride;
            let dp = round_even_64(folded_gradient(query, key, top), gradient_shift);
            // dP (the gradient with respect to the probability P) and its mean, weighted by P, are 32-bit integers, so
            // their difference may need 33 bits.
            let difference = subtract_64(dp, extend_64(bitcast<i32>(mean)));
            let gradient = round_even_64(multiply_64(difference, keys[i]), 30u);
            let key_exponent = bitcast<i32>(k[key + exponent_at].x);
            folded = shift_right_signed_64(shift_left_64(gradient, 30u), distance_to(key_top, key_exponent));
        }
        let length = bits_64(magnitude_64(folded));
        let shift = shift_of(block_max(lane, vec2(length, 0u)).x, WIDE_BITS);
        if i < count {
            keys[i] = round_dither_64(folded, shift, dither_at(dithers, index, i)).x;
            if (lane & 31u) == 0u {
                shifts[i >> 5u] = shift;
            }
        }
    }
    workgroupBarrier();

    bits = 0u;
    for (var c = lane; c < params.head_dim; c += HEAD_LANES) {
        let total = weighted_sum(start, stride, count, c, 26i); // in units of 2^(dS exponent + key_top − 4)
        bits = max(bits, bits_64(magnitude_64(total)));
        sums[c] = total;
    }
    bits = bitcast<u32>(head_max(lane, bitcast<i32>(bits)));
    let shift = shift_of(bits, ROW_BITS);
    let at = pair * (params.head_dim + 4u);
    for (var c = lane; c < params.head_dim; c += HEAD_LANES) {
        dq[at + c] = bitcast<i32>(round_even_64(sums[c], shift).x);
    }

    if lane == 0u {
        stats[(pair << 3u) + 5u] = mean;
        stats[(pair << 3u) + 6u] = gradient_shift;
        let dout_exponent = bitcast<i32>(dout[query + exponent_at].x);
        let gradient_exponent = dout_exponent + top - 25i + bitcast<i32>(gradient_shift);
        let exponent = params.inverse_root_exponent + gradient_exponent + key_top - 4i + bitcast<i32>(shift);
        let end = at + params.head_dim;
        dq[end] = select(bitcast<i32>(params.inverse_root), 0i, bits == 0u);
        dq[end + 1u] = select(exponent, 0i, bits == 0u);
        dq[end + 2u] = 0i;
        dq[end + 3u] = 0i;
    }
}
