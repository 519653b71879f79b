// The operands of ternary_matmul_backward as quads of words: 16 places of dy, or 16 features of w.

@group(0) @binding(1) var<storage, read> dy: array<vec4<u32>>; // [tokens, planes, out_features] byte rows
@group(0) @binding(3) var<storage, read> weights: array<vec4<u32>>; // [out_features, in_features] block words

// 16 places of a token's input.
fn input(at: u32) -> vec4<u32> {
    return dy[at];
}

// The starts of the four blocks of features f..f + 16: all four blocks are in one quad.
fn block_starts(f: u32) -> vec4<u32> {
    return vec4<u32>(f >> 4u);
}

// The four blocks at each of 16 places, in the form that by_features returns.
fn blocks_at(starts: vec4<u32>, quad: u32) -> QuadBlocks {
    let stride = row_words(features()) >> 2u;
    let at = starts.x + quad * 4u * stride;
    return QuadBlocks(weights[at], weights[at + stride], weights[at + 2u * stride], weights[at + 3u * stride]);
}
