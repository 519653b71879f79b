// One workgroup computes one key/value head of one token. Each invocation computes the weights of four queries at a time,
// and then the sums of four features at a time.

// The weights of 128 queries in two sums over queries: in dk = dSᵀ · q / √head_dim (`key_weights`, from the elements of
// dS), and in dv = Pᵀ · dout (`value_weights`, from the elements of P). For each block of 32 queries, `block_shifts`
// holds two shifts, one for dk and one for dv. A weight is the stored integer times 2^shift.
var<workgroup> key_weights: array<i32, 128>;
var<workgroup> value_weights: array<i32, 128>;
var<workgroup> block_shifts: array<vec2<u32>, 4>;
// The 64-bit sums before rounding, one for each feature of the head: those of dk, and from element 256 on those of dv.
var<workgroup> sums: array<vec2<u32>, 512>;

// Returns the sums of four features: those in word `word` of a row. `first` is 0 for dk, and 256 for dv.
fn sums_at(first: u32, word: u32) -> Sums64 {
    let at = first + (word << 2u);
    let a = vec4(sums[at], sums[at + 1u]);
    let b = vec4(sums[at + 2u], sums[at + 3u]);
    return Sums64(vec4(a.xz, b.xz), vec4(a.yw, b.yw));
}

fn put_sums(first: u32, word: u32, values: Sums64) {
    for (var i = 0u; i < 4u; i++) {
        sums[first + (word << 2u) + i] = vec2(values.low[i], values.high[i]);
    }
}

// Returns the inner products of a k row (`operand` 0) with four q rows, or of a v row (1) with four dout rows. The rows
// start at vector `key` and at the vectors `queries`.
fn dot_queries(operand: u32, key: u32, queries: vec4<u32>) -> Dots {
    let vectors = plane_vectors(params.head_dim);
    var dots = Dots();
    for (var i = 0u; i < vectors; i++) {
        if operand == 0u {
            let high = k[key + i];
            let low = k[key + vectors + i];
            add_vectors(&dots, 0u, high, low, q[queries.x + i], q[queries.x + vectors + i]);
            add_vectors(&dots, 1u, high, low, q[queries.y + i], q[queries.y + vectors + i]);
            add_vectors(&dots, 2u, high, low, q[queries.z + i], q[queries.z + vectors + i]);
            add_vectors(&dots, 3u, high, low, q[queries.w + i], q[queries.w + vectors + i]);
        } else {
            let high = v[key + i];
            let low = v[key + vectors + i];
            add_vectors(&dots, 0u, high, low, dout[queries.x + i], dout[queries.x + vectors + i]);
            add_vectors(&dots, 1u, high, low, dout[queries.y + i], dout[queries.y + vectors + i]);
            add_vectors(&dots, 2u, high, low, dout[queries.z + i], dout[queries.z + vectors + i]);
            add_vectors(&dots, 3u, high, low, dout[queries.w + i], dout[queries.w + vectors + i]);
        }
    }
    return dots;
}

