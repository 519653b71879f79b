// Products of tiles, for a workgroup of 128 lanes. A tile has 16 rows and 64 columns. A row and a column are tokens: in
// the kernels that compute queries, a row is a query and a column is a key; in the kernel that computes keys, it is the
// other way round. The kernel's function `row_vector` reads a vector of a row's head row, and `column_vector` one of a
// column's. Their argument `operand` tells them which of two buffers to read.
// For the 64 columns, a lane has a column quad: columns 4 · quad to 4 · quad + 3, with quad = lane & 15. For the 16
// rows, it has the rows lane >> 4 and (lane >> 4) + 8.

const TILE_LANES = 128u;
const TILE_ROWS = 16u;
const TILE_COLUMNS = 64u;
// The number of vectors of four words (16 features) of each plane that are in workgroup memory at a time.
const TILE_VECTORS = 4u;

// The heads that the lane computes at present. They must not decide which lanes reach a barrier: browsers take a private
// variable for different in each lane.
var<private> query_head: u32;
var<private> key_head: u32;

// [2 planes, 4 vectors, 16 rows]
var<workgroup> tile_rows: array<vec4<u32>, 128>;
// [2 planes, 4 vectors, 64 columns], with column c at index (c & 3) · 16 + (c >> 2), so that neighboring lanes read
// neighboring vectors. For weighted sums: [2 planes, 16 column quads, 16 quads of features], with the four columns of a
// feature in one word. For reductions: [16 rows, 16 column quads].
var<workgroup> tile_columns: array<vec4<u32>, 512>;
// The weights of the columns in weighted sums: [2 planes, 16 column quads, 16 rows], with four weights in each word.
var<workgroup> tile_weights: array<u32, 512>;
// For each row and each of the two blocks of 32 columns: the bit length of the largest magnitude before rounding.
var<workgroup> tile_bits: array<atomic<u32>, 32>;

// 16 features of two rows: the high and the low plane of the first row, then those of the second.
struct TileVectors {
    high0: vec4<u32>,
    low0: vec4<u32>,
    high1: vec4<u32>,
    low1: vec4<u32>,
}

// Sums of two rows for the four columns of a quad, or for four features: a sum is 2^16 · high + 2^8 · middle + low.
struct TileDots {
    high0: vec4<i32>,
    middle0: vec4<i32>,
    low0: vec4<i32>,
    high1: vec4<i32>,
    middle1: vec4<i32>,
    low1: vec4<i32>,
}

// The 64-bit sums of two rows for four features.
struct TileTotals {
    low0: vec4<u32>,
    high0: vec4<u32>,
    low1: vec4<u32>,
    high1: vec4<u32>,
}

// Returns the index of the vector of a head row that holds the row's exponent.
fn exponent_at() -> u32 {
    return plane_vectors(params.head_dim) << 1u;
}

// Returns the index in `tile_columns` of a column's vector 0.
fn column_index(column: u32) -> u32 {
    return ((column & 3u) << 4u) | (column >> 2u);
}

// Returns the inner products of the rows from token `row` on with the columns from token `column` on. `last` is the
// last token of the batch, which stands for all tokens after it.
fn tile_dots(lane: u32, operand: u32, row: u32, column: u32, last: u32) -> TileDots {
    let vectors = plane_vectors(params.head_dim);
    let staged_plane = (lane >> 2u) & 1u;
    let staged_vector = lane & 3u;
    let staged_at = staged_plane * TILE_VECTORS + staged_vector;
    var dots = TileDots();
    for (var first = 0u; first < vectors; first += TILE_VECTORS) {
        workgroupBarrier();
        if first + staged_vector < vectors {
            let at = staged_plane * vectors + first + staged_vector;
            tile_rows[staged_at * TILE_ROWS + (lane >> 3u)] = row_vector(operand, min(row + (lane >> 3u), last), at);
            for (var c = lane >> 3u; c < TILE_COLUMNS; c += 16u) {
                tile_columns[staged_at * TILE_COLUMNS + column_index(c)] =
                    column_vector(operand, min(column + c, last), at);
            }
        }
        workgroupBarrier();
        let count = min(vectors - first, TILE_VECTORS);
        for (var i = 0u; i < count; i++) {
            let at = i * TILE_ROWS + (lane >> 4u);
            let rows = TileVectors(tile_rows[at], tile_rows[at + 64u], tile_rows[at + 8u], tile_rows[at + 72u]);
            let quad = i * TILE_COLUMNS + (lane & 15u);
            add_column(&dots, 0u, rows, tile_columns[quad], tile_columns[quad + 256u]);
            add_column(&dots, 1u, rows, tile_columns[quad + 16u], tile_columns[quad + 272u]);
            add_column(&dots, 2u, rows, tile_columns[quad + 32u], tile_columns[quad + 288u]);
            add_column(&dots, 3u, rows, tile_columns[quad + 48u], tile_columns[quad + 304u]);
        }
    }
    return dots;
}

