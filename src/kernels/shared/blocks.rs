//! Blocks of 32 tokens. In sums over tokens, the integers of a block share one exponent, and its exact sum is aligned
//! by a shift.

/// Tokens of a block. A block never extends over two sequences.
pub const BLOCK: usize = 32;
/// Exponent of an all-zero row: smaller than that of any other row.
pub const ZERO_EXPONENT: i32 = -1024;

/// Returns `value · 2^shift`: exact to the left, which the caller must bound, and rounded towards −∞ to the right.
#[inline(always)]
pub fn align(value: i64, shift: i32) -> i64 {
    if shift >= 0 { value << shift.min(63) } else { value >> (-shift).min(63) }
}

/// Returns `max − exponent` as a right shift of a 62-bit value, 0..=63.
#[inline(always)]
pub fn distance(max: i32, exponent: i32) -> u32 {
    (max - exponent).clamp(0, 63) as u32
}
