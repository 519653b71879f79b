// One workgroup computes one query head of 16 tokens. It multiplies the tile of 16 queries by tiles of 64 keys: first for
// the largest dP of each query, then for the mean of dP, then for the weights of the k rows. For heads of more than 128
// features, the weighted sums are computed in three turns: of the first 128 features (only their largest magnitude), of
// the others, and of the first again.

// For each row of the tile: the first key and the largest exponents of the v rows and of the k rows that the query
// sees; the largest score; the normalizer.
var<workgroup> firsts: array<u32, 16>;
var<workgroup> tops: array<vec2<i32>, 16>;
var<workgroup> maxima: array<i32, 16>;
var<workgroup> normalizers: array<vec2<u32>, 16>;
// For each row: the mean of dP, and the shift of dP.
var<workgroup> means: array<i32, 16>;
var<workgroup> gradient_shifts: array<u32, 16>;

fn row_vector(operand: u32, token: u32, at: u32) -> vec4<u32> {
    return query_vector(operand, token, at);
}

fn column_vector(operand: u32, token: u32, at: u32) -> vec4<u32> {
    return key_vector(operand, token, at);
}

// Stores in `tops` (y), for each query of tokens start to end − 1, the largest exponent of the k rows that it sees.
fn find_tops(lane: u32, tile: u32, first: u32, start: u32, end: u32) {
    var shared_top = LOWEST_EXPONENT;
    for (var token = first + lane; token < start; token += TILE_LANES) {
        shared_top = max(shared_top, bitcast<i32>(column_vector(0u, token, exponent_at()).x));
    }
    put_value(lane, shared_top);
    if lane < end - tile && lane >= start - tile {
        shared_top = largest_value();
        for (var token = start; token < tile + lane + 1u; token++) {
            shared_top = max(shared_top, bitcast<i32>(column_vector(0u, token, exponent_at()).x));
        }
        tops[lane].y = shared_top;
    }
}

@compute @workgroup_size(128, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let lane = local.x;
    query_head = group.x;
    key_head = (group.x * params.group_inverse) >> 16u;
    let tile = (group.y + params.first_group) * TILE_ROWS;
    let tile_end = min(tile + TILE_ROWS, params.tokens);
    if lane < tile_end - tile {
        let pair = ((tile + lane) * params.heads + query_head) << 3u;
        maxima[lane] = bitcast<i32>(stats[pair]);
        normalizers[lane] = vec2(stats[pair + 1u], stats[pair + 2u]);
        firsts[lane] = stats[pair + 3u];
        tops[lane].x = bitcast<i32>(stats[pair + 4u]);
        atomicStore(&row_bits[lane], 0u);
    }
    // the queries of each sequence that has tokens in the tile
    for (var start = tile; start < tile_end; ) {
        let first = workgroupUniformLoad(&firsts[start - tile]);
        var end = start + 1u;
        for (; end < tile_end; end++) {
            if workgroupUniformLoad(&firsts[end - tile]) != first {
                break;
            }
        }
        attend(lane, tile, first, start, end);
        start = end;
    }
}

