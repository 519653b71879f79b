// The operands of ternary_matmul, read in vectors of four words. A vector covers 16 elements of an input row.

@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>; // [tokens, in_features] byte rows
@group(0) @binding(3) var<storage, read> weights: array<vec4<u32>>; // [out_features, in_features] block words

// Returns 16 int8 elements of a token's input row.
fn input(at: u32) -> vec4<u32> {
    return x[at];
}

// The weights of features f to f + 15 are in four blocks, each of four features. Returns the index of the first vector
// of each block. Instead of a block past the end, the last block is used.
fn block_starts(f: u32) -> vec4<u32> {
    let blocks = min(vec4<u32>(f >> 2u) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(row_words(features()) - 1u));
    return blocks * (row_words(input_len()) >> 2u);
}

// Returns the weights of four blocks, each of four features, for 16 input elements. In a word of the result, each byte
// belongs to one feature and has the feature's two-bit codes for four input elements.
fn blocks_at(starts: vec4<u32>, quad: u32) -> QuadBlocks {
    let b0 = weights[starts.x + quad];
    let b1 = weights[starts.y + quad];
    let b2 = weights[starts.z + quad];
    let b3 = weights[starts.w + quad];
    return QuadBlocks(
        transpose_blocks(vec4<u32>(b0.x, b1.x, b2.x, b3.x)), transpose_blocks(vec4<u32>(b0.y, b1.y, b2.y, b3.y)),
        transpose_blocks(vec4<u32>(b0.z, b1.z, b2.z, b3.z)), transpose_blocks(vec4<u32>(b0.w, b1.w, b2.w, b3.w)),
    );
}
