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

// Returns the smallest right shift that reduces integers of `bits` bits to at most `target_bits` bits.
fn shift_of(bits: u32, target_bits: u32) -> u32 {
    return select(0u, bits - target_bits, bits > target_bits);
}
