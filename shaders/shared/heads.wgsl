// Head rows: two planes of int8, then four words whose first is the exponent; see src/kernels/shared/heads.rs.
// Words of four: [high plane, low plane, exponent], so a row is row_words / 2 + 1 of them.

// Vectors of one plane.
fn plane_vectors(head_dim: u32) -> u32 {
    return row_words(head_dim) >> 2u;
}

// Vectors of a head row.
fn head_vectors(head_dim: u32) -> u32 {
    return (plane_vectors(head_dim) << 1u) + 1u;
}

// Σ over 16 pairs of bytes.
fn dot_bytes(a: vec4<u32>, b: vec4<u32>) -> i32 {
    return dot4I8Packed(a.x, b.x) + dot4I8Packed(a.y, b.y) + dot4I8Packed(a.z, b.z) + dot4I8Packed(a.w, b.w);
}

// Byte (at mod 4) of a word, signed.
fn byte_of(word: u32, at: u32) -> i32 {
    return bitcast<i32>(word << ((24u - ((at & 3u) << 3u)) & 31u)) >> 24u;
}

// The right shift that brings integers of so many bits within 2^target.
fn shift_of(bits: u32, target_bits: u32) -> u32 {
    return select(0u, bits - target_bits, bits > target_bits);
}
