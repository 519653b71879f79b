// 64-bit integers in two's complement, as vec2<u32>(low, high), and scales; see src/numbers/fixed.rs.

// The number of bits, without the sign, to which the values of wide rows (rows of two int8 planes) are rounded.
// Rounding up can reach 2^14.
const WIDE_BITS = 14u;
// The number of bits, without the sign, to which a right shift reduces the values of i32 rows in the backward pass.
const ROW_BITS = 30u;

// Returns a · b as an unsigned 64-bit integer, computed from 16-bit halves.
fn multiply_u32(a: u32, b: u32) -> vec2<u32> {
    let low = (a & 0xffffu) * (b & 0xffffu);
    let middle = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
    let cross = (a & 0xffffu) * (b >> 16u) + (middle & 0xffffu);
    return vec2(a * b, (a >> 16u) * (b >> 16u) + (middle >> 16u) + (cross >> 16u));
}

// Returns a · b as a signed 64-bit integer.
fn multiply_i32(a: i32, b: i32) -> vec2<u32> {
    let product = multiply_u32(bitcast<u32>(a), bitcast<u32>(b));
    let over = select(0u, bitcast<u32>(b), a < 0i) + select(0u, bitcast<u32>(a), b < 0i);
    return vec2(product.x, product.y - over);
}

// Returns a · b mod 2^64. `a` may be signed or unsigned; `b` is unsigned.
fn multiply_64(a: vec2<u32>, b: u32) -> vec2<u32> {
    let product = multiply_u32(a.x, b);
    return vec2(product.x, product.y + a.y * b);
}

fn add_64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = a.x + b.x;
    return vec2(low, a.y + b.y + select(0u, 1u, low < a.x));
}

fn subtract_64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return vec2(a.x - b.x, a.y - b.y - select(0u, 1u, a.x < b.x));
}

fn negate_64(a: vec2<u32>) -> vec2<u32> {
    return subtract_64(vec2(0u, 0u), a);
}

fn extend_64(a: i32) -> vec2<u32> {
    return vec2(bitcast<u32>(a), bitcast<u32>(a >> 31u));
}

fn is_negative(a: vec2<u32>) -> bool {
    return (a.y >> 31u) != 0u;
}

fn magnitude_64(a: vec2<u32>) -> vec2<u32> {
    return select(a, negate_64(a), is_negative(a));
}

// Returns whether a < b, as unsigned integers.
fn less_64(a: vec2<u32>, b: vec2<u32>) -> bool {
    return a.y < b.y || (a.y == b.y && a.x < b.x);
}

fn max_64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return select(a, b, less_64(a, b));
}

// Returns a · 2^shift mod 2^64, for `shift` in 0..=63.
fn shift_left_64(a: vec2<u32>, shift: u32) -> vec2<u32> {
    let s = shift & 31u;
    let carried = (a.x >> 1u) >> ((31u - s) & 31u);
    let small = vec2(a.x << s, (a.y << s) | carried);
    return select(small, vec2(0u, small.x), (shift & 32u) != 0u);
}

// Returns a / 2^shift, rounded towards zero, for unsigned `a` and `shift` in 0..=63.
fn shift_right_64(a: vec2<u32>, shift: u32) -> vec2<u32> {
    let s = shift & 31u;
    let carried = (a.y << 1u) << ((31u - s) & 31u);
    let small = vec2((a.x >> s) | carried, a.y >> s);
    return select(small, vec2(small.y, 0u), (shift & 32u) != 0u);
}

// Returns a / 2^shift, rounded towards −∞, for signed `a` and `shift` in 0..=63.
fn shift_right_signed_64(a: vec2<u32>, shift: u32) -> vec2<u32> {
    let s = shift & 31u;
    let high = bitcast<i32>(a.y);
    let sign = bitcast<u32>(high >> 31u);
    let carried = (a.y << 1u) << ((31u - s) & 31u);
    let small = vec2((a.x >> s) | carried, bitcast<u32>(high >> s));
    return select(small, vec2(small.y, sign), (shift & 32u) != 0u);
}

