//! A head row contains the values of one token for one attention head. It consists of a wide row (integers of magnitude
//! ≤ 2^14, each stored as two int8 values) and four more words: an exponent that all values of the row share, and three
//! zeros.

use super::{blocks::ZERO_EXPONENT, wide};
use crate::{kernels::INFO, numbers::rng::Dither};

/// Returns the number of words of a head row (the values of one token for one attention head) with `head_dim` values.
pub const fn head_words(head_dim: usize) -> usize {
    wide::wide_words(head_dim) + INFO
}

/// A head row in a buffer: its integers, each stored as two int8 values (all high values, then all low values), and its
/// exponent.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    planes: &'a [i8],
    /// The exponent that all values of the row share. An integer `i` of the row represents the real value
    /// `i · 2^exponent`.
    pub exponent: i32,
}

impl<'a> Head<'a> {
    /// Returns the head row with the index `index` in a buffer of head rows. A head row contains the values of one
    /// token for one attention head.
    #[inline(always)]
    pub fn new(words: &'a [u32], head_dim: usize, index: usize) -> Self {
        let row = &words[index * head_words(head_dim)..][..head_words(head_dim)];
        let (planes, rest) = row.split_at(wide::wide_words(head_dim));
        Self { planes: bytemuck::cast_slice(planes), exponent: rest[0] as i32 }
    }

    /// Returns the integer that the row contains for feature `i` of the head.
    #[inline(always)]
    pub fn get(&self, i: usize) -> i64 {
        wide::get(self.planes, i).into()
    }

    /// Returns the exact inner product of the integers of this row and of the row `other`. Its magnitude is ≤ 2^28 ·
    /// `head_dim`.
    #[inline(always)]
    pub fn dot(&self, other: Self, head_dim: usize) -> i64 {
        (0..head_dim).map(|i| self.get(i) * other.get(i)).sum()
    }
}

/// Writes the real values `values · 2^exponent` as a head row (rounded integers and the exponent that they share). If
/// `dither` is given, the values are rounded stochastically: `dither` consists of a dither stream (pseudorandom bits,
/// addressed by row and column) and the row of the bits to use. Otherwise, the values are rounded to nearest, ties to
/// even.
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
