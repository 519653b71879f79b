// One workgroup computes one query head of 16 tokens. It multiplies the tile of 16 queries by tiles of 64 keys, three
// times: for the largest score of each query, for the sum of the exponentials, and for the weights of the value rows.
// For heads of more than 128 features, the third time is repeated for the features from 128 on.

// For each row of the tile: the largest exponent of the value rows that the query sees, and its softmax statistics.
var<workgroup> tops: array<i32, 16>;
var<workgroup> maxima: array<i32, 16>;
var<workgroup> normalizers: array<vec2<u32>, 16>;

// Returns vector `at` of a query's head row.
fn row_vector(operand: u32, token: u32, at: u32) -> vec4<u32> {
    return q[(token * params.heads + query_head) * head_vectors(params.head_dim) + at];
}

// Returns vector `at` of a key's head row (operand 0) or of its value row (operand 1).
fn column_vector(operand: u32, token: u32, at: u32) -> vec4<u32> {
    let index = (token * params.kv_heads + key_head) * head_vectors(params.head_dim) + at;
    if operand == 0u {
        return k[index];
    }
    return v[index];
}

// Stores in `tops`, for each query of tokens start to end − 1, the largest exponent of the visible value rows, over all
// heads. All heads use the same exponent, because a token's output is a single row with a single scale.
fn find_tops(lane: u32, tile: u32, first: u32, start: u32, end: u32) {
    let row = head_vectors(params.head_dim);
    var shared_top = LOWEST_EXPONENT;
    for (var i = first * params.kv_heads + lane; i < start * params.kv_heads; i += TILE_LANES) {
        shared_top = max(shared_top, bitcast<i32>(v[i * row + exponent_at()].x));
    }
    put_value(lane, shared_top);
    if lane < end - tile && lane >= start - tile {
        var top = largest_value();
        for (var i = start * params.kv_heads; i < (tile + lane + 1u) * params.kv_heads; i++) {
            top = max(top, bitcast<i32>(v[i * row + exponent_at()].x));
        }
        tops[lane] = top;
    }
}

@compute @workgroup_size(128, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    query_head = group.x;
    key_head = (group.x * params.group_inverse) >> 16u;
    let tile = (group.y + params.first_group) * TILE_ROWS;
    let tile_end = min(tile + TILE_ROWS, params.tokens);
    // the queries of each sequence that has tokens in the tile
    for (var start = tile; start < tile_end; ) {
        let first = start - positions[start];
        var end = start + 1u;
        for (; end < tile_end; end++) {
            if end - positions[end] != first {
                break;
            }
        }
        attend(local.x, tile, first, start, end);
        start = end;
    }
}

