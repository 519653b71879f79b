// The reciprocal root mean square of a row; see src/kernels/shared/rms.rs.

// The mean square of a row is computed from copies of its integers that are rounded to this many bits.
const COPY_BITS = 15u;

// Returns the right shift (at most 17) that reduces the integers of a row to 15 bits. `max` is their largest magnitude.
fn copy_shift(max: vec2<u32>) -> u32 {
    return shift_for(max, COPY_BITS);
}

// Returns value / 2^shift, rounded to nearest; ties are rounded up.
fn copy_of(value: i32, shift: u32) -> i32 {
    let half = select(0i, (value >> ((shift - 1u) & 31u)) & 1i, shift != 0u);
    return (value >> (shift & 31u)) + half;
}

// The factors of RMSNorm for one row: `inverse_rms` is 1 / sqrt(mean(value²) + epsilon), and `inverse` is `inverse_rms`
// times the row's scale.
struct Rms {
    inverse_rms: Scale,
    inverse: Scale,
}

// Returns the factors `inverse_rms` and `inverse` of RMSNorm for one row. Before the integers of the row were squared,
// each of them was shifted to the right by `shift` and rounded, so that it had at most 15 bits. `squares` is the sum of
// these squares.
fn rms_new(squares: vec2<u32>, shift: u32, scale: Scale, inverse_width: Scale, epsilon: Scale) -> Rms {
    let sum = scale_new(squares, bitcast<i32>(2u * shift));
    let mean = scale_multiply(scale_multiply(scale_multiply(sum, scale), scale), inverse_width);
    let inverse_rms = scale_inverse_sqrt(scale_add(mean, epsilon));
    return Rms(inverse_rms, scale_multiply(scale, inverse_rms));
}
