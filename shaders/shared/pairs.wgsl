// A pair holds the sums of products of two features in 32 bits: Σ value · (code + 2^16 · code′).
// Each sum of 128 products is ≤ 2 · 128 · 128 = 2^15 in magnitude and cannot reach +2^15, so 16 bits hold it.

// Sums of four blocks: for features a and c, and for b and d, one pair for each block, low + 2^16 · high. Both halves
// are in −2^15..2^15.
struct Pairs {
    ac: vec4<i32>,
    bd: vec4<i32>,
}

// Pairs of codes of four blocks, at each of four places.
struct PairCodes {
    ac0: vec4<i32>,
    ac1: vec4<i32>,
    ac2: vec4<i32>,
    ac3: vec4<i32>,
    bd0: vec4<i32>,
    bd1: vec4<i32>,
    bd2: vec4<i32>,
    bd3: vec4<i32>,
}

// The pairs of codes of blocks in the form that by_features returns: bytes 0 and 2 of a word are features a and c,
// bytes 1 and 3 are b and d, and place i is at bits 2i and 2i + 1.
fn pair_codes(words: vec4<u32>) -> PairCodes {
    return PairCodes(
        even_bytes(words), even_bytes(words >> vec4<u32>(2u)), even_bytes(words >> vec4<u32>(4u)),
        even_bytes(words >> vec4<u32>(6u)), even_bytes(words >> vec4<u32>(8u)), even_bytes(words >> vec4<u32>(10u)),
        even_bytes(words >> vec4<u32>(12u)), even_bytes(words >> vec4<u32>(14u)),
    );
}

fn even_bytes(words: vec4<u32>) -> vec4<i32> {
    return bitcast<vec4<i32>>(words & vec4<u32>(0x00030003u));
}

// Adds the products of 16 int8 values and their codes to the sums.
fn add_pairs(
    sums: ptr<function, Pairs>, c0: PairCodes, c1: PairCodes, c2: PairCodes, c3: PairCodes, bytes: vec4<u32>,
) {
    add_word(sums, c0, bytes.x);
    add_word(sums, c1, bytes.y);
    add_word(sums, c2, bytes.z);
    add_word(sums, c3, bytes.w);
}

fn add_word(sums: ptr<function, Pairs>, codes: PairCodes, bytes: u32) {
    let v0 = bitcast<i32>(bytes << 24u) >> 24u;
    let v1 = bitcast<i32>(bytes << 16u) >> 24u;
    let v2 = bitcast<i32>(bytes << 8u) >> 24u;
    let v3 = bitcast<i32>(bytes) >> 24u;
    (*sums).ac += codes.ac0 * v0 + codes.ac1 * v1 + codes.ac2 * v2 + codes.ac3 * v3;
    (*sums).bd += codes.bd0 * v0 + codes.bd1 * v1 + codes.bd2 * v2 + codes.bd3 * v3;
}

fn split_pairs(sums: ptr<function, BlockSums>, pairs: Pairs) {
    (*sums).a += low_halves(pairs.ac);
    (*sums).b += low_halves(pairs.bd);
    (*sums).c += high_halves(pairs.ac);
    (*sums).d += high_halves(pairs.bd);
}

fn low_halves(pair: vec4<i32>) -> vec4<i32> {
    return bitcast<vec4<i32>>(bitcast<vec4<u32>>(pair) << vec4<u32>(16u)) >> vec4<u32>(16u);
}

// The high halves of pairs. A negative low half has borrowed 1 from the high half, and adding 2^15 returns it.
fn high_halves(pair: vec4<i32>) -> vec4<i32> {
    return (pair + 0x8000) >> vec4<u32>(16u);
}
