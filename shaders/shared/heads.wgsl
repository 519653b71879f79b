// Head rows: two int8 planes, then four words, of which the first is the exponent; see src/kernels/shared/heads.rs.
// Counted in vectors of four words, a row is [high plane, low plane, exponent] and has row_words / 2 + 1 vectors.

// The number of vectors of one plane.
fn plane_vectors(head_dim: u32) -> u32 {
    return row_words(head_dim) >> 2u;
}

// The number of vectors of a head row.
fn head_vectors(head_dim: u32) -> u32 {
    return (plane_vectors(head_dim) << 1u) + 1u;
}

// The inner product of two vectors of 16 int8 values.
fn dot_bytes(a: vec4<u32>, b: vec4<u32>) -> i32 {
    return dot4I8Packed(a.x, b.x) + dot4I8Packed(a.y, b.y) + dot4I8Packed(a.z, b.z) + dot4I8Packed(a.w, b.w);
}

// Byte (at mod 4) of a word, as a signed integer.
fn byte_of(word: u32, at: u32) -> i32 {
    return bitcast<i32>(word << ((24u - ((at & 3u) << 3u)) & 31u)) >> 24u;
}

// The smallest right shift that reduces integers of `bits` bits to `target_bits` bits.
fn shift_of(bits: u32, target_bits: u32) -> u32 {
    return select(0u, bits - target_bits, bits > target_bits);
}