// Returns the bit length of an unsigned integer, which is 0 for 0.
fn bits_64(a: vec2<u32>) -> u32 {
    return select(64u - countLeadingZeros(a.y), 32u - countLeadingZeros(a.x), a.y == 0u);
}

// Returns the smallest right shift after which `max`, the largest magnitude of a row, has at most `bits` bits.
fn shift_for(max: vec2<u32>, bits: u32) -> u32 {
    let length = bits_64(max);
    return select(0u, length - bits, length > bits);
}

// Returns value / 2^shift, rounded to nearest, ties to even, for |value| < 2^62 and `shift` in 0..=63.
fn round_even_64(value: vec2<u32>, shift: u32) -> vec2<u32> {
    let odd = shift_right_signed_64(value, shift).x & 1u;
    let half = shift_right_64(shift_left_64(vec2(1u, 0u), shift), 1u);
    let bias = subtract_64(half, vec2(select(0u, 1u - odd, shift != 0u), 0u));
    return shift_right_signed_64(add_64(value, bias), shift);
}

// Returns value / 2^shift, rounded to nearest, ties to even, for `shift` in 0..=31.
fn round_even_i32(value: i32, shift: u32) -> i32 {
    let quotient = value >> (shift & 31u);
    let rest = bitcast<u32>(value) & ((1u << (shift & 31u)) - 1u);
    let half = (1u << (shift & 31u)) >> 1u;
    let up = rest > half || (rest == half && half != 0u && (quotient & 1i) == 1i);
    return quotient + select(0i, 1i, up);
}

// Returns floor(value / 2^shift + dither / 2^16), for |value| < 2^62, `shift` in 0..=62 and dither < 2^16.
fn round_dither_64(value: vec2<u32>, shift: u32, dither: u32) -> vec2<u32> {
    let left = select(0u, shift - 16u, shift > 16u);
    let right = select(0u, 16u - shift, shift < 16u);
    let added = shift_right_64(shift_left_64(vec2(dither, 0u), left), right);
    return shift_right_signed_64(add_64(value, added), shift);
}

// Returns value · 2^shift. If `shift` is negative, the result is rounded towards −∞. Otherwise it is exact, and the
// caller ensures that it does not overflow.
fn align_64(value: vec2<u32>, shift: i32) -> vec2<u32> {
    if shift >= 0i {
        return shift_left_64(value, bitcast<u32>(min(shift, 63i)));
    }
    return shift_right_signed_64(value, bitcast<u32>(min(-shift, 63i)));
}

// An i32 result. `saturated` says whether it had to be clamped to ±(2^31 − 1).
struct Clamped {
    value: i32,
    saturated: bool,
}

fn saturate_64(value: vec2<u32>) -> Clamped {
    let magnitude = magnitude_64(value);
    if magnitude.y != 0u || (magnitude.x >> 31u) != 0u {
        return Clamped(select(2147483647i, -2147483647i, is_negative(value)), true);
    }
    return Clamped(bitcast<i32>(value.x), false);
}

// Returns value · 2^-shift, rounded to nearest, ties to even, and clamped to ±(2^31 − 1), for |value| < 2^62.
fn shift_to_i32(value: vec2<u32>, shift: i32) -> Clamped {
    if shift >= 0i {
        return saturate_64(round_even_64(value, bitcast<u32>(min(shift, 63i))));
    }
    let magnitude = magnitude_64(value);
    let large = magnitude.y != 0u || (magnitude.x >> 31u) != 0u;
    let small = select(magnitude, vec2(0x80000000u, 0u), large);
    let shifted = shift_left_64(small, bitcast<u32>(min(-shift, 31i)));
    return saturate_64(select(shifted, negate_64(shifted), is_negative(value)));
}

