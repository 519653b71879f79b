// Functions for rows of integers: magnitudes, int8 planes and exponents; see src/kernels/shared/{rows,wide}.rs.

// The exponent of an all-zero row when exponents are compared. The rows of all models but pathological ones have larger
// exponents.
const ZERO_EXPONENT = -1024i;
// The smallest i32, which is smaller than the exponent of any row.
const LOWEST_EXPONENT = i32(-2147483648);

// Returns |value| as an unsigned 64-bit integer.
fn magnitude_i32(value: i32) -> vec2<u32> {
    return vec2(bitcast<u32>(abs(value)), 0u);
}

// Splits four values of a wide row, each ≤ 2^14 in magnitude, into two int8 planes. Returns the word of the high plane,
// whose unit is 256.
fn wide_high(values: vec4<i32>) -> u32 {
    return pack4xI8((values + 128i) >> vec4(8u));
}

// Splits four values of a wide row into two int8 planes. Returns the word of the low plane, whose unit is 1.
fn wide_low(values: vec4<i32>) -> u32 {
    return pack4xI8(values);
}

fn sum_of(values: vec4<i32>) -> i32 {
    return values.x + values.y + values.z + values.w;
}

// Returns 2^16 · high + 2^8 · middle + low: the inner product of two wide rows, joined from the inner products of their
// int8 planes.
fn join_planes(high: i32, middle: i32, low: i32) -> vec2<u32> {
    let upper = add_64(shift_left_64(extend_64(high), 16u), shift_left_64(extend_64(middle), 8u));
    return add_64(upper, extend_64(low));
}

// Returns the exponent of a scale, for comparisons. For a scale of 0, returns ZERO_EXPONENT, the smallest exponent.
fn exponent_of(scale: Scale) -> i32 {
    return select(scale.exponent, ZERO_EXPONENT, scale.mantissa == 0u);
}

// Returns the right shift that converts a value with the given exponent to the larger exponent `top`: top − exponent,
// clamped to 0..=63.
fn distance_to(top: i32, exponent: i32) -> u32 {
    return bitcast<u32>(clamp(top - exponent, 0i, 63i));
}
