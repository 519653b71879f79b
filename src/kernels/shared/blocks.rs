//! Blocks of 32 tokens. In a sum over tokens, the integers of a block share one exponent. Their sum is exact, and a
//! shift aligns it with the sums of the other blocks.

/// The number of tokens of a block. A block never extends over two sequences.
pub const BLOCK: usize = 32;
/// The exponent of an all-zero row, smaller than the exponent of any other row.
pub const ZERO_EXPONENT: i32 = -1024;

/// Returns `value · 2^shift`. A left shift is exact, and the caller must ensure that it does not overflow; a right
/// shift rounds towards −∞.
#[inline(always)]
pub fn align(value: i64, shift: i32) -> i64 {
    if shift >= 0 { value << shift.min(63) } else { value >> (-shift).min(63) }
}

/// Returns `max − exponent`, clamped to 0..=63: the right shift that aligns a 62-bit value of this exponent with the
/// exponent `max`.
#[inline(always)]
pub fn distance(max: i32, exponent: i32) -> u32 {
    (max - exponent).clamp(0, 63) as u32
}
