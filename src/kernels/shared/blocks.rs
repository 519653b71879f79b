//! Blocks of 32 tokens: where tokens are contracted, each block's integers share one exponent and
//! its exact sum is aligned by a shift.

/// Tokens of a block; blocks never cross a sequence.
pub const BLOCK: usize = 32;
/// Exponent of an all-zero row: below every real one.
pub const ZERO_EXPONENT: i32 = -1024;

/// `value · 2^shift`: left exactly (the caller bounds it), right towards −∞.
#[inline(always)]
pub fn align(value: i64, shift: i32) -> i64 {
    if shift >= 0 { value << shift.min(63) } else { value >> (-shift).min(63) }
}

/// `max − exponent` as a shift of a 62-bit value.
#[inline(always)]
pub fn distance(max: i32, exponent: i32) -> u32 {
    (max - exponent).clamp(0, 63) as u32
}
