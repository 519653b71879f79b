// RMSNorm with int8 output: n = gain · x / rms(x), then q = round(127 · n / max|n|), where max|n| is the largest
// magnitude in the row. This file rounds the elements; fragments/rms_norm.wgsl computes the norm.

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
@group(0) @binding(3) var<storage, read_write> q: array<u32>; // [tokens, width] byte rows
@group(0) @binding(4) var<storage, read_write> q_info: array<u32>; // [tokens, 4] row info
@group(0) @binding(5) var<storage, read_write> norm_info: array<u32>; // [tokens, 4]: 1 / rms(x), scale of x / rms(x)

// The parameters of the rounding to int8, which are the same for all elements of a row.
struct Rounding {
    bits: u32, // number of bits of the row's largest |gain · x|
    largest: u32, // this largest |gain · x|, shifted to 31 bits: 0, or in 2^30..2^31
    steps: u32, // 127 · 2^54 / largest
}

fn rounding_of(largest: vec2<u32>) -> Rounding {
    let bits = bits_64(largest);
    let top = normalized(largest, bits);
    var steps = 0u;
    if top != 0u {
        steps = divide(127u << 22u, top, 32u);
    }
    return Rounding(bits, top, steps);
}

// Returns the magnitude of a product gain · x, which is ≤ 2^47, after a shift. The shift is the same for the whole row:
// it brings the row's largest magnitude from `bits` bits to 31 bits.
fn normalized(magnitude: vec2<u32>, bits: u32) -> u32 {
    if bits > 31u {
        return shift_right_64(magnitude, bits - 31u).x;
    }
    return magnitude.x << ((31u - bits) & 31u);
}

// Returns a product gain · x, scaled and rounded to int8. The product with the largest magnitude in the row becomes
// ±127.
fn rounded(product: vec2<u32>, rounding: Rounding) -> i32 {
    let scaled = multiply_u32(normalized(magnitude_64(product), rounding.bits), rounding.steps); // < 2^62
    let value = bitcast<i32>(round_even_64(scaled, 54u).x);
    return select(value, -value, is_negative(product));
}

// Writes four int8 elements, which fill one word of the token's row. The row has `words` words.
fn put_word(token: u32, words: u32, word: u32, values: vec4<i32>) {
    q[token * words + word] = pack4xI8(values);
}

// Writes the row info of a token: the row's scale, and the sum of its integers. `inverse` is the scale of the token's
// row of x, divided by rms(x).
fn put_info(token: u32, inverse: Scale, rounding: Rounding, sum: u32) {
    var unit = Scale(0u, 0i);
    if rounding.largest != 0u {
        let top = Scale(rounding.largest, bitcast<i32>(rounding.bits) - 31i + params.gain_exponent);
        unit = scale_multiply(scale_multiply(inverse, top), scale_reciprocal(scale_new(vec2(127u, 0u), 0i)));
    }
    let info = token * 4u;
    q_info[info] = unit.mantissa;
    q_info[info + 1u] = bitcast<u32>(unit.exponent);
    q_info[info + 2u] = sum;
    q_info[info + 3u] = 0u;
}
