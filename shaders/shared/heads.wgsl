// A head row holds the values of one token for one attention head: two int8 planes, then four words, of which the first
// is the exponent that all values share; see src/kernels/shared/heads.rs. In vectors of four words, a row is [high
// plane, low plane, exponent] and has row_words(head_dim) / 2 + 1 vectors, where row_words(n) is the number of words in
// a padded row of n int8 values.

// Returns the length of one int8 plane of a head row, in vectors of four words.
fn plane_vectors(head_dim: u32) -> u32 {
    return row_words(head_dim) >> 2u;
}

// Returns the length of a whole head row, in vectors of four words.
fn head_vectors(head_dim: u32) -> u32 {
    return (plane_vectors(head_dim) << 1u) + 1u;
}

// Returns the inner product of two vectors of 16 int8 values, four in each word.
fn dot_bytes(a: vec4<u32>, b: vec4<u32>) -> i32 {
    return dot4I8Packed(a.x, b.x) + dot4I8Packed(a.y, b.y) + dot4I8Packed(a.z, b.z) + dot4I8Packed(a.w, b.w);
}

// Returns one byte of a word as a signed integer. The byte is at index `at` mod 4.
fn byte_of(word: u32, at: u32) -> i32 {
    return bitcast<i32>(word << ((24u - ((at & 3u) << 3u)) & 31u)) >> 24u;
}

// Returns the four bytes of a word as signed integers.
fn bytes_of(word: u32) -> vec4<i32> {
    return bitcast<vec4<i32>>(vec4(word) << vec4(24u, 16u, 8u, 0u)) >> vec4(24u);
}

// The inner products of one head row with four others, separately for their int8 planes: high · high, high · low plus
// low · high, and low · low.
struct Dots {
    high: vec4<i32>,
    middle: vec4<i32>,
    low: vec4<i32>,
}

// Adds to the j-th of four inner products that of 16 more features. `a_high` and `a_low` are the planes of the row, and
// `b_high` and `b_low` those of the j-th other row.
fn add_vectors(
    dots: ptr<function, Dots>, j: u32, a_high: vec4<u32>, a_low: vec4<u32>, b_high: vec4<u32>, b_low: vec4<u32>,
) {
    (*dots).high[j] += dot_bytes(a_high, b_high);
    (*dots).middle[j] += dot_bytes(a_high, b_low) + dot_bytes(a_low, b_high);
    (*dots).low[j] += dot_bytes(a_low, b_low);
}

// Returns one of four inner products. Its magnitude is ≤ 2^28 · head_dim.
fn dot_of(dots: Dots, j: u32) -> vec2<u32> {
    return join_planes(dots.high[j], dots.middle[j], dots.low[j]);
}

// Four 64-bit sums.
struct Sums64 {
    low: vec4<u32>,
    high: vec4<u32>,
}

// Adds to each of four 64-bit sums the sum high · 2^8 + low of one block, multiplied by 2^shift.
fn add_block(sums: ptr<function, Sums64>, high: vec4<i32>, low: vec4<i32>, shift: i32) {
    for (var i = 0u; i < 4u; i++) {
        let sum = vec2((*sums).low[i], (*sums).high[i]);
        let total = add_64(sum, align_64(join_planes(0i, high[i], low[i]), shift));
        (*sums).low[i] = total.x;
        (*sums).high[i] = total.y;
    }
}

// Returns the smallest right shift that reduces integers of `bits` bits to at most `target_bits` bits.
fn shift_of(bits: u32, target_bits: u32) -> u32 {
    return select(0u, bits - target_bits, bits > target_bits);
}
