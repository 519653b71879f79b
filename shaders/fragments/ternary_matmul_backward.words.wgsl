// The operands of ternary_matmul_backward as words, each with four places.

@group(0) @binding(1) var<storage, read> dy: array<u32>; // [tokens, planes, out_features] byte rows
@group(0) @binding(3) var<storage, read> weights: array<u32>; // [out_features, in_features] block words

// Four places of a token's input.
fn input(at: u32) -> u32 {
    return dy[at];
}
