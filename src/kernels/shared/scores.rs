//! Softmax in base 2. Scores have 20 fraction bits (Q20), and exponentials have 30 (Q30). A first pass computes the
//! maximum of the scores; a second pass sums the exponentials relative to this maximum. The exponentials are integers,
//! so the sum does not depend on the order of the scores.

use crate::numbers::{
    fixed::{Scale, round_even_small, shift_to_i32},
    tables::TABLE_LEN,
};

/// The number of fraction bits of a score. This format is called Q20.
pub const SCORE_BITS: u32 = 20;
/// The largest magnitude of a score: 1024, with 20 fraction bits. A score beyond ±1024 is clamped. The exponential of a
/// score, `2^score`, is therefore between 2^-1024 and 2^1024.
pub const SCORE_LIMIT: i32 = 1 << 30;

/// Returns `value · 2^-shift` as a score, and whether the score was clamped to ±[`SCORE_LIMIT`].
#[inline(always)]
pub fn score(value: i64, shift: i32) -> (i32, bool) {
    let (score, saturated) = shift_to_i32(value, shift);
    (score.clamp(-SCORE_LIMIT, SCORE_LIMIT), saturated || score.abs() > SCORE_LIMIT)
}

/// Returns `2^-d` with 30 fraction bits (Q30). `below` is `d` with 20 fraction bits, the distance by which a score is
/// below the maximum. The fraction of `d` is applied by linear interpolation between the entries of `table`, whose
/// arguments are 1/256 apart, and the whole part of `d` by a shift.
#[inline(always)]
pub fn exp2(table: &[u32], below: u32) -> u32 {
    let (whole, index) = (below >> SCORE_BITS, (below >> 12 & 255) as usize);
    let (high, low) = (table[index], table[index + 1]);
    if whole > 31 { 0 } else { (high - ((((high - low) >> 2) * (below & 4095)) >> 10)) >> whole }
}

/// Returns `log2(sum / 2^30)` with 20 fraction bits, which is a term of the loss. `sum` is a sum of exponentials with
/// 30 fraction bits, and at least 2^30. `tables` is the exp2 table followed by the log2 table.
#[inline(always)]
pub fn log2(tables: &[u32], sum: u64) -> i64 {
    let whole = 63 - sum.leading_zeros();
    let fraction = (sum << (63 - whole) >> 32) as u32 & 0x7fff_ffff; // Q31
    let index = TABLE_LEN + (fraction >> 23) as usize;
    let (low, high) = (tables[index], tables[index + 1]);
    let log = low + (((high - low) * (fraction >> 9 & 0x3fff)) >> 14); // Q24
    (i64::from(whole) - 30) * (1 << SCORE_BITS) + i64::from((log + 8) >> 4)
}

/// The reciprocal of a sum of exponentials, for the division in softmax. An exponential with 30 fraction bits,
/// multiplied by `mantissa` and shifted right by `shift` bits, is a probability with 30 fraction bits.
#[derive(Clone, Copy)]
pub struct Normalizer {
    /// Mantissa of the reciprocal of the sum of exponentials, 31 bits.
    pub mantissa: u32,
    /// The number of bits by which the product of an exponential and the mantissa is shifted right, 30 to 62.
    pub shift: u32,
}

impl Normalizer {
    /// Returns the reciprocal of `sum`, a sum of exponentials with 30 fraction bits, where `2^30 ≤ sum < 2^62`.
    #[inline(always)]
    pub fn new(sum: u64) -> Self {
        let Scale { mantissa, exponent } = Scale::new(sum, 0).reciprocal();
        Self { mantissa, shift: (-exponent - 30) as u32 }
    }

    /// Returns the softmax probability of a score: the score's exponential divided by the sum of all exponentials. The
    /// probability and `exponential` have 30 fraction bits.
    #[inline(always)]
    pub fn probability(self, exponential: u32) -> u32 {
        round_even_small(u64::from(exponential) * u64::from(self.mantissa), self.shift) as u32
    }
}