// Returns floor(start · 2^steps / divisor), computed by restoring division, for start < divisor ≤ 2^31.
fn divide(start: u32, divisor: u32, steps: u32) -> u32 {
    var rest = start;
    var quotient = 0u;
    for (var i = 0u; i < steps; i++) {
        rest = rest << 1u;
        quotient = quotient << 1u;
        if rest >= divisor {
            rest -= divisor;
            quotient |= 1u;
        }
    }
    return quotient;
}

// A non-negative number mantissa · 2^exponent. The mantissa is 0, or ≥ 2^30 and < 2^31.
struct Scale {
    mantissa: u32,
    exponent: i32,
}

fn scale_new(value: vec2<u32>, exponent: i32) -> Scale {
    let bits = bits_64(value);
    if bits == 0u {
        return Scale(0u, 0i);
    }
    if bits <= 31u {
        let shift = 31u - bits;
        return Scale(value.x << (shift & 31u), exponent - bitcast<i32>(shift));
    }
    let shift = bits - 31u;
    // `round_even_64` is for signed values and does not fit here: `value` is unsigned and may have 64 bits.
    let quotient = shift_right_64(value, shift).x;
    let rest = subtract_64(value, shift_left_64(vec2(quotient, 0u), shift));
    let half = shift_left_64(vec2(1u, 0u), shift - 1u);
    let tie = rest.x == half.x && rest.y == half.y;
    let up = less_64(half, rest) || (tie && (quotient & 1u) == 1u);
    let rounded = quotient + select(0u, 1u, up);
    if (rounded >> 31u) != 0u {
        return Scale(0x40000000u, exponent + bitcast<i32>(shift) + 1i);
    }
    return Scale(rounded, exponent + bitcast<i32>(shift));
}

fn scale_multiply(a: Scale, b: Scale) -> Scale {
    return scale_new(multiply_u32(a.mantissa, b.mantissa), a.exponent + b.exponent);
}

fn scale_add(a: Scale, b: Scale) -> Scale {
    if a.mantissa == 0u {
        return b;
    }
    if b.mantissa == 0u {
        return a;
    }
    let swap = a.exponent < b.exponent;
    let high = Scale(select(a.mantissa, b.mantissa, swap), max(a.exponent, b.exponent));
    let low = select(b.mantissa, a.mantissa, swap);
    let distance = bitcast<u32>(min(high.exponent - min(a.exponent, b.exponent), 63i));
    let sum = add_64(shift_left_64(vec2(high.mantissa, 0u), 31u), shift_right_64(shift_left_64(vec2(low, 0u), 31u), distance));
    return scale_new(sum, high.exponent - 31i);
}

// Returns 1 / a, computed as floor(2^61 / mantissa) and normalized, or 0 if `a` is 0.
fn scale_reciprocal(a: Scale) -> Scale {
    if a.mantissa == 0u {
        return Scale(0u, 0i);
    }
    return scale_new(vec2(divide(0x20000000u, a.mantissa, 32u), 0u), -61i - a.exponent);
}

// Returns 1 / sqrt(a), computed as the reciprocal of a 31-bit integer square root, or 0 if `a` is 0.
fn scale_inverse_sqrt(a: Scale) -> Scale {
    if a.mantissa == 0u {
        return Scale(0u, 0i);
    }
    let odd = bitcast<u32>(a.exponent & 1i);
    let square = shift_left_64(vec2(a.mantissa, 0u), 30u + odd);
    var root = 0u;
    for (var bit = 0x40000000u; bit != 0u; bit = bit >> 1u) {
        let trial = root | bit;
        if !less_64(square, multiply_u32(trial, trial)) {
            root = trial;
        }
    }
    return scale_reciprocal(Scale(root, (a.exponent - bitcast<i32>(odd) - 30i) >> 1u));
}

// Returns a · 2^exponent, which is exact.
fn scale_shift(a: Scale, exponent: i32) -> Scale {
    return Scale(a.mantissa, a.exponent + select(exponent, 0i, a.mantissa == 0u));
}

// Returns the scale 2^exponent, which is exact.
fn scale_power(exponent: i32) -> Scale {
    return Scale(0x40000000u, exponent - 30i);
}
