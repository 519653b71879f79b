//! Blocks of up to 32 tokens, for sums over tokens. The integers of a block share one exponent, so their sum is exact.
//! A shift then aligns the sum of a block with the sums of the other blocks.

/// The maximum number of tokens in a block. All tokens of a block belong to the same sequence.
pub const BLOCK: usize = 32;
/// The exponent that is used for rows whose values are all 0. It is smaller than the exponent of any other row.
pub const ZERO_EXPONENT: i32 = -1024;

/// Returns `value · 2^shift`. If `shift` is negative, the result is rounded towards −∞. If it is positive, the result
/// is exact, and the caller must ensure that it does not overflow.
#[inline(always)]
pub fn align(value: i64, shift: i32) -> i64 {
    if shift >= 0 { value << shift.min(63) } else { value >> (-shift).min(63) }
}

/// Returns `max − exponent`, clamped to 0..=63. If an integer of at most 62 bits has the exponent `exponent`, a right
/// shift by this number of bits gives it the exponent `max`.
#[inline(always)]
pub fn distance(max: i32, exponent: i32) -> u32 {
    (max - exponent).clamp(0, 63) as u32
}
