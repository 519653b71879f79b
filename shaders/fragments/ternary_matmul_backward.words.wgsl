// The operands of ternary_matmul_backward, read in single words. A word covers four elements of a row
// of dy.

@group(0) @binding(1) var<storage, read> dy: array<u32>; // [tokens, planes, out_features] byte rows
@group(0) @binding(3) var<storage, read> weights: array<u32>; // [out_features, in_features] block words

// Returns four int8 elements of a token's input row, which is a row of dy.
fn input(at: u32) -> u32 {
    return dy[at];
}
