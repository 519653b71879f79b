// Softmax in base 2, with scores in Q20 and exponentials in Q30; see src/kernels/shared/scores.rs.

// value · 2^-shift as a score, clamped to ±2^30; |value| < 2^62.
fn score(value: vec2<u32>, shift: i32) -> Clamped {
    let wide = shift_to_i32(value, shift);
    let limited = clamp(wide.value, -1073741824i, 1073741824i);
    return Clamped(limited, wide.saturated || limited != wide.value);
}

// The index, in the table of exponentials, of the upper of the two entries from which exponential_between interpolates.
fn exponential_index(below: u32) -> u32 {
    return (below >> 12u) & 255u;
}

// 2^(30 − below / 2^20), by linear interpolation between two entries of the table, high and low, and a shift.
fn exponential_between(high: u32, low: u32, below: u32) -> u32 {
    let whole = below >> 20u;
    let value = high - ((((high - low) >> 2u) * (below & 4095u)) >> 10u);
    return select(value >> (whole & 31u), 0u, whole > 31u);
}

// The fraction of sum / 2^floor(log2 sum) in Q31; sum > 0.
fn logarithm_fraction(sum: vec2<u32>) -> u32 {
    return shift_left_64(sum, 64u - bits_64(sum)).y & 0x7fffffffu;
}

// The index, in the tables, of the lower of the two logarithms from which logarithm_between interpolates.
fn logarithm_index(fraction: u32) -> u32 {
    return 257u + (fraction >> 23u);
}

// log2(sum / 2^30) in Q20, by interpolation between two entries of the table, in Q24; |.| < 2^26.
fn logarithm_between(low: u32, high: u32, sum: vec2<u32>) -> i32 {
    let between = ((high - low) * ((logarithm_fraction(sum) >> 9u) & 0x3fffu)) >> 14u;
    let whole = (bits_64(sum) - 31u) << 20u;
    return bitcast<i32>(whole + ((low + between + 8u) >> 4u));
}

// The reciprocal of a softmax sum: a mantissa of 31 bits, and the right shift, 30..=62, after which a product with an
// exponential is a probability in Q30.
struct Normalizer {
    mantissa: u32,
    shift: u32,
}

// The reciprocal of a sum of Q30 exponentials, 2^30 ≤ sum < 2^62.
fn normalizer_new(sum: vec2<u32>) -> Normalizer {
    let inverse = scale_reciprocal(scale_new(sum, 0i));
    return Normalizer(inverse.mantissa, bitcast<u32>(-inverse.exponent - 30i));
}

// exponential / sum in Q30; exponential ≤ 2^30.
fn probability_of(normalizer: Normalizer, exponential: u32) -> u32 {
    return round_even_64(multiply_u32(exponential, normalizer.mantissa), normalizer.shift).x;
}
