//! Scores and exponentials of the softmax for 16 keys at a time, as the functions [`score`] and
//! [`exp2`](crate::kernels::shared::scores::exp2) compute them one at a time.

use crate::{
    compute::cpu::simd::wide::COLUMNS,
    kernels::shared::scores::{SCORE_BITS, SCORE_LIMIT, score},
    numbers::tables::TABLE_LEN,
};

/// Converts the inner products of a query and 16 keys to scores. `shift` is the score shift of the kernel's parameters
/// less the exponent of the query, `exponents` are those of the keys, and `top` is the largest of them. Also returns, for
/// each key, whether its score was clamped to ±1024.
#[inline(always)]
pub(super) fn scores(
    dots: &[i64; COLUMNS],
    mantissa: i64,
    shift: i32,
    exponents: &[i32; COLUMNS],
    top: i32,
) -> ([i32; COLUMNS], [bool; COLUMNS]) {
    let mut scores = [0; COLUMNS];
    if shift - top >= 1 {
        // The shifts are at least 1, so the addition rounds to nearest, ties to even.
        let mut outside = 0;
        for lane in 0..COLUMNS {
            let (product, shift) = (dots[lane] * mantissa, (shift - exponents[lane]).min(63));
            let score = (product + ((1 << (shift - 1)) - 1) + (product >> shift & 1)) >> shift;
            outside |= (score + i64::from(SCORE_LIMIT)) as u64;
            scores[lane] = score as i32;
        }
        if outside < 1 << 31 {
            return (scores, [false; COLUMNS]);
        }
    }
    let mut clamped = [false; COLUMNS];
    for lane in 0..COLUMNS {
        (scores[lane], clamped[lane]) = score(dots[lane] * mantissa, shift - exponents[lane]);
    }
    (scores, clamped)
}

/// The table of [`exp2`](crate::kernels::shared::scores::exp2), arranged so that one load reads all that an exponential
/// needs: an entry, and a quarter of its difference to the next entry.
pub(super) struct Exponentials([[u32; 2]; TABLE_LEN - 1]);

impl Exponentials {
    /// Arranges the entries of the exp2 table.
    pub(super) fn new(table: &[u32]) -> Self {
        Self(std::array::from_fn(|i| [table[i], (table[i] - table[i + 1]) >> 2]))
    }

    /// Returns `2^-d` with 30 fraction bits for each `d` in `below`, which have 20 fraction bits. The table is read in a
    /// loop of its own, because the compiler would not vectorize a loop that does both.
    #[inline(always)]
    pub(super) fn at<const LANES: usize>(&self, below: [u32; LANES]) -> [u32; LANES] {
        let entries = below.map(|below| self.0[(below >> 12 & 255) as usize]);
        let mut exponentials = [0; LANES];
        for lane in 0..LANES {
            let ([entry, quarter], whole) = (entries[lane], below[lane] >> SCORE_BITS);
            let value = (entry - ((quarter * (below[lane] & 4095)) >> 10)) >> (whole & 31);
            exponentials[lane] = if whole > 31 { 0 } else { value };
        }
        exponentials
    }
}