// Computes the queries of tokens start to end − 1, which belong to the sequence that begins at token `first`.
fn attend(lane: u32, tile: u32, first: u32, start: u32, end: u32) {
    let last = params.tokens - 1u;
    let quad = (lane & 15u) << 2u;
    let rows = vec2(lane >> 4u, (lane >> 4u) + 8u);
    let tokens = min(vec2(tile) + rows, vec2(last));
    let inside = (vec2(tile) + rows >= vec2(start)) & (vec2(tile) + rows < vec2(end));
    let is_owner = lane < TILE_ROWS && lane >= start - tile && lane < end - tile;
    let query_exponents = vec2(
        bitcast<i32>(row_vector(0u, tokens.x, exponent_at()).x),
        bitcast<i32>(row_vector(0u, tokens.y, exponent_at()).x),
    );
    find_tops(lane, tile, first, start, end);
    let dithers = dither_key(params.stream);

    var most = vec2(0u);
    for (var column = first; column < end; column += TILE_COLUMNS) {
        let dots = tile_dots(lane, 1u, tile, column, last);
        for (var j = 0u; j < 4u; j++) {
            let key = column + quad + j;
            let sees = inside & (vec2(key) <= vec2(tile) + rows);
            let bits = vec2(
                bits_64(magnitude_64(key_gradient(dots, 0u, j, rows.x, min(key, last)))),
                bits_64(magnitude_64(key_gradient(dots, 1u, j, rows.y, min(key, last)))),
            );
            most = max(most, select(vec2(0u), bits, sees));
        }
    }
    put_row_values(lane, vec2(most.x, 0u), vec2(most.y, 0u));
    if is_owner {
        var bits = 0u;
        for (var i = 0u; i < 16u; i++) {
            bits = max(bits, row_value(lane, i).x);
        }
        gradient_shifts[lane] = shift_of(bits, ROW_BITS);
    }
    workgroupBarrier();

    var sum0 = vec2(0u);
    var sum1 = vec2(0u);
    for (var column = first; column < end; column += TILE_COLUMNS) {
        let probabilities = tile_probabilities(lane, tile, column, last, query_exponents);
        let dots = tile_dots(lane, 1u, tile, column, last);
        for (var j = 0u; j < 4u; j++) {
            let key = column + quad + j;
            let sees = inside & (vec2(key) <= vec2(tile) + rows);
            let dp0 = round_even_64(key_gradient(dots, 0u, j, rows.x, min(key, last)), gradient_shifts[rows.x]);
            let dp1 = round_even_64(key_gradient(dots, 1u, j, rows.y, min(key, last)), gradient_shifts[rows.y]);
            let product0 = multiply_i32(bitcast<i32>(probabilities.first[j]), bitcast<i32>(dp0.x));
            let product1 = multiply_i32(bitcast<i32>(probabilities.second[j]), bitcast<i32>(dp1.x));
            sum0 = add_64(sum0, select(vec2(0u), product0, sees.x));
            sum1 = add_64(sum1, select(vec2(0u), product1, sees.y));
        }
    }
    put_row_values(lane, sum0, sum1);
    if is_owner {
        var sum = vec2(0u);
        for (var i = 0u; i < 16u; i++) {
            sum = add_64(sum, row_value(lane, i));
        }
        means[lane] = bitcast<i32>(round_even_64(sum, 30u).x);
    }
    workgroupBarrier();

    let turns = select(1u, 3u, params.head_dim > 128u);
    for (var turn = 0u; turn < turns; turn++) {
        var totals0 = TileTotals();
        var totals1 = TileTotals();
        let part = (turn & 1u) << 1u;
        for (var column = first; column < end; column += TILE_COLUMNS) {
            if lane < 32u {
                atomicStore(&tile_bits[lane], 0u);
            }
            let probabilities = tile_probabilities(lane, tile, column, last, query_exponents);
            let dots = tile_dots(lane, 1u, tile, column, last);
            var folded0: array<vec2<u32>, 4>;
            var folded1: array<vec2<u32>, 4>;
            for (var j = 0u; j < 4u; j++) {
                let key = column + quad + j;
                let sees = inside & (vec2(key) <= vec2(tile) + rows);
                let first_row = score_gradient(dots, 0u, j, rows.x, min(key, last), probabilities.first[j]);
                let second_row = score_gradient(dots, 1u, j, rows.y, min(key, last), probabilities.second[j]);
                folded0[j] = select(vec2(0u), first_row, sees.x);
                folded1[j] = select(vec2(0u), second_row, sees.y);
            }
            share_bits(lane, folded0, folded1);
            let word = (column - first + quad) >> 2u;
            let index = (vec2(dither[0]) + tokens) * params.heads + query_head;
            let block = (lane >> 3u) & 1u;
            let shifts = vec2(block_shift(rows.x, block), block_shift(rows.y, block));
            put_weights(lane, rows.x, dithered(folded0, shifts.x, dither_word(dithers, index.x, word)));
            put_weights(lane, rows.y, dithered(folded1, shifts.y, dither_word(dithers, index.y, word)));
            add_weighted(&totals0, lane, 0u, column, last, part, 26i);
            if ((part + 1u) << 6u) < params.head_dim {
                add_weighted(&totals1, lane, 0u, column, last, part + 1u, 26i);
            }
            workgroupBarrier();
        }
        share_row_bits(rows, inside, totals0, totals1);
        if turns == 1u || turn > 0u {
            put_rows(rows, inside, (tokens * params.heads + query_head) * (params.head_dim + 4u), (part << 6u) + quad, totals0, totals1);
        }
    }
    if is_owner {
        let pair = (tile + lane) * params.heads + query_head;
        stats[(pair << 3u) + 5u] = bitcast<u32>(means[lane]);
        stats[(pair << 3u) + 6u] = gradient_shifts[lane];
        let bits = atomicLoad(&row_bits[lane]);
        let dout_exponent = bitcast<i32>(row_vector(1u, tile + lane, exponent_at()).x);
        let gradient_exponent = dout_exponent + tops[lane].x - 25i + bitcast<i32>(gradient_shifts[lane]);
        let unit = gradient_exponent + tops[lane].y - 4i + bitcast<i32>(shift_of(bits, ROW_BITS));
        let at = pair * (params.head_dim + 4u) + params.head_dim;
        dq[at] = select(bitcast<i32>(params.inverse_root), 0i, bits == 0u);
        dq[at + 1u] = select(params.inverse_root_exponent + unit, 0i, bits == 0u);
        dq[at + 2u] = 0i;
        dq[at + 3u] = 0i;
    }
    workgroupBarrier();
}

