// The first product of the LoRA gradient: out[t, r] = Σ_n dy[t, n] · b[r, n], from the output gradients dy. The results
// are wide rows (integers of magnitude ≤ 2^14) whose scales are powers of two. The sums are exact, |Σ| < 2^49. This
// file computes each sum in 16 parts; fragments/lora_down.wgsl adds them up and rounds the result.

struct Params {
    first_group: u32,
    tokens: u32,
    out_features: u32,
    rank: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dy: array<u32>; // [tokens, out_features] wide rows
@group(0) @binding(2) var<storage, read> b: array<u32>; // [rank, out_features] wide rows
@group(0) @binding(3) var<storage, read_write> out: array<u32>; // [tokens, rank ≤ 64] wide rows
@group(0) @binding(4) var<storage, read_write> out_info: array<u32>; // [tokens, 4] row info

// Returns one of the 16 parts of the sum Σ for out[token, r]. The part is the sum over every 16th word of the two rows
// that are multiplied, starting at word `part`. Each sum of products of two int8 planes is ≤ 2^14 · out_features / 16
// in magnitude, which fits in i32 because out_features ≤ 2^20.
fn partial(token: u32, r: u32, part: u32) -> vec2<u32> {
    let words = row_words(params.out_features);
    var high = 0i;
    var middle = 0i;
    var low = 0i;
    for (var word = part; word < words; word += PARTS) {
        let dy_high = dy[token * 2u * words + word];
        let dy_low = dy[(token * 2u + 1u) * words + word];
        let b_high = b[r * 2u * words + word];
        let b_low = b[(r * 2u + 1u) * words + word];
        high += dot4I8Packed(dy_high, b_high);
        middle += dot4I8Packed(dy_high, b_low) + dot4I8Packed(dy_low, b_high);
        low += dot4I8Packed(dy_low, b_low);
    }
    return join_planes(high, middle, low);
}
