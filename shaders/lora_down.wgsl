// The first LoRA product: out[t, r] = Σ_i x[t, i] · a[r, i], from byte rows x (int8). The results are wide rows
// (integers of magnitude ≤ 2^14) whose scales are powers of two. The sums are exact, |Σ| < 2^42. This file computes
// each sum in 16 parts; fragments/lora_down.wgsl adds them up and rounds the result.

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

// Returns one of the 16 parts of the sum Σ for out[token, r]. The part is the sum over every 16th word of the two rows
// that are multiplied, starting at word `part`. Over each of the two int8 planes of `a`, the sum is ≤ 2^14 ·
// in_features / 16 in magnitude, which fits in i32 because in_features ≤ 2^20.
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
