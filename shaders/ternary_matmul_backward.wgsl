// out[t, slot, k] = Σ_n dy[t, n] · w[n, k]: gradient rows times the columns of a ternary matrix, exact in i32.
// This is a ternary product (fragments/ternary_product.*.wgsl) whose features are the columns k of w and whose places
// are the rows n.

struct Params {
    first_group: u32,
    tokens: u32,
    in_features: u32,
    out_features: u32,
    slot: u32,
    slots: u32,
    planes: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> dy_info: array<u32>; // [tokens, 4] row info: word 2 is Σ_n dy[t, n]
@group(0) @binding(4) var<storage, read_write> out: array<i32>; // [tokens, slots, in_features + 4] i32 rows

// The number of features of a result.
fn features() -> u32 {
    return params.in_features;
}

// The number of places over which each feature is summed.
fn places() -> u32 {
    return params.out_features;
}

// The number of int8 planes of an input row: 2 for wide rows, 1 for byte rows.
fn planes() -> u32 {
    return params.planes;
}

// The sum of a token's input.
fn input_sum(token: u32) -> i32 {
    return bitcast<i32>(dy_info[token * 4u + 2u]);
}

// The index in `out` at which a token's result starts.
fn result_at(token: u32) -> u32 {
    return (token * params.slots + params.slot) * (params.in_features + 4u);
}

// The number of words of `weights` from a block of four features to the next block.
fn block_stride() -> u32 {
    return 1u;
}

// The number of words of `weights` from a block of four places to the next block.
fn place_stride() -> u32 {
    return row_words(params.in_features);
}

// A block with place i in byte i and feature j at bits 2j and 2j + 1 of each byte.
fn by_places(block: u32) -> u32 {
    return transpose_block(block);
}

// A block with feature j in byte j and place i at bits 2i and 2i + 1 of each byte, the form in which it is stored.
fn by_features(block: u32) -> u32 {
    return block;
}

// Which of two (block, word) pairs an invocation stages: neighbouring invocations stage neighbouring blocks, which are
// adjacent.
fn staged(by_word: vec2<u32>, by_block: vec2<u32>) -> vec2<u32> {
    return by_block;
}
