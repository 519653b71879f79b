// The operands of ternary_matmul_backward, read in vectors of four words. A vector of dy covers 16 elements of a row,
// and a vector of the weights covers 16 features of the result.

@group(0) @binding(1) var<storage, read> dy: array<vec4<u32>>; // [tokens, planes, out_features] byte rows
@group(0) @binding(3) var<storage, read> weights: array<vec4<u32>>; // [out_features, in_features] block words

// Returns 16 int8 elements of a token's input row, which is a row of dy.
fn input(at: u32) -> vec4<u32> {
    return dy[at];
}

// The weights of features f to f + 15 are in four blocks, each of four features. Returns the index of the first vector
// of each block. A vector has a word of each of the four blocks, so the four indices are equal.
fn block_starts(f: u32) -> vec4<u32> {
    return vec4<u32>(f >> 4u);
}

// Returns the weights of four blocks, each of four features, for 16 input elements. In a word of the result, each byte
// belongs to one feature and has the feature's two-bit codes for four input elements.
fn blocks_at(starts: vec4<u32>, quad: u32) -> QuadBlocks {
    let stride = row_words(features()) >> 2u;
    let at = starts.x + quad * 4u * stride;
    return QuadBlocks(weights[at], weights[at + stride], weights[at + 2u * stride], weights[at + 3u * stride]);
}
