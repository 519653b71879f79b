//! Softmax in base 2, with scores `z` in Q20 and exponentials in Q30. The maximum is always computed in a pass before
//! the sum, so that the result does not depend on the order of the keys.

use crate::numbers::{
    fixed::{Scale, round_even_u64, shift_to_i32},
    tables::TABLE_LEN,
};

/// The number of fraction bits of a score.
pub const SCORE_BITS: u32 = 20;
/// The largest magnitude of a score, 1024 in Q20, to which larger scores are clamped. The exponential of a score is
/// therefore within 2^±1024.
pub const SCORE_LIMIT: i32 = 1 << 30;

/// Returns `value · 2^-shift` as a score, and whether it was clamped.
#[inline(always)]
pub fn score(value: i64, shift: i32) -> (i32, bool) {
    let (score, saturated) = shift_to_i32(value, shift);
    (score.clamp(-SCORE_LIMIT, SCORE_LIMIT), saturated || score.abs() > SCORE_LIMIT)
}

/// Returns `2^(30 − below/2^20)`. The fraction of the exponent is applied by linear interpolation between table
/// entries, which are 1/256 apart, and the whole part by a shift.
#[inline(always)]
pub fn exp2(table: &[u32], below: u32) -> u32 {
    let (whole, index) = (below >> SCORE_BITS, (below >> 12 & 255) as usize);
    let (high, low) = (table[index], table[index + 1]);
    if whole > 31 { 0 } else { (high - ((((high - low) >> 2) * (below & 4095)) >> 10)) >> whole }
}

/// Returns `log2(sum / 2^30)` in Q20, a term of the loss. `sum` is a sum of Q30 exponentials and ≥ 2^30.
#[inline(always)]
pub fn log2(tables: &[u32], sum: u64) -> i64 {
    let whole = 63 - sum.leading_zeros();
    let fraction = (sum << (63 - whole) >> 32) as u32 & 0x7fff_ffff; // Q31
    let index = TABLE_LEN + (fraction >> 23) as usize;
    let (low, high) = (tables[index], tables[index + 1]);
    let log = low + (((high - low) * (fraction >> 9 & 0x3fff)) >> 14); // Q24
    (i64::from(whole) - 30) * (1 << SCORE_BITS) + i64::from((log + 8) >> 4)
}

/// The reciprocal of a softmax sum: an exponential times `mantissa`, shifted right by `shift`, is a probability in Q30.
#[derive(Clone, Copy)]
pub struct Normalizer {
    /// The 31-bit mantissa.
    pub mantissa: u32,
    /// The right shift after the multiplication, 30..=62.
    pub shift: u32,
}

impl Normalizer {
    /// Returns the reciprocal of a sum of Q30 exponentials, `2^30 ≤ sum < 2^62`.
    #[inline(always)]
    pub fn new(sum: u64) -> Self {
        let Scale { mantissa, exponent } = Scale::new(sum, 0).reciprocal();
        Self { mantissa, shift: (-exponent - 30) as u32 }
    }

    /// Returns `exponential / sum` in Q30.
    #[inline(always)]
    pub fn probability(self, exponential: u32) -> u32 {
        round_even_u64(u64::from(exponential) * u64::from(self.mantissa), self.shift) as u32
    }
}