@compute @workgroup_size(head_lanes)
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
    let key_exponent = bitcast<i32>(k[key + row - 1u].x);
    let value_exponent = bitcast<i32>(v[key + row - 1u].x);

    var tops = vec2(LOWEST_EXPONENT);
    for (var head = first_head; head < first_head + params.group; head++) {
        for (var t = token + lane; t < end; t += head_lanes) {
            tops = max(tops, exponents(t * params.heads + head));
        }
    }
    tops = vec2(head_max(lane, tops.x), head_max(lane, tops.y));

    for (var word = lane; (word << 2u) < params.head_dim; word += head_lanes) {
        put_sums(0u, word, Sums64());
        put_sums(256u, word, Sums64());
    }
    for (var head = first_head; head < first_head + params.group; head++) {
        // Process the queries in groups of four blocks of 32. Start with the block that contains this key's own token,
        // because earlier queries do not see this key.
        for (var start = first + (column & 0xffffffe0u); start < end; start += head_lanes << 2u) {
            let t = start + (lane << 2u);
            var folded_keys: array<vec2<u32>, 4>;
            var folded_values: array<vec2<u32>, 4>;
            var bits = vec2(0u);
            if t + 3u >= token && t < end {
                // past the last query, the last one stands for it
                let seen = min(vec4(t, t + 1u, t + 2u, t + 3u), vec4(end - 1u));
                let queries = (seen * params.heads + head) * row;
                let scores = dot_queries(0u, key, queries);
                let gradients = dot_queries(1u, key, queries);
                for (var j = 0u; j < 4u; j++) {
                    if t + j >= token && t + j < end {
                        let pair = (t + j) * params.heads + head;
                        let at = pair << 3u;
                        let pair_exponents = exponents(pair);
                        let query_exponent = bitcast<i32>(q[queries[j] + row - 1u].x);
                        let value = score_of(dot_of(scores, j), query_exponent + key_exponent).value;
                        let below = bitcast<u32>(max(bitcast<i32>(stats[at]), value)) - bitcast<u32>(value);
                        let normalizer = Normalizer(stats[at + 1u], stats[at + 2u]);
                        let probability = probability_of(normalizer, exponential_of(below));
                        let wide = folded_gradient(dot_of(gradients, j), bitcast<i32>(stats[at + 4u]), value_exponent);
                        let dp = round_even_64(wide, stats[at + 6u]);
                        // dP (the gradient with respect to the probability P) and its mean, weighted by P, are 32-bit
                        // integers, so their difference may need 33 bits.
                        let difference = subtract_64(dp, extend_64(bitcast<i32>(stats[at + 5u])));
                        let gradient = shift_left_64(round_even_64(multiply_64(difference, probability), 30u), 30u);
                        folded_keys[j] = shift_right_signed_64(gradient, distance_to(tops.x, pair_exponents.x));
                        let distance = distance_to(tops.y, pair_exponents.y);
                        folded_values[j] = shift_right_64(shift_left_64(vec2(probability, 0u), 31u), distance);
                        bits = max(bits, vec2(bits_64(magnitude_64(folded_keys[j])), bits_64(folded_values[j])));
                    }
                }
            }
            let block_bits = block_max(lane, bits);
            let shifts = vec2(shift_of(block_bits.x, WIDE_BITS), shift_of(block_bits.y, WIDE_BITS));
            for (var j = 0u; j < 4u; j++) {
                var weights = vec2(0u);
                if t + j >= token && t + j < end {
                    let index = (dither[0] + t + j) * params.heads + head;
                    let key_dither = dither_at(dither_key(params.key_stream), index, column);
                    let value_dither = dither_at(dither_key(params.value_stream), index, column);
                    weights.x = round_dither_64(folded_keys[j], shifts.x, key_dither).x;
                    weights.y = round_dither_64(folded_values[j], shifts.y, value_dither).x;
                }
                key_weights[(lane << 2u) + j] = bitcast<i32>(weights.x);
                value_weights[(lane << 2u) + j] = bitcast<i32>(weights.y);
            }
            if (lane & 7u) == 0u {
                block_shifts[lane >> 3u] = shifts;
            }
            workgroupBarrier();

            for (var word = lane; (word << 2u) < params.head_dim; word += head_lanes) {
                var key_total = sums_at(0u, word); // in units of 2^(tops.x − 2)
                var value_total = sums_at(256u, word); // in units of 2^(tops.y − 20)
                for (var block = start; block < min(start + (head_lanes << 2u), end); block += 32u) {
                    var key_high = vec4(0i); // |.| ≤ 2^14 · 2^6 · 32
                    var key_low = vec4(0i);
                    var value_high = vec4(0i);
                    var value_low = vec4(0i);
                    for (var t = max(block, token); t < min(block + 32u, end); t++) {
                        let vector = (t * params.heads + head) * row + (word >> 2u);
                        let key_weight = key_weights[t - start];
                        let value_weight = value_weights[t - start];
                        key_high += key_weight * bytes_of(q[vector][word & 3u]);
                        key_low += key_weight * bytes_of(q[vector + vectors][word & 3u]);
                        value_high += value_weight * bytes_of(dout[vector][word & 3u]);
                        value_low += value_weight * bytes_of(dout[vector + vectors][word & 3u]);
                    }
                    let shift = bitcast<vec2<i32>>(block_shifts[(block - start) >> 5u]) - vec2(28i, 41i);
                    add_block(&key_total, key_high, key_low, shift.x);
                    add_block(&value_total, value_high, value_low, shift.y);
                }
                put_sums(0u, word, key_total);
                put_sums(256u, word, value_total);
            }
            workgroupBarrier();
        }
    }

    var bits = vec2(0u);
    for (var c = lane; c < params.head_dim; c += head_lanes) {
        bits = max(bits, vec2(bits_64(magnitude_64(sums[c])), bits_64(magnitude_64(sums[c + 256u]))));
    }
    bits.x = bitcast<u32>(head_max(lane, bitcast<i32>(bits.x)));
    bits.y = bitcast<u32>(head_max(lane, bitcast<i32>(bits.y)));
    let key_at = ((token << 1u) * params.kv_heads + kv_head) * (params.head_dim + 4u);
    let value_at = key_at + params.kv_heads * (params.head_dim + 4u);
    for (var c = lane; c < params.head_dim; c += head_lanes) {
        out[key_at + c] = bitcast<i32>(round_even_64(sums[c], shift_of(bits.x, ROW_BITS)).x);
        out[value_at + c] = bitcast<i32>(round_even_64(sums[c + 256u], shift_of(bits.y, ROW_BITS)).x);
    }
    if lane == 0u {
        put_info(key_at + params.head_dim, bits.x, params.inverse_root, params.inverse_root_exponent + tops.x - 2i);
        put_info(value_at + params.head_dim, bits.y, 0x40000000u, tops.y - 50i);
    }
}
