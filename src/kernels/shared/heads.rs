//! A head row holds the values of one token for one attention head. It is a wide row followed by four words: an
//! exponent, which all values of the row share, and three zeros.

use super::{blocks::ZERO_EXPONENT, wide};
use crate::{kernels::INFO, numbers::rng::Dither};

/// Returns the number of words of a head row.
pub const fn head_words(head_dim: usize) -> usize {
    wide::wide_words(head_dim) + INFO
}

/// A head row: the bytes of the two planes, and the exponent.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    planes: &'a [i8],
    /// Exponent of the row: each integer stands for `integer · 2^exponent`.
    pub exponent: i32,
}

impl<'a> Head<'a> {
    /// Returns head row `index` of a buffer.
    #[inline(always)]
    pub fn new(words: &'a [u32], head_dim: usize, index: usize) -> Self {
        let row = &words[index * head_words(head_dim)..][..head_words(head_dim)];
        let (planes, rest) = row.split_at(wide::wide_words(head_dim));
        Self { planes: bytemuck::cast_slice(planes), exponent: rest[0] as i32 }
    }

    /// Returns the integer of feature `i`.
    #[inline(always)]
    pub fn get(&self, i: usize) -> i64 {
        wide::get(self.planes, i).into()
    }

    /// Returns the exact inner product with another row. Its magnitude is ≤ 2^28 · `head_dim`.
    #[inline(always)]
    pub fn dot(&self, other: Self, head_dim: usize) -> i64 {
        (0..head_dim).map(|i| self.get(i) * other.get(i)).sum()
    }
}

/// Writes `values · 2^exponent` as a head row. Values are rounded by `dither`, which is a stream and the row index of
/// its elements, or to nearest even if that is `None`.
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
