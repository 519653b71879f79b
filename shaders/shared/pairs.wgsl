// A pair is a 32-bit integer with the sums of two features: Σ value · (code + 2^16 · code′), where the codes (trit + 1)
// of one feature are in the low half, and those of the other in the high half.
// A half is a sum of at most 128 products of an int8 value and a code ≤ 2. It is ≥ −2^15 and < 2^15, so 16 bits hold
// it.

// The sums of one token for 16 features, as pairs low + 2^16 · high. `ac` holds features 4i (low) and 4i + 2 (high) in
// component i, and `bd` features 4i + 1 and 4i + 3. Both halves are ≥ −2^15 and < 2^15.
struct Pairs {
    ac: vec4<i32>,
    bd: vec4<i32>,
}

// The ternary weights by which four elements of an input row are multiplied for 16 output features. A weight is stored
// as a code, the trit plus 1. `ac0` and `bd0` hold the codes for the first of the four elements, `ac1` and `bd1` those
// for the second, and so on. Component i of `ac0` to `ac3` has the codes of features 4i (low half) and 4i + 2 (high
// half). Component i of `bd0` to `bd3` has the codes of features 4i + 1 and 4i + 3.
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

// Unpacks the codes of four block words. In each word, bytes 0 to 3 belong to features a, b, c and d, and bits 2i and
// 2i + 1 of a byte are the feature's code for input element i. Features a and c form one pair, features b and d
// another.
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

// Adds the products of 16 int8 values of a token with the codes of 16 features to `sums`.
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

// Returns the high halves of pairs. If a low half is negative, the high half is too small by 1; adding 2^15 to the pair
// corrects this.
fn high_halves(pair: vec4<i32>) -> vec4<i32> {
    return (pair + 0x8000) >> vec4<u32>(16u);
}
