// Functions for rows: magnitudes, planes and exponents; see src/kernels/shared/{rows,wide}.rs.

// The exponent of an all-zero row, smaller than the exponent of any other row.
const ZERO_EXPONENT = -1024i;

// |value| as a 64-bit integer.
fn magnitude_i32(value: i32) -> vec2<u32> {
    return vec2(bitcast<u32>(abs(value)), 0u);
}

// The word of plane 0 of a wide row (units of 256) that holds four values of magnitude ≤ 2^14.
fn wide_high(values: vec4<i32>) -> u32 {
    return pack4xI8((values + 128i) >> vec4(8u));
}

// The word of plane 1 of a wide row (units of 1) that holds the same four values.
fn wide_low(values: vec4<i32>) -> u32 {
    return pack4xI8(values);
}

// The sum of four integers.
fn sum_of(values: vec4<i32>) -> i32 {
    return values.x + values.y + values.z + values.w;
}

// 2^16 · high + 2^8 · middle + low: the inner product of two wide rows, from the inner products of their planes.
fn join_planes(high: i32, middle: i32, low: i32) -> vec2<u32> {
    let upper = add_64(shift_left_64(extend_64(high), 16u), shift_left_64(extend_64(middle), 8u));
    return add_64(upper, extend_64(low));
}

// The exponent of a scale for comparisons; the scale 0 has the smallest exponent.
fn exponent_of(scale: Scale) -> i32 {
    return select(scale.exponent, ZERO_EXPONENT, scale.mantissa == 0u);
}

// top − exponent, clamped to 0..=63: the right shift that aligns a value of this exponent with the exponent top.
fn distance_to(top: i32, exponent: i32) -> u32 {
    return bitcast<u32>(clamp(top - exponent, 0i, 63i));
}
