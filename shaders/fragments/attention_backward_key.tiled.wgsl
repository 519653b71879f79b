// One workgroup computes one key/value head of 16 tokens. It multiplies the tile of 16 keys by tiles of 64 queries, once
// for dk and once for dv. For heads of more than 128 features, each is computed in three turns: the first 128 features
// (only their largest magnitude), the others, and the first again.

// For each row of the tile: the largest exponents of its queries (see `exponents`).
var<workgroup> tops: array<vec2<i32>, 16>;

fn row_vector(operand: u32, token: u32, at: u32) -> vec4<u32> {
    return key_vector(operand, token, at);
}

fn column_vector(operand: u32, token: u32, at: u32) -> vec4<u32> {
    return query_vector(operand, token, at);
}

// Stores in `tops`, for each key of tokens start to end − 1, the largest exponents of its queries. `context_end` is the
// end of the sequence.
fn find_tops(lane: u32, tile: u32, start: u32, end: u32, context_end: u32) {
    var later = vec2(LOWEST_EXPONENT);
    for (var head = key_head * params.group; head < (key_head + 1u) * params.group; head++) {
        for (var token = end + lane; token < context_end; token += TILE_LANES) {
            later = max(later, exponents(token * params.heads + head));
        }
    }
    let is_owner = lane < end - tile && lane >= start - tile;
    put_value(lane, later.x);
    if is_owner {
        later.x = largest_value();
    }
    put_value(lane, later.y);
    if is_owner {
        later.y = largest_value();
        for (var head = key_head * params.group; head < (key_head + 1u) * params.group; head++) {
            for (var token = tile + lane; token < end; token++) {
                later = max(later, exponents(token * params.heads + head));
            }
        }
        tops[lane] = later;
    }
}

@compute @workgroup_size(128, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    key_head = group.x;
    let tile = (group.y + params.first_group) * TILE_ROWS;
    let tile_end = min(tile + TILE_ROWS, params.tokens);
    // the keys of each sequence that has tokens in the tile
    for (var start = tile; start < tile_end; ) {
        let first = stats[((start * params.heads) << 3u) + 3u];
        let end = min(tile_end, first + params.context);
        find_tops(local.x, tile, start, end, first + params.context);
        for (var target_row = 0u; target_row < 2u; target_row++) {
            attend(local.x, group.x, tile, first, start, end, target_row);
        }
        start = end;
    }
}

