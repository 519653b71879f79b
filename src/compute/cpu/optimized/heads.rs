//! Decodes head rows (the values of one token for one attention head) for the optimized attention kernels. The decoded
//! values are ordered by token if a kernel sums over tokens, and by feature if it sums over features.

use super::products::{LANES, columns, join, split};
use crate::kernels::shared::{
    blocks::{BLOCK, ZERO_EXPONENT},
    heads::head_words,
    wide::wide_words,
};
use std::ops::Range;

/// A buffer of head rows, in the order `[tokens, heads]`. A head row holds the values of one token for one attention
/// head.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) words: &'a [u32],
    pub(super) heads: usize,
    pub(super) head_dim: usize,
}

impl<'a> Source<'a> {
    /// Returns the values of one token for one attention head as two bytes per value: first the high bytes of all
    /// values, then the low bytes. Also returns the exponent that the values share.
    #[inline(always)]
    fn row(&self, token: usize, head: usize) -> (&'a [i8], i32) {
        let words = head_words(self.head_dim);
        let (planes, rest) =
            self.words[(token * self.heads + head) * words..][..words].split_at(wide_words(self.head_dim));
        (bytemuck::cast_slice(planes), rest[0] as i32)
    }

    /// Writes the values of one token for one attention head to `out`. Each value `256 · high + low` is written as
    /// `[high, low]`. Returns the exponent that the values share.
    #[inline(always)]
    pub(super) fn weights(&self, token: usize, head: usize, out: &mut Vec<[i32; 2]>) -> i32 {
        let (row, exponent) = self.row(token, head);
        let (high, low) = row.split_at(row.len() / 2);
        out.resize(self.head_dim, [0; 2]);
        for ((out, &high), &low) in out.iter_mut().zip(high).zip(low) {
            *out = [high.into(), low.into()];
        }
        exponent
    }

    /// Returns the exponents of the tokens in a span, for one attention head. All values of a token share one exponent.
    /// The list is padded to a multiple of 32 with the exponent of an all-zero row.
    #[inline(always)]
    pub(super) fn exponents(&self, span: Range<usize>, head: usize) -> Vec<i32> {
        let padded = span.len().next_multiple_of(BLOCK);
        let mut exponents: Vec<_> = span.map(|token| self.row(token, head).1).collect();
        exponents.resize(padded, ZERO_EXPONENT);
        exponents
    }

    /// Returns the values of one attention head for a span of tokens, ordered by token: `[tokens, stride]`. The number
    /// of tokens is padded to a multiple of 32, and `stride` is `head_dim` padded to a multiple of [`LANES`].
    #[inline(always)]
    pub(super) fn by_token(&self, span: Range<usize>, head: usize) -> Vec<i16> {
        let stride = self.stride();
        let mut rows = vec![0; span.len().next_multiple_of(BLOCK) * stride];
        for (token, row) in span.zip(rows.chunks_exact_mut(stride)) {
            join(self.row(token, head).0, &mut row[..self.head_dim]);
        }
        rows
    }

    /// Returns the values of one attention head for a span of tokens, in groups of [`LANES`] tokens, each group ordered
    /// by feature: `[groups, head_dim, LANES]`. The number of tokens is padded to a multiple of 32.
    #[inline(always)]
    pub(super) fn by_feature(&self, span: Range<usize>, head: usize) -> Vec<i16> {
        let padded = span.len().next_multiple_of(BLOCK);
        let mut tiles = columns(span.map(|token| self.row(token, head).0), self.head_dim);
        tiles.resize(padded * self.head_dim, 0);
        tiles
    }

    /// Returns the length to which [`by_token`](Self::by_token) pads the `head_dim` values of each token: `head_dim`
    /// rounded up to a multiple of [`LANES`].
    #[inline(always)]
    pub(super) fn stride(&self) -> usize {
        self.head_dim.next_multiple_of(LANES)
    }
}

/// Returns the bitwise OR of the magnitudes of all values. It has as many bits as the largest magnitude.
#[inline(always)]
pub(super) fn magnitude(values: &[i64]) -> u64 {
    values.iter().fold(0, |bits, value| bits | value.unsigned_abs())
}

/// Splits each of the 32 weights of a block into two bytes, `[high, low]`, so that the weight is `256 · high + low`.
/// The weights must be ≤ 2^14 in magnitude.
#[inline(always)]
pub(super) fn planes(weights: &[i64; BLOCK]) -> [[i32; 2]; BLOCK] {
    let mut planes = [[0; 2]; BLOCK];
    for i in 0..BLOCK {
        planes[i] = split(weights[i] as i32);
    }
    planes
}

/// Splits the range of tokens `units` into parts, so that each part lies in one sequence. Returns, for each part, the
/// first token of its sequence, and the part's range of tokens. `first` maps a token to the first token of the same
/// sequence.
#[inline(always)]
pub(super) fn runs(units: Range<usize>, first: impl Fn(usize) -> usize) -> Vec<(usize, Range<usize>)> {
    let mut runs: Vec<(usize, Range<usize>)> = Vec::new();
    for token in units {
        match runs.last_mut() {
            Some((start, run)) if *start == first(token) => run.end = token + 1,
            _ => runs.push((first(token), token..token + 1)),
        }
    }
    runs
}
