// out[t, n] = Σ_k x[t, k] · w[n, k]: byte rows times the rows of a ternary matrix, exact in i32.
// This is a ternary product (fragments/ternary_product.*.wgsl) whose features are the rows n of w and whose places are
// the columns k.

struct Params {
    first_group: u32,
    tokens: u32,
    in_features: u32,
    out_features: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> x_info: array<u32>; // [tokens, 4] row info: word 2 is Σ_k x[t, k]
@group(0) @binding(4) var<storage, read_write> out: array<i32>; // [tokens, out_features + 4] i32 rows

// The number of features of a result.
fn features() -> u32 {
    return params.out_features;
}

// The number of places over which each feature is summed.
fn places() -> u32 {
    return params.in_features;
}

// The number of int8 planes of an input row.
fn planes() -> u32 {
    return 1u;
}

// The sum of a token's input.
fn input_sum(token: u32) -> i32 {
    return bitcast<i32>(x_info[token * 4u + 2u]);
}

// The index in `out` at which a token's result starts.
fn result_at(token: u32) -> u32 {
    return token * (params.out_features + 4u);
}

// The number of words of `weights` from a block of four features to the next block.
fn block_stride() -> u32 {
    return row_words(params.in_features);
}

// The number of words of `weights` from a block of four places to the next block.
fn place_stride() -> u32 {
    return 1u;
}

// A block with place i in byte i and feature j at bits 2j and 2j + 1 of each byte, the form in which it is stored.
fn by_places(block: u32) -> u32 {
    return block;
}

// A block with feature j in byte j and place i at bits 2i and 2i + 1 of each byte.
fn by_features(block: u32) -> u32 {
    return transpose_block(block);
}

// Which of two (block, word) pairs an invocation stages: neighbouring invocations stage neighbouring words, which are
// adjacent.
fn staged(by_word: vec2<u32>, by_block: vec2<u32>) -> vec2<u32> {
    return by_word;
}
