// dq = dS · k / √head_dim, dS = P ∘ (dP − Σ P ∘ dP), dP = dout · vᵀ: attention's gradient by query.
// One workgroup: one head of one token. One invocation: one key, then one feature, at a time.

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
@group(0) @binding(5) var<storage, read> tables: array<u32>; // exponentials, logarithms
@group(0) @binding(6) var<storage, read> dither: array<u32>; // first token, 0, keys of streams
@group(0) @binding(7) var<storage, read_write> stats: array<u32>; // [tokens, heads, 8]
@group(0) @binding(8) var<storage, read_write> dq: array<i32>; // [tokens, heads, head_dim + 4] i32 rows

// At least the longest sequence.
override keys_held: u32 = 2048u;
// A word a visible key: its probability, then the weight of its gradient in its block.
var<workgroup> keys: array<u32, keys_held>;
// Of each block's weights.
var<workgroup> shifts: array<u32, 64>;
// Of features.
var<workgroup> sums: array<vec2<u32>, 256>;
var<workgroup> first_key: u32;

// q · k of two rows, exact.
fn dot_key(query: u32, key: u32) -> vec2<u32> {
    let vectors = plane_vectors(params.head_dim);
    var high = 0i;
    var middle = 0i;
    var low = 0i;
    for (var i = 0u; i < vectors; i++) {
        let query_high = q[query + i];
        let query_low = q[query + vectors + i];
        let key_high = k[key + i];
        let key_low = k[key + vectors + i];
        high += dot_bytes(query_high, key_high);
        middle += dot_bytes(query_high, key_low) + dot_bytes(query_low, key_high);
        low += dot_bytes(query_low, key_low);
    }
    return join_planes(high, middle, low);
}

// dout · v of two rows, exact.
fn dot_value(query: u32, key: u32) -> vec2<u32> {
    let vectors = plane_vectors(params.head_dim);
    var high = 0i;
    var middle = 0i;
    var low = 0i;
    for (var i = 0u; i < vectors; i++) {
        let dout_high = dout[query + i];
        let dout_low = dout[query + vectors + i];
        let value_high = v[key + i];
        let value_low = v[key + vectors + i];
        high += dot_bytes(dout_high, value_high);
        middle += dot_bytes(dout_high, value_low) + dot_bytes(dout_low, value_high);
        low += dot_bytes(dout_low, value_low);
    }
    return join_planes(high, middle, low);
}

// dP with the exponent of its value folded in: ≤ 2^61.
fn folded_gradient(query: u32, key: u32, top: i32) -> vec2<u32> {
    let exponent = bitcast<i32>(v[key + (plane_vectors(params.head_dim) << 1u)].x);
    return shift_right_signed_64(shift_left_64(dot_value(query, key), 25u), distance_to(top, exponent));
}

@compute @workgroup_size(128, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let lane = local.x;
    let head = group.x;
    let token = group.y + params.first_group;
    let pair = token * params.heads + head;
    let vectors = plane_vectors(params.head_dim);
    let row = head_vectors(params.head_dim);
    let exponent_at = vectors << 1u;
    let normalizer = Normalizer(stats[(pair << 3u) + 1u], stats[(pair << 3u) + 2u]);
    let top = bitcast<i32>(stats[(pair << 3u) + 4u]);
    if lane == 0u {
        first_key = stats[(pair << 3u) + 3u];
    }
    let first = workgroupUniformLoad(&first_key);
    let count = token - first + 1u;
    // of this head's first visible key, and from one key to the next
    let start = (first * params.kv_heads + ((head * params.group_inverse) >> 16u)) * row;
    let stride = params.kv_heads * row;

    let query = pair * row;
    let query_shift = params.score_shift - bitcast<i32>(q[query + exponent_at].x);
    let largest = bitcast<i32>(stats[pair << 3u]);
    var key_top = ZERO_EXPONENT;
    var bits = 0u;
    for (var i = lane; i < count; i += HEAD_LANES) {
        let key = start + i * stride;
        let key_exponent = bitcast<i32>(k[key + exponent_at].x);
        let product = multiply_64(dot_key(query, key), params.score_mantissa);
        let value = score(product, query_shift - key_exponent).value;
        let below = bitcast<u32>(max(largest, value)) - bitcast<u32>(value);
        let index = exponential_index(below);
        keys[i] = probability_of(normalizer, exponential_between(tables[index], tables[index + 1u], below));
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

    let stream = vec2(dither[2u + (params.stream << 1u)], dither[3u + (params.stream << 1u)]);
    let index = (dither[0] + token) * params.heads + head;
    for (var block = 0u; block < count; block += HEAD_LANES) {
        let i = block + lane;
        var folded = vec2(0u, 0u);
        if i < count {
            let key = start + i * stride;
            let dp = round_even_64(folded_gradient(query, key, top), gradient_shift);
            // dp − mean may need 33 bits
            let difference = subtract_64(dp, extend_64(bitcast<i32>(mean)));
            let gradient = round_even_64(multiply_64(difference, keys[i]), 30u);
            let key_exponent = bitcast<i32>(k[key + exponent_at].x);
            folded = shift_right_signed_64(shift_left_64(gradient, 30u), distance_to(key_top, key_exponent));
        }
        let length = bits_64(magnitude_64(folded));
        let shift = shift_of(block_max(lane, vec2(length, 0u)).x, WIDE_BITS);
        if i < count {
            keys[i] = round_dither_64(folded, shift, dither_at(stream, index, i)).x;
            if (lane & 31u) == 0u {
                shifts[i >> 5u] = shift;
            }
        }
    }
    workgroupBarrier();

    bits = 0u;
    for (var c = lane; c < params.head_dim; c += HEAD_LANES) {
        var total = vec2(0u, 0u); // in 2^(dS exponent + key_top − 4)
        for (var block = 0u; block < count; block += 32u) {
            var high = 0i; // |.| ≤ 2^14 · 2^6 · 32
            var low = 0i;
            for (var i = block; i < min(block + 32u, count); i++) {
                let vector = start + i * stride + (c >> 4u);
                let weight = bitcast<i32>(keys[i]);
                high += weight * byte_of(k[vector][(c >> 2u) & 3u], c);
                low += weight * byte_of(k[vector + vectors][(c >> 2u) & 3u], c);
            }
            let exact = join_planes(0i, high, low);
            total = add_64(total, align_64(exact, bitcast<i32>(shifts[block >> 5u]) - 26i));
        }
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
