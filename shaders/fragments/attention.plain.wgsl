// One workgroup computes one query head of one token. Each invocation computes the weights of four keys at a time, and
// then the sums of four output features at a time.
// The array `keys` holds one word for each key. During the computation, this word is first the key's score, then the
// exponential of the score, and finally the weight of the key's value row in the sum.

// Returns four int8 parts (the high or the low ones) of a value row: word `word` of a vector of the buffer `v`, which has
// the parts of 16 features. `weighted_sum` calls this function for the value rows that it adds up.
fn summed_word(vector: u32, word: u32) -> u32 {
    return v[vector][word];
}

@compute @workgroup_size(head_lanes)
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
    for (var i = lane; i < count * params.kv_heads; i += head_lanes) {
        top = max(top, bitcast<i32>(v[(first * params.kv_heads + i) * row + exponent_at].x));
    }
    top = head_max(lane, top);

    let query = (token * params.heads + head) * row;
    let query_exponent = bitcast<i32>(q[query + exponent_at].x);
    var largest = -1073741824i;
    for (var i = lane << 2u; i < count; i += head_lanes << 2u) {
        // past the last key, the last one stands for it
        let seen = min(vec4(i, i + 1u, i + 2u, i + 3u), vec4(count - 1u));
        let dots = dot_keys(query, vec4(start) + seen * stride);
        for (var j = 0u; j < 4u; j++) {
            let exponent = bitcast<i32>(k[start + seen[j] * stride + exponent_at].x);
            let value = score_of(dot_of(dots, j), query_exponent + exponent);
            if value.saturated {
                atomicMax(&flag, 1u);
            }
            largest = max(largest, value.value);
            keys[seen[j]] = bitcast<u32>(value.value);
        }
    }
    largest = head_max(lane, largest);

    var sum = vec2(0u, 0u);
    for (var i = lane; i < count; i += head_lanes) {
        let exponential = exponential_of(bitcast<u32>(largest) - keys[i]);
        sum = add_64(sum, vec2(exponential, 0u));
        keys[i] = exponential;
    }
    let normalizer = normalizer_new(head_sum(lane, sum));

    for (var block = 0u; block < count; block += head_lanes << 2u) {
        let i = block + (lane << 2u);
        var folded: array<vec2<u32>, 4>;
        var bits = 0u;
        for (var j = 0u; j < 4u; j++) {
            if i + j < count {
                let wide = shift_left_64(vec2(probability_of(normalizer, keys[i + j]), 0u), 31u);
                let exponent = bitcast<i32>(v[start + (i + j) * stride + exponent_at].x);
                folded[j] = shift_right_64(wide, distance_to(top, exponent));
                bits = max(bits, bits_64(folded[j]));
            }
        }
        let shift = shift_of(block_max(lane, vec2(bits, 0u)).x, WIDE_BITS);
        for (var j = 0u; j < 4u; j++) {
            if i + j < count {
                keys[i + j] = round_even_64(folded[j], shift).x;
            }
        }
        if (lane & 7u) == 0u && i < count {
            shifts[i >> 5u] = shift;
        }
    }
    workgroupBarrier();

    let width = params.heads * params.head_dim;
    let at = token * (width + 4u);
    for (var word = lane; (word << 2u) < params.head_dim; word += head_lanes) {
        let total = weighted_sum(start, stride, count, word, 29i); // in units of 2^(top − 32)
        for (var i = 0u; i < 4u; i++) {
            let c = (word << 2u) + i;
            if c < params.head_dim {
                let value = round_even_64(vec2(total.low[i], total.high[i]), 16u).x;
                out[at + head * params.head_dim + c] = bitcast<i32>(value);
            }
        }
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
