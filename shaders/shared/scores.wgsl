// Softmax in base 2, with scores in Q20 and exponentials in Q30; see src/kernels/shared/scores.rs.

// Returns value · 2^-shift as a score in Q20, clamped to ±2^30, for |value| < 2^62.
fn score(value: vec2<u32>, shift: i32) -> Clamped {
    let wide = shift_to_i32(value, shift);
    let limited = clamp(wide.value, -1073741824i, 1073741824i);
    return Clamped(limited, wide.saturated || limited != wide.value);
}

// Returns the index of the table entry that `exponential_between` takes as `high`. The next entry is `low`, and
// `exponential_between` interpolates between the two.
fn exponential_index(below: u32) -> u32 {
    return (below >> 12u) & 255u;
}

// Returns 2^(30 − below / 2^20). The fractional part of below / 2^20 is applied by linear interpolation between the
// table entries `high` and `low`, and the whole part by a right shift.
fn exponential_between(high: u32, low: u32, below: u32) -> u32 {
    let whole = below >> 20u;
    let value = high - ((((high - low) >> 2u) * (below & 4095u)) >> 10u);
    return select(value >> (whole & 31u), 0u, whole > 31u);
}

// Returns the fractional part of sum / 2^floor(log2(sum)) in Q31. The whole part is 1. The sum must be > 0.
fn logarithm_fraction(sum: vec2<u32>) -> u32 {
    return shift_left_64(sum, 64u - bits_64(sum)).y & 0x7fffffffu;
}

// Returns the index in `tables` of the entry that `logarithm_between` takes as `low`. The next entry is `high`, and
// `logarithm_between` interpolates between the two. In `tables`, the logarithms follow 257 exponentials.
fn logarithm_index(fraction: u32) -> u32 {
    return 257u + (fraction >> 23u);
}

// Returns log2(sum / 2^30) in Q20, by linear interpolation between the table entries `low` and `high`, which are in
// Q24. The returned integer is < 2^26 in magnitude, because the logarithm is between -64 and 64.
fn logarithm_between(low: u32, high: u32, sum: vec2<u32>) -> i32 {
    let between = ((high - low) * ((logarithm_fraction(sum) >> 9u) & 0x3fffu)) >> 14u;
    let whole = (bits_64(sum) - 31u) << 20u;
    return bitcast<i32>(whole + ((low + between + 8u) >> 4u));
}

// The reciprocal of a softmax sum. An exponential times the 31-bit mantissa, shifted right by `shift` (30 to 62), is a
// probability in Q30.
struct Normalizer {
    mantissa: u32,
    shift: u32,
}

// Returns the reciprocal of a sum of Q30 exponentials, for 2^30 ≤ sum < 2^62.
fn normalizer_new(sum: vec2<u32>) -> Normalizer {
    let inverse = scale_reciprocal(scale_new(sum, 0i));
    return Normalizer(inverse.mantissa, bitcast<u32>(-inverse.exponent - 30i));
}

// Returns exponential / sum, a probability in Q30, for exponential ≤ 2^30. `normalizer` is the reciprocal of the sum.
fn probability_of(normalizer: Normalizer, exponential: u32) -> u32 {
    return round_even_64(multiply_u32(exponential, normalizer.mantissa), normalizer.shift).x;
}