// Adds to `dots` the products of 16 features of two rows and of column `j` of the quad.
fn add_column(dots: ptr<function, TileDots>, j: u32, rows: TileVectors, high: vec4<u32>, low: vec4<u32>) {
    (*dots).high0[j] += dot_bytes(rows.high0, high);
    (*dots).middle0[j] += dot_bytes(rows.high0, low) + dot_bytes(rows.low0, high);
    (*dots).low0[j] += dot_bytes(rows.low0, low);
    (*dots).high1[j] += dot_bytes(rows.high1, high);
    (*dots).middle1[j] += dot_bytes(rows.high1, low) + dot_bytes(rows.low1, high);
    (*dots).low1[j] += dot_bytes(rows.low1, low);
}

// Returns the inner product of one pair of the lane's rows and columns. `i` is the index of the row (0 or 1), and `j`
// that of the column (0 to 3).
fn tile_dot(dots: TileDots, i: u32, j: u32) -> vec2<u32> {
    let high = select(dots.high0, dots.high1, i == 1u);
    let middle = select(dots.middle0, dots.middle1, i == 1u);
    let low = select(dots.low0, dots.low1, i == 1u);
    return join_planes(high[j], middle[j], low[j]);
}

// Adds to `tile_bits` the bit lengths of the lane's values, which are weights before rounding. Afterwards, all lanes can
// read the shifts of the blocks (`block_shift`).
fn share_bits(lane: u32, first: array<vec2<u32>, 4>, second: array<vec2<u32>, 4>) {
    let at = ((lane >> 4u) << 1u) + ((lane >> 3u) & 1u);
    atomicMax(&tile_bits[at], most_bits(first));
    atomicMax(&tile_bits[at + 16u], most_bits(second));
    workgroupBarrier();
}

// Returns the bit length of the largest magnitude of four 64-bit values.
fn most_bits(values: array<vec2<u32>, 4>) -> u32 {
    let low = max(bits_64(magnitude_64(values[0])), bits_64(magnitude_64(values[1])));
    return max(low, max(bits_64(magnitude_64(values[2])), bits_64(magnitude_64(values[3]))));
}

// Returns weights, rounded with dithers.
fn dithered(values: array<vec2<u32>, 4>, shift: u32, dithers: vec4<u32>) -> vec4<i32> {
    return bitcast<vec4<i32>>(vec4(
        round_dither_64(values[0], shift, dithers.x).x,
        round_dither_64(values[1], shift, dithers.y).x,
        round_dither_64(values[2], shift, dithers.z).x,
        round_dither_64(values[3], shift, dithers.w).x,
    ));
}

// Returns weights, rounded to nearest, ties to even.
fn rounded(values: array<vec2<u32>, 4>, shift: u32) -> vec4<i32> {
    return bitcast<vec4<i32>>(vec4(
        round_even_64(values[0], shift).x,
        round_even_64(values[1], shift).x,
        round_even_64(values[2], shift).x,
        round_even_64(values[3], shift).x,
    ));
}

// Returns the bit length of the largest magnitude of four 64-bit sums.
fn totals_bits(low: vec4<u32>, high: vec4<u32>) -> u32 {
    let first = max(bits_64(magnitude_64(vec2(low.x, high.x))), bits_64(magnitude_64(vec2(low.y, high.y))));
    let second = max(bits_64(magnitude_64(vec2(low.z, high.z))), bits_64(magnitude_64(vec2(low.w, high.w))));
    return max(first, second);
}

// Stores the weights of the columns of the lane's quad in the sum of one of the tile's rows.
fn put_weights(lane: u32, row: u32, weights: vec4<i32>) {
    let at = (lane & 15u) * TILE_ROWS + row;
    tile_weights[at] = wide_high(weights);
    tile_weights[at + 256u] = wide_low(weights);
}

