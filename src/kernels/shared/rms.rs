//! The reciprocal root mean square of a row, by which RMSNorm multiplies (Zhang, Sennrich 2019).

use super::rows::max_magnitude;
use crate::numbers::fixed::{Scale, shift_for};

/// The mean square is computed from copies of the integers that are rounded to this many bits. The sum of their
/// squares, ≤ 2^30 · width, fits in u64 for any width.
pub const COPY_BITS: u32 = 15;

/// The factors by which RMSNorm multiplies a row.
pub struct Rms {
    /// `1 / sqrt(mean(value²) + epsilon)`, where the values are the numbers that the row's integers stand for.
    pub inverse_rms: Scale,
    /// `inverse_rms` times the row's scale: the normalized value that the integer 1 stands for.
    pub inverse: Scale,
}

impl Rms {
    /// Returns the factors of a row. `inverse_width` is 1 / width, and `epsilon` > 0.
    #[inline(always)]
    pub fn new(values: &[i32], scale: Scale, inverse_width: Scale, epsilon: Scale) -> Self {
        let shift = copy_shift(values);
        let squares = values.iter().map(|&value| i64::from(copy(value, shift)).pow(2) as u64).sum();
        Self::of_squares(squares, shift, scale, inverse_width, epsilon)
    }

    /// Returns the factors of a row, given the sum of the squares of its 15-bit copies and the right shift that made
    /// these copies.
    #[inline(always)]
    pub fn of_squares(squares: u64, shift: u32, scale: Scale, inverse_width: Scale, epsilon: Scale) -> Self {
        let mean = Scale::new(squares, 2 * shift as i32).multiply(scale).multiply(scale).multiply(inverse_width);
        let inverse_rms = mean.plus(epsilon).inverse_sqrt();
        Self { inverse_rms, inverse: scale.multiply(inverse_rms) }
    }

    /// Returns the factors as the four words of `norm_info`: `inverse_rms`, then `inverse`.
    pub fn words(&self) -> [u32; 4] {
        let ([a, b], [c, d]) = (self.inverse_rms.words(), self.inverse.words());
        [a, b, c, d]
    }

    /// Reads the factors back from the words that [`words`](Self::words) returned.
    pub fn from_words(words: &[u32]) -> Self {
        Self { inverse_rms: Scale::from_words(words), inverse: Scale::from_words(&words[2..]) }
    }
}

/// Returns the right shift that reduces the integers of a row to 15-bit copies.
#[inline(always)]
pub fn copy_shift(values: &[i32]) -> u32 {
    shift_for(max_magnitude(values).into(), COPY_BITS)
}

/// Returns `value / 2^shift`, rounded half up; the result is ≤ 2^15 in magnitude.
#[inline(always)]
pub fn copy(value: i32, shift: u32) -> i32 {
    ((i64::from(value) + ((1 << shift) >> 1)) >> shift) as i32
}
