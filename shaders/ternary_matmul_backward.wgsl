// The product of gradient rows with the transpose of a ternary matrix: out[t, slot, k] = Σ_n dy[t, n] · w[n, k], exact
// in i32. Each of the linear layers that read the same input has its own slot.
// fragments/ternary_product.*.wgsl computes it. In those files, a feature is a column k of w, and element p of an input row
// is multiplied by row p of w.

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

// Returns the number of features of the result. A feature is a column of w.
fn features() -> u32 {
    return params.in_features;
}

// Returns the number of elements of an input row, which a product adds up. Each is multiplied by a row of w.
fn input_len() -> u32 {
    return params.out_features;
}

// Returns the number of int8 planes of an input row: 2 for wide rows (integers up to 2^14 in magnitude), 1 for byte
// rows (int8).
fn planes() -> u32 {
    return params.planes;
}

// Returns the sum of the values in a token's input row, read from the row's info (its scale and its sum).
fn input_sum(token: u32) -> i32 {
    return bitcast<i32>(dy_info[token * 4u + 2u]);
}

// Returns the index in `out` of a token's first result.
fn result_at(token: u32) -> u32 {
    return (token * params.slots + params.slot) * (params.in_features + 4u);
}

// Returns the distance in `weights`, in words, from one block of four features to the next.
fn block_stride() -> u32 {
    return 1u;
}

// Returns the distance in `weights`, in words, from one block of four input elements to the next.
fn input_stride() -> u32 {
    return row_words(params.in_features);
}

// Returns a stored block word in the layout that has input element i in byte i, and feature j at bits 2j and 2j + 1 of
// each byte.
fn by_inputs(block: u32) -> u32 {
    return transpose_block(block);
}

// Returns a stored block word in the layout that has feature j in byte j, and input element i at bits 2i and 2i + 1 of
// each byte. The words of this matrix are stored in this layout.
fn by_features(block: u32) -> u32 {
    return block;
}

// Returns the (block, word) pair that an invocation stages: `by_block` rather than `by_word`. This way, neighboring
// invocations read neighboring blocks of features, which are adjacent in `weights`.
fn staged(by_word: vec2<u32>, by_block: vec2<u32>) -> vec2<u32> {
    return by_block;
}
