// One workgroup computes one query head of one token. Each invocation computes the weights of four keys at a time, and
// then the sums of four features at a time.
// The array `keys` holds one word for each key. During the computation, this word is first the key's probability P, and
// later the weight of the key's k row in dq, which is computed from dS.

// The 64-bit sums of dq before rounding, one for each feature of the head.
var<workgroup> sums: array<vec2<u32>, 256>;
var<workgroup> first_key: u32;

// Returns four int8 parts (the high or the low ones) of a key row: word `word` of a vector of the buffer `k`, which has
// the parts of 16 features. `weighted_sum` calls this function for the key rows that it adds up.
fn summed_word(vector: u32, word: u32) -> u32 {
    return k[vector][word];
}

@compute @workgroup_size(head_lanes)
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
    let query_exponent = bitcast<i32>(q[query + exponent_at].x);
    let largest = bitcast<i32>(stats[pair << 3u]);
    var key_top = LOWEST_EXPONENT;
    var bits = 0u;
    for (var i = lane << 2u; i < count; i += head_lanes << 2u) {
        // past the last key, the last one stands for it
        let seen = min(vec4(i, i + 1u, i + 2u, i + 3u), vec4(count - 1u));
        let rows = vec4(start) + seen * stride;
        let scores = dot_keys(query, rows);
        let gradients = dot_values(query, rows);
        for (var j = 0u; j < 4u; j++) {
            let key_exponent = bitcast<i32>(k[rows[j] + exponent_at].x);
            let value_exponent = bitcast<i32>(v[rows[j] + exponent_at].x);
            let value = score_of(dot_of(scores, j), query_exponent + key_exponent).value;
            let below = bitcast<u32>(max(largest, value)) - bitcast<u32>(value);
            keys[seen[j]] = probability_of(normalizer, exponential_of(below));
            key_top = max(key_top, key_exponent);
            bits = max(bits, bits_64(magnitude_64(folded_gradient(dot_of(gradients, j), top, value_exponent))));
        }
    }
    key_top = head_max(lane, key_top);
    bits = bitcast<u32>(head_max(lane, bitcast<i32>(bits)));
    let gradient_shift = shift_of(bits, ROW_BITS);

    var sum = vec2(0u, 0u);
    for (var i = lane << 2u; i < count; i += head_lanes << 2u) {
        let seen = min(vec4(i, i + 1u, i + 2u, i + 3u), vec4(count - 1u));
        let rows = vec4(start) + seen * stride;
        let gradients = dot_values(query, rows);
        for (var j = 0u; j < 4u && i + j < count; j++) {
            let value_exponent = bitcast<i32>(v[rows[j] + exponent_at].x);
            let dp = round_even_64(folded_gradient(dot_of(gradients, j), top, value_exponent), gradient_shift).x;
            sum = add_64(sum, multiply_i32(bitcast<i32>(keys[i + j]), bitcast<i32>(dp)));
        }
    }
    let mean = round_even_64(head_sum(lane, sum), 30u).x;

    let dithers = dither_key(params.stream);
    let index = (dither[0] + token) * params.heads + head;
    for (var block = 0u; block < count; block += head_lanes << 2u) {
        let i = block + (lane << 2u);
        var folded: array<vec2<u32>, 4>;
        var length = 0u;
        if i < count {
            let rows = vec4(start) + min(vec4(i, i + 1u, i + 2u, i + 3u), vec4(count - 1u)) * stride;
            let gradients = dot_values(query, rows);
            for (var j = 0u; j < 4u && i + j < count; j++) {
                let value_exponent = bitcast<i32>(v[rows[j] + exponent_at].x);
                let dp = round_even_64(folded_gradient(dot_of(gradients, j), top, value_exponent), gradient_shift);
                // dP (the gradient with respect to the probability P) and its mean, weighted by P, are 32-bit integers,
                // so their difference may need 33 bits.
                let difference = subtract_64(dp, extend_64(bitcast<i32>(mean)));
                let gradient = round_even_64(multiply_64(difference, keys[i + j]), 30u);
                let distance = distance_to(key_top, bitcast<i32>(k[rows[j] + exponent_at].x));
                folded[j] = shift_right_signed_64(shift_left_64(gradient, 30u), distance);
                length = max(length, bits_64(magnitude_64(folded[j])));
            }
        }
        let shift = shift_of(block_max(lane, vec2(length, 0u)).x, WIDE_BITS);
        let dither_bits = dither_word(dithers, index, i >> 2u);
        for (var j = 0u; j < 4u && i + j < count; j++) {
            keys[i + j] = round_dither_64(folded[j], shift, dither_bits[j]).x;
        }
        if (lane & 7u) == 0u && i < count {
            shifts[i >> 5u] = shift;
        }
    }
    workgroupBarrier();

    bits = 0u;
    for (var word = lane; (word << 2u) < params.head_dim; word += head_lanes) {
        let total = weighted_sum(start, stride, count, word, 26i); // in units of 2^(dS exponent + key_top − 4)
        for (var i = 0u; i < 4u; i++) {
            let sum = vec2(total.low[i], total.high[i]);
            bits = max(bits, bits_64(magnitude_64(sum)));
            sums[(word << 2u) + i] = sum;
        }
    }
    bits = bitcast<u32>(head_max(lane, bitcast<i32>(bits)));
    let shift = shift_of(bits, ROW_BITS);
    let at = pair * (params.head_dim + 4u);
    for (var c = lane; c < params.head_dim; c += head_lanes) {
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
