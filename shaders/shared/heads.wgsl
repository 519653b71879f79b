// Head rows: two planes of int8, then four words whose first is the exponent; see src/kernels/shared/heads.rs.
// Words of four: [high plane, low plane, exponent], so a row is row_words / 2 + 1 of them.

// Exponent of an all-zero row.
const ZERO_EXPONENT = -1024i;

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

// 256 · high + low.
fn join_64(high: vec2<u32>, low: i32) -> vec2<u32> {
    return add_64(shift_left_64(high, 8u), extend_64(low));
}

// Byte (at mod 4) of a word, signed.
fn byte_of(word: u32, at: u32) -> i32 {
    return bitcast<i32>(word << ((24u - ((at & 3u) << 3u)) & 31u)) >> 24u;
}

// The low bytes of four integers as a word.
fn pack_bytes(values: vec4<u32>) -> u32 {
    let bytes = values & vec4(255u);
    return bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
}

// The high plane's word of four wide values; their low bytes are the low plane's.
fn pack_high(values: vec4<u32>) -> u32 {
    return pack_bytes((values + vec4(128u)) >> vec4(8u));
}

// The dithers of columns 4 · word ..= 4 · word + 3.
fn dithers_at(key: vec2<u32>, row: u32, word: u32) -> vec4<u32> {
    let words = threefry(key, vec2(row, word));
    return vec4(words.x & 0xffffu, words.x >> 16u, words.y & 0xffffu, words.y >> 16u);
}

// The right shift that brings integers of so many bits within 2^target.
fn shift_of(bits: u32, target_bits: u32) -> u32 {
    return select(0u, bits - target_bits, bits > target_bits);
}

// largest − exponent as a shift.
fn distance(largest: i32, exponent: i32) -> u32 {
    return bitcast<u32>(clamp(largest - exponent, 0i, 63i));
}

// Transposes a 4×4 block of bytes, a row a word.
fn transpose_bytes(rows: vec4<u32>) -> vec4<u32> {
    let even = rows & vec4(0x00ff00ffu);
    let odd = (rows >> vec4(8u)) & vec4(0x00ff00ffu);
    let a = even.xz | (even.yw << vec2(8u)); // bytes 0 and 2 of rows (0, 1), (2, 3)
    let b = odd.xz | (odd.yw << vec2(8u)); // bytes 1 and 3
    return vec4(
        (a.x & 0xffffu) | (a.y << 16u),
        (b.x & 0xffffu) | (b.y << 16u),
        (a.x >> 16u) | (a.y & 0xffff0000u),
        (b.x >> 16u) | (b.y & 0xffff0000u),
    );
}
