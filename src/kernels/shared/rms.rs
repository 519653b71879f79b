//! The reciprocal of a row's root mean square (RMS), by which RMSNorm multiplies the row (Zhang, Sennrich 2019).

use super::rows::max_magnitude;
use crate::numbers::fixed::{Scale, shift_for};

/// The number of bits to which the integers of a row are rounded before their mean square is computed: the rounded
/// magnitudes are ≤ 2^15. The sum of their squares is then ≤ 2^30 · width, which fits in u64 for any width.
pub const COPY_BITS: u32 = 15;

/// The factor by which RMSNorm multiplies a row, in two forms: one for real values and one for the row's integers.
pub struct Rms {
    /// `1 / sqrt(mean(value²) + epsilon)`, where the mean is taken over the real values that the row's integers
    /// represent.
    pub inverse_rms: Scale,
    /// `inverse_rms` times the scale of the row. An integer of the row times this factor is its normalized real value.
    pub inverse: Scale,
}

impl Rms {
    /// Computes the factor by which RMSNorm multiplies the row with the integers `values` and the scale `scale`.
    /// `inverse_width` is 1 / width, and `epsilon` must be greater than 0.
    #[inline(always)]
    pub fn new(values: &[i32], scale: Scale, inverse_width: Scale, epsilon: Scale) -> Self {
        let shift = copy_shift(values);
        let squares = values.iter().map(|&value| i64::from(copy(value, shift)).pow(2) as u64).sum();
        Self::of_squares(squares, shift, scale, inverse_width, epsilon)
    }

    /// Computes the factor by which RMSNorm multiplies a row. `squares` is the sum of the squares of the row's integers
    /// after a right shift of `shift` bits has rounded them to magnitudes ≤ 2^15. `scale` is the scale of the row,
    /// `inverse_width` is 1 / width, and `epsilon` must be greater than 0.
    #[inline(always)]
    pub fn of_squares(squares: u64, shift: u32, scale: Scale, inverse_width: Scale, epsilon: Scale) -> Self {
        let mean = Scale::new(squares, 2 * shift as i32).multiply(scale).multiply(scale).multiply(inverse_width);
        let inverse_rms = mean.plus(epsilon).inverse_sqrt();
        Self { inverse_rms, inverse: scale.multiply(inverse_rms) }
    }

    /// Returns the factor by which RMSNorm multiplies a row, as four words: mantissa and exponent of `inverse_rms` (the
    /// factor for real values), then of `inverse` (the factor for the row's integers).
    pub fn words(&self) -> [u32; 4] {
        let ([a, b], [c, d]) = (self.inverse_rms.words(), self.inverse.words());
        [a, b, c, d]
    }

    /// Reads the factor by which RMSNorm multiplies a row from four words: mantissa and exponent of `inverse_rms` (the
    /// factor for real values), then of `inverse` (the factor for the row's integers).
    pub fn from_words(words: &[u32]) -> Self {
        Self { inverse_rms: Scale::from_words(words), inverse: Scale::from_words(&words[2..]) }
    }
}

/// Returns the right shift that rounds the integers of a row to magnitudes ≤ 2^[`COPY_BITS`].
#[inline(always)]
pub fn copy_shift(values: &[i32]) -> u32 {
    shift_for(max_magnitude(values).into(), COPY_BITS)
}

/// Returns `value / 2^shift`, rounded to nearest, ties towards +∞. With the shift that [`copy_shift`] returns, the
/// magnitude of the result is ≤ 2^15.
#[inline(always)]
pub fn copy(value: i32, shift: u32) -> i32 {
    ((i64::from(value) + ((1 << shift) >> 1)) >> shift) as i32
}
