// RMSNorm: n = gain · x / rms(x), written as wide rows (integers of magnitude ≤ 2^14, as two int8 planes).
// This file rounds the elements; fragments/rms_norm.wgsl computes the norm.

struct Params {
    first_group: u32,
    tokens: u32,
    width: u32,
    gain_exponent: i32,
    inverse_width: u32,
    inverse_width_exponent: i32,
    epsilon: u32,
    epsilon_exponent: i32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<i32>; // [tokens, width + 4] i32 rows
@group(0) @binding(2) var<storage, read> gain: array<i32>; // [width] within ±65,535
@group(0) @binding(3) var<storage, read_write> n: array<u32>; // [tokens, width] wide rows
@group(0) @binding(4) var<storage, read_write> n_info: array<u32>; // [tokens, 4] row info
@group(0) @binding(5) var<storage, read_write> norm_info: array<u32>; // [tokens, 4]: 1 / rms(x), scale of x / rms(x)

// The shift with which all elements of a row are rounded to 14 bits.
struct Rounding {
    shift: u32, // right shift that leaves 14 bits of the row's largest |gain · x|
}

fn rounding_of(largest: vec2<u32>) -> Rounding {
    return Rounding(shift_for(largest, WIDE_BITS));
}

// Returns a product gain · x, divided by 2^rounding.shift and rounded to 14 bits.
fn rounded(product: vec2<u32>, rounding: Rounding) -> i32 {
    return bitcast<i32>(round_even_64(product, rounding.shift).x);
}

// Writes four elements of a token's row. The row consists of two int8 planes of `words` words each. The high bytes of
// the four elements fill word `word` of the first plane, and the low bytes fill the same word of the second plane.
fn put_word(token: u32, words: u32, word: u32, values: vec4<i32>) {
    n[token * 2u * words + word] = wide_high(values);
    n[(token * 2u + 1u) * words + word] = wide_low(values);
}

// Writes the row info of a token: the row's scale, and the sum of its integers. `inverse` is the scale of the token's
// row of x, divided by rms(x).
fn put_info(token: u32, inverse: Scale, rounding: Rounding, sum: u32) {
    let unit = scale_shift(inverse, params.gain_exponent + bitcast<i32>(rounding.shift));
    let info = token * 4u;
    n_info[info] = unit.mantissa;
    n_info[info + 1u] = bitcast<u32>(unit.exponent);
    n_info[info + 2u] = sum;
    n_info[info + 3u] = 0u;
}
