// The reciprocal root mean square of a row; see src/kernels/shared/rms.rs.

// The number of bits of the copies of a row's integers whose squares are summed.
const COPY_BITS = 15u;

// The right shift, ≤ 17, that makes 15-bit copies of a row whose largest magnitude is max.
fn copy_shift(max: vec2<u32>) -> u32 {
    return shift_for(max, COPY_BITS);
}

// value / 2^shift, rounded half up.
fn copy_of(value: i32, shift: u32) -> i32 {
    let half = select(0i, (value >> ((shift - 1u) & 31u)) & 1i, shift != 0u);
    return (value >> (shift & 31u)) + half;
}

// inverse_rms is 1 / sqrt(mean(value²) + epsilon), and inverse is the same times the row's scale.
struct Rms {
    inverse_rms: Scale,
    inverse: Scale,
}

// The factors of a row, from the sum of the squares of its copies and the right shift that made the copies.
fn rms_new(squares: vec2<u32>, shift: u32, scale: Scale, inverse_width: Scale, epsilon: Scale) -> Rms {
    let sum = scale_new(squares, bitcast<i32>(2u * shift));
    let mean = scale_multiply(scale_multiply(scale_multiply(sum, scale), scale), inverse_width);
    let inverse_rms = scale_inverse_sqrt(scale_add(mean, epsilon));
    return Rms(inverse_rms, scale_multiply(scale, inverse_rms));
}
