// Operands of the tiles in the backward pass, and the rows that are computed from their weighted sums.

// For each row of the tile: the bit length of its largest sum.
var<workgroup> row_bits: array<atomic<u32>, 16>;

// Returns vector `at` of a query's head row (operand 0) or of its dout row (operand 1).
fn query_vector(operand: u32, token: u32, at: u32) -> vec4<u32> {
    let index = (token * params.heads + query_head) * head_vectors(params.head_dim) + at;
    if operand == 0u {
        return q[index];
    }
    return dout[index];
}

// Returns vector `at` of a key's head row (operand 0) or of its value row (operand 1).
fn key_vector(operand: u32, token: u32, at: u32) -> vec4<u32> {
    let index = (token * params.kv_heads + key_head) * head_vectors(params.head_dim) + at;
    if operand == 0u {
        return k[index];
    }
    return v[index];
}

// Adds to `row_bits` the bit lengths of the sums of the lane's rows that are `inside` the sequence. Afterwards, all lanes
// can read `row_bits`.
fn share_row_bits(rows: vec2<u32>, inside: vec2<bool>, totals0: TileTotals, totals1: TileTotals) {
    if inside.x {
        atomicMax(&row_bits[rows.x], totals_bits(totals0.low0, totals0.high0));
        atomicMax(&row_bits[rows.x], totals_bits(totals1.low0, totals1.high0));
    }
    if inside.y {
        atomicMax(&row_bits[rows.y], totals_bits(totals0.low1, totals0.high1));
        atomicMax(&row_bits[rows.y], totals_bits(totals1.low1, totals1.high1));
    }
    workgroupBarrier();
}

// Rounds the sums of the lane's rows and writes them from feature `feature` on. `at` holds the indices at which the rows
// begin in the kernel's output (`put_feature`).
fn put_rows(
    rows: vec2<u32>, inside: vec2<bool>, at: vec2<u32>, feature: u32, totals0: TileTotals, totals1: TileTotals,
) {
    let shifts = vec2(
        shift_of(atomicLoad(&row_bits[rows.x]), ROW_BITS),
        shift_of(atomicLoad(&row_bits[rows.y]), ROW_BITS),
    );
    if inside.x {
        put_features(at.x, feature, totals0.low0, totals0.high0, shifts.x);
        put_features(at.x, feature + 64u, totals1.low0, totals1.high0, shifts.x);
    }
    if inside.y {
        put_features(at.y, feature, totals0.low1, totals0.high1, shifts.y);
        put_features(at.y, feature + 64u, totals1.low1, totals1.high1, shifts.y);
    }
}

fn put_features(row: u32, feature: u32, low: vec4<u32>, high: vec4<u32>, shift: u32) {
    for (var i = 0u; i < 4u; i++) {
        if feature + i < params.head_dim {
            put_feature(row + feature + i, bitcast<i32>(round_even_64(vec2(low[i], high[i]), shift).x));
        }
    }
}
