// The sums of eight tokens for the four features of one block, computed with packed dot products and kept in registers.

struct TileSums {
    t0: vec4<i32>,
    t1: vec4<i32>,
    t2: vec4<i32>,
    t3: vec4<i32>,
    t4: vec4<i32>,
    t5: vec4<i32>,
    t6: vec4<i32>,
    t7: vec4<i32>,
}

// Unpacks a block word, in which byte i has the codes of four features for input element i. Each word of the result has
// the codes of one feature for four input elements, one in each byte.
fn tile_codes(word: u32) -> vec4<u32> {
    return vec4<u32>(word, word >> 2u, word >> 4u, word >> 6u) & vec4<u32>(0x03030303u);
}

// Adds to `sums`, for each of eight tokens and four features, the inner product of four elements of the token's input
// row (int8) with the feature's codes for these elements. The words of `low` have the elements of tokens 0 to 3, one
// word for each token, and the words of `high` have the elements of tokens 4 to 7.
fn add_tile(sums: ptr<function, TileSums>, codes: vec4<u32>, low: vec4<u32>, high: vec4<u32>) {
    (*sums).t0 += code_dots(codes, low.x);
    (*sums).t1 += code_dots(codes, low.y);
    (*sums).t2 += code_dots(codes, low.z);
    (*sums).t3 += code_dots(codes, low.w);
    (*sums).t4 += code_dots(codes, high.x);
    (*sums).t5 += code_dots(codes, high.y);
    (*sums).t6 += code_dots(codes, high.z);
    (*sums).t7 += code_dots(codes, high.w);
}
