// The product of byte rows (int8) with a ternary matrix: out[t, n] = Σ_k x[t, k] · w[n, k], exact in i32. The files
// fragments/ternary_product.*.wgsl compute this product. In those files, a feature is a row n of w, and element p of an
// input row is multiplied by column p of w.

struct Params {
    first_group: u32,
    tokens: u32,
    in_features: u32,
    out_features: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> x_info: array<u32>; // [tokens, 4] row info: word 2 is Σ_k x[t, k]
@group(0) @binding(4) var<storage, read_write> out: array<i32>; // [tokens, out_features + 4] i32 rows

// Returns the number of features of the result. A feature is a row of w.
fn features() -> u32 {
    return params.out_features;
}

// Returns the number of elements of an input row, which is also the number of columns of w. Result r is the sum over
// all p of element p times w[r, p].
fn input_len() -> u32 {
    return params.in_features;
}

// Returns the number of int8 planes of an input row. The input rows of this kernel are byte rows, which have one plane.
fn planes() -> u32 {
    return 1u;
}

// Returns the sum of the values in a token's input row: word 2 of the row info, after the two words of the scale.
fn input_sum(token: u32) -> i32 {
    return bitcast<i32>(x_info[token * 4u + 2u]);
}

// Returns the index in `out` of a token's first result.
fn result_at(token: u32) -> u32 {
    return token * (params.out_features + 4u);
}

// Returns the distance in `weights`, in words, from one block of four features to the next.
fn block_stride() -> u32 {
    return row_words(params.in_features);
}

// Returns the distance in `weights`, in words, from one block of four input elements to the next.
fn input_stride() -> u32 {
    return 1u;
}

// Returns the 16 codes (two bits each) of a 4 × 4 block of `weights` in one word: the code for input element i and
// feature j is at bits 2j and 2j + 1 of byte i. The word `block` is stored with one byte for each column of w. Here the
// columns belong to the input elements, so `block` already has this layout.
fn by_inputs(block: u32) -> u32 {
    return block;
}

// Returns the 16 codes (two bits each) of a 4 × 4 block of `weights` in one word: the code for input element i and
// feature j is at bits 2i and 2i + 1 of byte j. The word `block` is stored with one byte for each column of w. Here the
// columns belong to the input elements, so `block` has to be transposed.
fn by_features(block: u32) -> u32 {
    return transpose_block(block);
}

// Returns which block of `weights` an invocation copies to workgroup memory: the index of the block's four features,
// and the index of its four input elements. The caller passes two candidates. With `by_word`, neighboring invocations
// copy blocks of neighboring input elements; with `by_block`, they copy blocks of neighboring features. In `weights`,
// blocks of neighboring input elements are adjacent, so this function returns `by_word`.
fn staged(by_word: vec2<u32>, by_block: vec2<u32>) -> vec2<u32> {
    return by_word;
}
