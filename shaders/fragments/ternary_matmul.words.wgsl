// The operands of ternary_matmul, read in single words. A word covers four elements of an input row.

@group(0) @binding(1) var<storage, read> x: array<u32>; // [tokens, in_features] byte rows
@group(0) @binding(3) var<storage, read> weights: array<u32>; // [out_features, in_features] block words

// Returns four int8 elements of a token's input row.
fn input(at: u32) -> u32 {
    return x[at];
}
