//! Head rows: the values of one token and one attention head as a wide row, followed by four words, of which the first
//! is the exponent of their power of two.

use super::{blocks::ZERO_EXPONENT, wide};
use crate::{kernels::INFO, numbers::rng::Dither};

/// Returns the number of words of a head row.
pub const fn head_words(head_dim: usize) -> usize {
    wide::wide_words(head_dim) + INFO
}

/// A head row: the bytes of its planes, and its exponent.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    planes: &'a [i8],
    /// Exponent: each integer stands for `integer · 2^exponent`.
    pub exponent: i32,
}

impl<'a> Head<'a> {
    /// Returns the head row of a buffer with this index.
    #[inline(always)]
    pub fn new(words: &'a [u32], head_dim: usize, index: usize) -> Self {
        let row = &words[index * head_words(head_dim)..][..head_words(head_dim)];
        let (planes, rest) = row.split_at(wide::wide_words(head_dim));
        Self { planes: bytemuck::cast_slice(planes), exponent: rest[0] as i32 }
    }

    /// Returns element `i`.
    #[inline(always)]
    pub fn get(&self, i: usize) -> i64 {
        wide::get(self.planes, i).into()
    }

    /// Returns the inner product with another row, exact, ≤ 2^28 · head_dim in magnitude.
    #[inline(always)]
    pub fn dot(&self, other: Self, head_dim: usize) -> i64 {
        (0..head_dim).map(|i| self.get(i) * other.get(i)).sum()
    }
}

/// Writes a head row of `values · 2^exponent`, rounded to nearest even or by dither.
#[inline(always)]
pub fn put(out: &mut [u32], head_dim: usize, values: &[i64], exponent: i32, dither: Option<(Dither, u32)>) {
    let (planes, rest) = out.split_at_mut(wide::wide_words(head_dim));
    let (shift, _) = match dither {
        Some((dither, index)) => wide::write_dither(planes, values, dither, index),
        None => wide::write_even(planes, values),
    };
    let zero = values.iter().all(|&value| value == 0);
    let exponent = if zero { ZERO_EXPONENT } else { exponent + shift as i32 };
    rest.copy_from_slice(&[exponent as u32, 0, 0, 0]);
}