// Computes the keys of tokens start to end − 1, which belong to the sequence that begins at token `first`: dk (target 0)
// or dv (target 1). `kv_head` is `key_head`, which must not decide about barriers.
fn attend(lane: u32, kv_head: u32, tile: u32, first: u32, start: u32, end: u32, target_row: u32) {
    let last = params.tokens - 1u;
    let quad = (lane & 15u) << 2u;
    let rows = vec2(lane >> 4u, (lane >> 4u) + 8u);
    let tokens = min(vec2(tile) + rows, vec2(last));
    let inside = (vec2(tile) + rows >= vec2(start)) & (vec2(tile) + rows < vec2(end));
    let is_owner = lane < TILE_ROWS && lane >= start - tile && lane < end - tile;
    let key_exponents = vec2(
        bitcast<i32>(row_vector(0u, tokens.x, exponent_at()).x),
        bitcast<i32>(row_vector(0u, tokens.y, exponent_at()).x),
    );
    let value_exponents = vec2(
        bitcast<i32>(row_vector(1u, tokens.x, exponent_at()).x),
        bitcast<i32>(row_vector(1u, tokens.y, exponent_at()).x),
    );
    let context_end = first + params.context;
    if lane < TILE_ROWS {
        atomicStore(&row_bits[lane], 0u);
    }
    let dithers = dither_key(select(params.key_stream, params.value_stream, target_row == 1u));
    let left = select(28i, 41i, target_row == 1u);

    let turns = select(1u, 3u, params.head_dim > 128u);
    for (var turn = 0u; turn < turns; turn++) {
        var totals0 = TileTotals();
        var totals1 = TileTotals();
        let part = (turn & 1u) << 1u;
        for (var head = kv_head * params.group; head < (kv_head + 1u) * params.group; head++) {
            query_head = head;
            // Start with the block that contains the first key's own token: earlier queries do not see the keys.
            for (var column = start - ((start - first) & 31u); column < context_end; column += TILE_COLUMNS) {
                if lane < 32u {
                    atomicStore(&tile_bits[lane], 0u);
                }
                var probabilities0 = vec4(0u);
                var probabilities1 = vec4(0u);
                let scores = tile_dots(lane, 0u, tile, column, last);
                for (var j = 0u; j < 4u; j++) {
                    let token = min(column + quad + j, last);
                    let exponent = bitcast<i32>(column_vector(0u, token, exponent_at()).x);
                    let pair = (token * params.heads + head) << 3u;
                    probabilities0[j] = probability(pair, tile_dot(scores, 0u, j), key_exponents.x + exponent);
                    probabilities1[j] = probability(pair, tile_dot(scores, 1u, j), key_exponents.y + exponent);
                }
                var dots = TileDots();
                if target_row == 0u {
                    dots = tile_dots(lane, 1u, tile, column, last);
                }
                var folded0: array<vec2<u32>, 4>;
                var folded1: array<vec2<u32>, 4>;
                var dithers0 = vec4(0u);
                var dithers1 = vec4(0u);
                for (var j = 0u; j < 4u; j++) {
                    let token = column + quad + j;
                    let pair = min(token, last) * params.heads + head;
                    let pair_exponents = exponents(pair);
                    let index = (dither[0] + token) * params.heads + head;
                    for (var i = 0u; i < 2u; i++) {
                        if inside[i] && token >= tokens[i] && token < context_end {
                            let p = select(probabilities0[j], probabilities1[j], i == 1u);
                            var folded = vec2(0u);
                            if target_row == 0u {
                                let top = bitcast<i32>(stats[(pair << 3u) + 4u]);
                                let gradient = folded_gradient(tile_dot(dots, i, j), top, value_exponents[i]);
                                let dp = round_even_64(gradient, stats[(pair << 3u) + 6u]);
                                // dP (the gradient with respect to the probability P) and its mean, weighted by P, are
                                // 32-bit integers, so their difference may need 33 bits.
                                let mean = bitcast<i32>(stats[(pair << 3u) + 5u]);
                                let difference = subtract_64(dp, extend_64(mean));
                                let ds = round_even_64(multiply_64(difference, p), 30u);
                                let distance = distance_to(tops[rows[i]].x, pair_exponents.x);
                                folded = shift_right_signed_64(shift_left_64(ds, 30u), distance);
                            } else {
                                let wide = shift_left_64(vec2(p, 0u), 31u);
                                folded = shift_right_64(wide, distance_to(tops[rows[i]].y, pair_exponents.y));
                            }
                            let dither_bits = dither_at(dithers, index, tokens[i] - first);
                            if i == 0u {
                                folded0[j] = folded;
                                dithers0[j] = dither_bits;
                            } else {
                                folded1[j] = folded;
                                dithers1[j] = dither_bits;
                            }
                        }
                    }
                }
                share_bits(lane, folded0, folded1);
                let block = (lane >> 3u) & 1u;
                put_weights(lane, rows.x, dithered(folded0, block_shift(rows.x, block), dithers0));
                put_weights(lane, rows.y, dithered(folded1, block_shift(rows.y, block), dithers1));
                add_weighted(&totals0, lane, target_row, column, last, part, left);
                if ((part + 1u) << 6u) < params.head_dim {
                    add_weighted(&totals1, lane, target_row, column, last, part + 1u, left);
                }
                workgroupBarrier();
            }
        }
        share_row_bits(rows, inside, totals0, totals1);
        if turns == 1u || turn > 0u {
            put_rows(rows, inside, vec2(out_row(tokens.x, target_row), out_row(tokens.y, target_row)), (part << 6u) + quad, totals0, totals1);
        }
    }
    if is_owner {
        let bits = atomicLoad(&row_bits[lane]);
        let info = out_row(tile + lane, target_row) + params.head_dim;
        if target_row == 0u {
            put_info(info, bits, params.inverse_root, params.inverse_root_exponent + tops[lane].x - 2i);
        } else {
            put_info(info, bits, 0x40000000u, tops[lane].y - 50i);
        }
    }
    workgroupBarrier();
}

// Returns the probability of the key for a query, in Q30. `pair` is the index of the query's statistics, `dot` the inner
// product of the query and the key, and `exponents_sum` the sum of their exponents.
fn probability(pair: u32, dot: vec2<u32>, exponents_sum: i32) -> u32 {
    let value = score_of(dot, exponents_sum).value;
    let below = bitcast<u32>(max(bitcast<i32>(stats[pair]), value)) - bitcast<u32>(value);
    return probability_of(Normalizer(stats[pair + 1u], stats[pair + 2u]), exponential_of(below));
}

// Returns the index in `out` of a token's row of dk or dv.
fn out_row(token: u32, target_row: u32) -> u32 {
    return (((token << 1u) + target_row) * params.kv_heads + key_head) * (params.head_dim + 4u);
}

fn put_feature(at: u32, value: i32) {
    out[at] = value;
}