// Computes the queries of tokens start to end − 1, which belong to the sequence that begins at token `first`.
fn attend(lane: u32, tile: u32, first: u32, start: u32, end: u32) {
    let last = params.tokens - 1u;
    let quad = (lane & 15u) << 2u;
    let rows = vec2(lane >> 4u, (lane >> 4u) + 8u);
    let inside = (vec2(tile) + rows >= vec2(start)) & (vec2(tile) + rows < vec2(end));
    let query_exponents = vec2(
        bitcast<i32>(row_vector(0u, min(tile + rows.x, last), exponent_at()).x),
        bitcast<i32>(row_vector(0u, min(tile + rows.y, last), exponent_at()).x),
    );
    find_tops(lane, tile, first, start, end);

    var best = vec2(-1073741824i);
    var saturated = false;
    for (var column = first; column < end; column += TILE_COLUMNS) {
        let dots = tile_dots(lane, 0u, tile, column, last);
        for (var j = 0u; j < 4u; j++) {
            let key = column + quad + j;
            let sees = inside & (vec2(key) <= vec2(tile) + rows);
            let scores = key_scores(dots, j, query_exponents, min(key, last));
            if sees.x {
                saturated = saturated || scores.first.saturated;
                best.x = max(best.x, scores.first.value);
            }
            if sees.y {
                saturated = saturated || scores.second.saturated;
                best.y = max(best.y, scores.second.value);
            }
        }
    }
    if saturated {
        atomicMax(&flag, 1u);
    }
    put_row_values(lane, vec2(bitcast<u32>(best.x), 0u), vec2(bitcast<u32>(best.y), 0u));
    if lane < TILE_ROWS {
        var most = -1073741824i;
        for (var i = 0u; i < 16u; i++) {
            most = max(most, bitcast<i32>(row_value(lane, i).x));
        }
        maxima[lane] = most;
    }
    workgroupBarrier();
    let largest = vec2(maxima[rows.x], maxima[rows.y]);

    var sum0 = vec2(0u);
    var sum1 = vec2(0u);
    for (var column = first; column < end; column += TILE_COLUMNS) {
        let dots = tile_dots(lane, 0u, tile, column, last);
        for (var j = 0u; j < 4u; j++) {
            let exponentials = key_exponentials(dots, j, query_exponents, largest, column + quad + j);
            let sees = inside & (vec2(column + quad + j) <= vec2(tile) + rows);
            sum0 = add_64(sum0, vec2(select(0u, exponentials.x, sees.x), 0u));
            sum1 = add_64(sum1, vec2(select(0u, exponentials.y, sees.y), 0u));
        }
    }
    put_row_values(lane, sum0, sum1);
    if lane < TILE_ROWS && lane >= start - tile && lane < end - tile {
        var sum = vec2(0u);
        for (var i = 0u; i < 16u; i++) {
            sum = add_64(sum, row_value(lane, i));
        }
        let normalizer = normalizer_new(sum);
        normalizers[lane] = vec2(normalizer.mantissa, normalizer.shift);
    }
    workgroupBarrier();
    let normalizer0 = Normalizer(normalizers[rows.x].x, normalizers[rows.x].y);
    let normalizer1 = Normalizer(normalizers[rows.y].x, normalizers[rows.y].y);

    for (var part = 0u; (part << 6u) < params.head_dim; part += 2u) {
        var totals0 = TileTotals();
        var totals1 = TileTotals();
        for (var column = first; column < end; column += TILE_COLUMNS) {
            if lane < 32u {
                atomicStore(&tile_bits[lane], 0u);
            }
            let dots = tile_dots(lane, 0u, tile, column, last);
            var folded0: array<vec2<u32>, 4>;
            var folded1: array<vec2<u32>, 4>;
            for (var j = 0u; j < 4u; j++) {
                let key = column + quad + j;
                let value_exponent = bitcast<i32>(column_vector(1u, min(key, last), exponent_at()).x);
                let exponentials = key_exponentials(dots, j, query_exponents, largest, key);
                let sees = inside & (vec2(key) <= vec2(tile) + rows);
                let wide0 = shift_left_64(vec2(probability_of(normalizer0, exponentials.x), 0u), 31u);
                let folded_x = shift_right_64(wide0, distance_to(tops[rows.x], value_exponent));
                folded0[j] = select(vec2(0u), folded_x, sees.x);
                let wide1 = shift_left_64(vec2(probability_of(normalizer1, exponentials.y), 0u), 31u);
                let folded_y = shift_right_64(wide1, distance_to(tops[rows.y], value_exponent));
                folded1[j] = select(vec2(0u), folded_y, sees.y);
            }
            share_bits(lane, folded0, folded1);
            let block = (lane >> 3u) & 1u;
            put_weights(lane, rows.x, rounded(folded0, block_shift(rows.x, block)));
            put_weights(lane, rows.y, rounded(folded1, block_shift(rows.y, block)));
            add_weighted(&totals0, lane, 1u, column, last, part, 29i);
            if ((part + 1u) << 6u) < params.head_dim {
                add_weighted(&totals1, lane, 1u, column, last, part + 1u, 29i);
            }
            workgroupBarrier();
        }
        let feature = (part << 6u) + quad;
        if inside.x {
            put_features(tile + rows.x, feature, totals0.low0, totals0.high0);
            put_features(tile + rows.x, feature + 64u, totals1.low0, totals1.high0);
        }
        if inside.y {
            put_features(tile + rows.y, feature, totals0.low1, totals0.high1);
            put_features(tile + rows.y, feature + 64u, totals1.low1, totals1.high1);
        }
    }
    if lane < TILE_ROWS && lane >= start - tile && lane < end - tile {
        let token = tile + lane;
        let pair = (token * params.heads + query_head) << 3u;
        stats[pair] = bitcast<u32>(maxima[lane]);
        stats[pair + 1u] = normalizers[lane].x;
        stats[pair + 2u] = normalizers[lane].y;
        stats[pair + 3u] = first;
        stats[pair + 4u] = bitcast<u32>(tops[lane]);
        stats[pair + 5u] = 0u;
        stats[pair + 6u] = 0u;
        stats[pair + 7u] = 0u;
        if query_head == 0u {
            let end_of_row = token * (params.heads * params.head_dim + 4u) + params.heads * params.head_dim;
            let zero = tops[lane] == ZERO_EXPONENT;
            out[end_of_row] = select(0x40000000i, 0i, zero);
            out[end_of_row + 1u] = select(tops[lane] - 46i, 0i, zero);
            out[end_of_row + 2u] = 0i;
            out[end_of_row + 3u] = 0i;
        }
    }
    workgroupBarrier();
}

// The scores of two queries and a key.
struct Scores {
    first: Clamped,
    second: Clamped,
}

// Returns the scores of the lane's two queries and key `j` of its quad, which is the token `key`.
fn key_scores(dots: TileDots, j: u32, query_exponents: vec2<i32>, key: u32) -> Scores {
    let exponents = vec2(bitcast<i32>(column_vector(0u, key, exponent_at()).x)) + query_exponents;
    return Scores(score_of(tile_dot(dots, 0u, j), exponents.x), score_of(tile_dot(dots, 1u, j), exponents.y));
}

// Returns the exponentials of these scores, relative to the largest scores.
fn key_exponentials(
    dots: TileDots, j: u32, query_exponents: vec2<i32>, largest: vec2<i32>, key: u32,
) -> vec2<u32> {
    let scores = key_scores(dots, j, query_exponents, min(key, params.tokens - 1u));
    let below = bitcast<vec2<u32>>(largest - min(largest, vec2(scores.first.value, scores.second.value)));
    return vec2(exponential_of(below.x), exponential_of(below.y));
}

// Writes four features of a token's output. The sums `low` and `high` are in units of 2^(top − 32).
fn put_features(token: u32, feature: u32, low: vec4<u32>, high: vec4<u32>) {
    let at = token * (params.heads * params.head_dim + 4u) + query_head * params.head_dim;
    for (var i = 0u; i < 4u; i++) {
        if feature + i < params.head_dim {
            out[at + feature + i] = bitcast<i32>(round_even_64(vec2(low[i], high[i]), 16u).x);
        }
    }
}
