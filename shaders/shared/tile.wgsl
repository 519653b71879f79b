// A register tile of packed dot products: the sums of eight tokens and the four features of a block.

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

// The codes of a block in the form that by_places returns: a word for each feature.
fn tile_codes(word: u32) -> vec4<u32> {
    return vec4<u32>(word, word >> 2u, word >> 4u, word >> 6u) & vec4<u32>(0x03030303u);
}

// Adds the products of four int8 values of each token and their codes to the sums.
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