// The probabilities of the four keys of a lane's quad for its two queries, in Q30.
struct Probabilities {
    first: vec4<u32>,
    second: vec4<u32>,
}

// Returns the probabilities of the keys from token `column` on.
fn tile_probabilities(lane: u32, tile: u32, column: u32, last: u32, query_exponents: vec2<i32>) -> Probabilities {
    let rows = vec2(lane >> 4u, (lane >> 4u) + 8u);
    let dots = tile_dots(lane, 0u, tile, column, last);
    var found = Probabilities();
    for (var j = 0u; j < 4u; j++) {
        let key = min(column + ((lane & 15u) << 2u) + j, last);
        let exponents = vec2(bitcast<i32>(column_vector(0u, key, exponent_at()).x)) + query_exponents;
        found.first[j] = probability(rows.x, tile_dot(dots, 0u, j), exponents.x);
        found.second[j] = probability(rows.y, tile_dot(dots, 1u, j), exponents.y);
    }
    return found;
}

// Returns dP of one of the lane's pairs before rounding (see `folded_gradient`). `row` is the row of the tile, and `key`
// the token of the key.
fn key_gradient(dots: TileDots, i: u32, j: u32, row: u32, key: u32) -> vec2<u32> {
    let value_exponent = bitcast<i32>(column_vector(1u, key, exponent_at()).x);
    return folded_gradient(tile_dot(dots, i, j), tops[row].x, value_exponent);
}

// Returns dS of one of the lane's pairs, multiplied by 2^30 and shifted to the largest exponent of the k rows.
fn score_gradient(dots: TileDots, i: u32, j: u32, row: u32, key: u32, probability: u32) -> vec2<u32> {
    let dp = round_even_64(key_gradient(dots, i, j, row, key), gradient_shifts[row]);
    // dP (the gradient with respect to the probability P) and its mean, weighted by P, are 32-bit integers, so their
    // difference may need 33 bits.
    let difference = subtract_64(dp, extend_64(means[row]));
    let gradient = round_even_64(multiply_64(difference, probability), 30u);
    let key_exponent = bitcast<i32>(column_vector(0u, key, exponent_at()).x);
    return shift_right_signed_64(shift_left_64(gradient, 30u), distance_to(tops[row].y, key_exponent));
}

// Returns the probability of a key, in Q30. `dot` is the inner product of the query and the key, and `exponents` the sum
// of their exponents.
fn probability(row: u32, dot: vec2<u32>, exponents: i32) -> u32 {
    let value = score_of(dot, exponents).value;
    let below = bitcast<u32>(max(maxima[row], value)) - bitcast<u32>(value);
    return probability_of(Normalizer(normalizers[row].x, normalizers[row].y), exponential_of(below));
}

fn put_feature(at: u32, value: i32) {
    dq[at] = value;
}
