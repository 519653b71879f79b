// The operands of ternary_matmul as quads of words, each with 16 places.

@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>; // [tokens, in_features] byte rows
@group(0) @binding(3) var<storage, read> weights: array<vec4<u32>>; // [out_features, in_features] block words

// 16 places of a token's input.
fn input(at: u32) -> vec4<u32> {
    return x[at];
}

// The starts of the four blocks of features f..f + 16. Beyond the last block, the start of the last block is returned.
fn block_starts(f: u32) -> vec4<u32> {
    let blocks = min(vec4<u32>(f >> 2u) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(row_words(features()) - 1u));
    return blocks * (row_words(places()) >> 2u);
}

// The four blocks at each of 16 places, in the form that by_features returns.
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
