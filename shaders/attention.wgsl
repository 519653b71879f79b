// Causal attention with grouped key/value heads: out = softmax(q · kᵀ / √head_dim) · v. One workgroup computes one
// query head of one token. Each invocation computes the weight of one key at a time, and then the sum of one output
// feature at a time.
// The array `keys` holds one word for each key. During the computation, this word is first the key's score, then the
// exponential of the score, and finally the weight of the key's value row in the sum.

struct Params {
    first_group: u32,
    tokens: u32,
    heads: u32,
    kv_heads: u32,
    head_dim: u32,
    group_inverse: u32,
    score_mantissa: u32,
    score_shift: i32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<u32>>; // [tokens, heads] head rows
@group(0) @binding(2) var<storage, read> k: array<vec4<u32>>; // [tokens, kv_heads] head rows
@group(0) @binding(3) var<storage, read> v: array<vec4<u32>>; // [tokens, kv_heads] head rows
@group(0) @binding(4) var<storage, read> positions: array<u32>; // [tokens] positions in the sequence
@group(0) @binding(5) var<storage, read> tables: array<u32>; // [257] exponentials Q30, then [257] logarithms Q24
@group(0) @binding(6) var<storage, read_write> out: array<i32>; // [tokens, heads · head_dim + 4] i32 rows
@group(0) @binding(7) var<storage, read_write> stats: array<u32>; // [tokens, heads, 8], see src/kernels/attention.rs
@group(0) @binding(8) var<storage, read_write> flag: atomic<u32>;

// Returns one of the two int8 parts (the high or the low one) of feature c of a value row. `vector` is the index in the
// buffer `v` of the vector that contains this part. A vector has four words and contains the parts of 16 features.
// `weighted_sum` calls this function for the value rows that it adds up.
fn summed_byte(vector: u32, c: u32) -> i32 {
    return byte_of(v[vector][(c >> 2u) & 3u], c);
}

@compute @workgroup_size(128, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let lane = local.x;
    let head = group.x;
    let token = group.y + params.first_group;
    let first = token - positions[token];
    let count = positions[token] + 1u;
    let row = head_vectors(params.head_dim);
    let exponent_at = row - 1u;
    // `start` is the index in k and in v at which the first visible key's row for this head begins. `stride` is the
    // distance from one key's row to the next. Both are counted in vectors of four words.
    let start = (first * params.kv_heads + ((head * params.group_inverse) >> 16u)) * row;
    let stride = params.kv_heads * row;

    // The largest exponent of the visible value rows, over all heads. All heads use the same exponent, because a
    // token's output is a single row with a single scale.
    var top = LOWEST_EXPONENT;
    for (var i = lane; i < count * params.kv_heads; i += HEAD_LANES) {
        top = max(top, bitcast<i32>(v[(first * params.kv_heads + i) * row + exponent_at].x));
    }
    top = head_max(lane, top);

    let query = (token * params.heads + head) * row;
    var largest = -1073741824i;
    for (var i = lane; i < count; i += HEAD_LANES) {
        let value = key_score(query, start + i * stride);
        if value.saturated {
            atomicMax(&flag, 1u);
        }
        largest = max(largest, value.value);
        keys[i] = bitcast<u32>(value.value);
    }
    largest = head_max(lane, largest);

    var sum = vec2(0u, 0u);
    for (var i = lane; i < count; i += HEAD_LANES) {
        let exponential = exponential_of(bitcast<u32>(largest) - keys[i]);
        sum = add_64(sum, vec2(exponential, 0u));
        keys[i] = exponential;
    }
    let normalizer = normalizer_new(head_sum(lane, sum));

    for (var block = 0u; block < count; block += HEAD_LANES) {
        let i = block + lane;
        var folded = vec2(0u, 0u);
        if i < count {
            let wide = shift_left_64(vec2(probability_of(normalizer, keys[i]), 0u), 31u);
            folded = shift_right_64(wide, distance_to(top, bitcast<i32>(v[start + i * stride + exponent_at].x)));
        }
        let shift = shift_of(block_max(lane, vec2(bits_64(folded), 0u)).x, WIDE_BITS);
        if i < count {
            keys[i] = round_even_64(folded, shift).x;
            if (lane & 31u) == 0u {
                shifts[i >> 5u] = shift;
            }
        }
    }
    workgroupBarrier();

    let width = params.heads * params.head_dim;
    let at = token * (width + 4u);
    for (var c = lane; c < params.head_dim; c += HEAD_LANES) {
        let total = weighted_sum(start, stride, count, c, 29i); // in units of 2^(top − 32)
        out[at + head * params.head_dim + c] = bitcast<i32>(round_even_64(total, 16u).x);
    }

    if lane == 0u {
        let pair = (token * params.heads + head) << 3u;
        stats[pair] = bitcast<u32>(largest);
        stats[pair + 1u] = normalizer.mantissa;
        stats[pair + 2u] = normalizer.shift;
        stats[pair + 3u] = first;
        stats[pair + 4u] = bitcast<u32>(top);
        stats[pair + 5u] = 0u;
        stats[pair + 6u] = 0u;
        stats[pair + 7u] = 0u;
        if head == 0u {
            let zero = top == ZERO_EXPONENT;
            out[at + width] = select(0x40000000i, 0i, zero);
            out[at + width + 1u] = select(top - 46i, 0i, zero);
            out[at + width + 2u] = 0i;
            out[at + width + 3u] = 0i;
        }
    }
}