// Adds to `totals` the sums of the tile's columns, each multiplied by its weight, for the lane's rows and four features
// from (16 · part + (lane & 15)) · 4 on. The columns are the tokens from `column` on. The sum over each block of 32
// columns is exact, with a magnitude ≤ 2^33; it is multiplied by 2^(shift − left), where `shift` is what reduces the
// weights of the block, whose bit lengths are in `tile_bits`, to WIDE_BITS bits.
fn add_weighted(
    totals: ptr<function, TileTotals>, lane: u32, operand: u32, column: u32, last: u32, part: u32, left: i32,
) {
    let vectors = plane_vectors(params.head_dim);
    let word = (part << 4u) + (lane & 15u);
    workgroupBarrier();
    for (var at = lane >> 4u; at < 32u; at += 8u) {
        let vector = (at >> 4u) * vectors + (word >> 2u);
        let token = column + ((at & 15u) << 2u);
        let component = word & 3u;
        var features = vec4(0u);
        if (word >> 2u) < vectors {
            features = transpose_bytes(vec4(
                column_vector(operand, min(token, last), vector)[component],
                column_vector(operand, min(token + 1u, last), vector)[component],
                column_vector(operand, min(token + 2u, last), vector)[component],
                column_vector(operand, min(token + 3u, last), vector)[component],
            ));
        }
        tile_columns[(at << 4u) + (lane & 15u)] = features;
    }
    workgroupBarrier();
    let row = lane >> 4u;
    for (var block = 0u; block < 2u; block++) {
        var dots = TileDots();
        for (var quad = block << 3u; quad < (block << 3u) + 8u; quad++) {
            let at = (quad << 4u) + (lane & 15u);
            add_features(&dots, quad * TILE_ROWS + row, tile_columns[at], tile_columns[at + 256u]);
        }
        let shift0 = bitcast<i32>(block_shift(row, block)) - left;
        let shift1 = bitcast<i32>(block_shift(row + 8u, block)) - left;
        for (var i = 0u; i < 4u; i++) {
            let sum0 = align_64(join_planes(dots.high0[i], dots.middle0[i], dots.low0[i]), shift0);
            let total0 = add_64(vec2((*totals).low0[i], (*totals).high0[i]), sum0);
            (*totals).low0[i] = total0.x;
            (*totals).high0[i] = total0.y;
            let sum1 = align_64(join_planes(dots.high1[i], dots.middle1[i], dots.low1[i]), shift1);
            let total1 = add_64(vec2((*totals).low1[i], (*totals).high1[i]), sum1);
            (*totals).low1[i] = total1.x;
            (*totals).high1[i] = total1.y;
        }
    }
}

// Adds to `dots` the products of four features of a column quad and the weights of two rows, which are at index `at`.
fn add_features(dots: ptr<function, TileDots>, at: u32, high: vec4<u32>, low: vec4<u32>) {
    let high0 = tile_weights[at];
    let low0 = tile_weights[at + 256u];
    (*dots).high0 += dot_columns(high, high0);
    (*dots).middle0 += dot_columns(low, high0) + dot_columns(high, low0);
    (*dots).low0 += dot_columns(low, low0);
    let high1 = tile_weights[at + 8u];
    let low1 = tile_weights[at + 264u];
    (*dots).high1 += dot_columns(high, high1);
    (*dots).middle1 += dot_columns(low, high1) + dot_columns(high, low1);
    (*dots).low1 += dot_columns(low, low1);
}

// Returns the shift of the weights of one block of 32 columns: a weight is the stored integer times 2^shift.
fn block_shift(row: u32, block: u32) -> u32 {
    return shift_of(atomicLoad(&tile_bits[(row << 1u) + block]), WIDE_BITS);
}

// Each lane passes a value for each of its two rows. Afterwards, `row_value` returns the 16 values that were passed for a
// row.
fn put_row_values(lane: u32, first: vec2<u32>, second: vec2<u32>) {
    workgroupBarrier();
    tile_columns[((lane >> 4u) << 4u) + (lane & 15u)] = vec4(first, 0u, 0u);
    tile_columns[(((lane >> 4u) + 8u) << 4u) + (lane & 15u)] = vec4(second, 0u, 0u);
    workgroupBarrier();
}

// Each lane passes a value. Afterwards, all lanes can compute the largest of them with `largest_value`.
fn put_value(lane: u32, value: i32) {
    workgroupBarrier();
    tile_columns[lane].x = bitcast<u32>(value);
    workgroupBarrier();
}

// Returns the largest of the values that the lanes have passed to `put_value`.
fn largest_value() -> i32 {
    var best = bitcast<i32>(tile_columns[0].x);
    for (var i = 1u; i < TILE_LANES; i++) {
        best = max(best, bitcast<i32>(tile_columns[i].x));
    }
    return best;
}

// Returns the i-th of the 16 values that the lanes have passed to `put_row_values` for a row.
fn row_value(row: u32, i: u32) -> vec2<u32> {
    return tile_columns[(row << 4u) + i].xy;
}
