// out[t, r] = Σ_i x[t, i] · a[r, i]: byte rows projected to the rank, as wide rows whose scales are powers of two.
// The sums are exact, |Σ| < 2^42; fragments/lora_down.wgsl adds up their parts and rounds them.

struct Params {
    first_group: u32,
    tokens: u32,
    in_features: u32,
    rank: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>; // [tokens, in_features] byte rows
@group(0) @binding(2) var<storage, read> a: array<u32>; // [rank, in_features] wide rows
@group(0) @binding(3) var<storage, read_write> out: array<u32>; // [tokens, rank ≤ 64] wide rows
@group(0) @binding(4) var<storage, read_write> out_info: array<u32>; // [tokens, 4] row info

// One part of a feature's inner product: every 16th word from `part` on. Each plane's sum is ≤ 2^14 · in_features / 16
// in magnitude, which fits in i32 because in_features ≤ 2^20.
fn partial(token: u32, r: u32, part: u32) -> vec2<u32> {
    let words = row_words(params.in_features);
    var high = 0i;
    var low = 0i;
    for (var word = part; word < words; word += PARTS) {
        let bytes = x[token * words + word];
        high += dot4I8Packed(bytes, a[r * 2u * words + word]);
        low += dot4I8Packed(bytes, a[(r * 2u + 1u) * words + word]);
    }
    return join_planes(0i, high, low);
}
