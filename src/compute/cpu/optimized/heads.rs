//! Head rows of a span of tokens, decoded for the CPU kernels: ordered by token for sums over tokens, and by feature
//! for sums over features.

use super::products::{LANES, columns, join, split};
use crate::kernels::shared::{
    blocks::{BLOCK, ZERO_EXPONENT},
    heads::head_words,
    wide::wide_words,
};
use std::ops::Range;

/// A buffer of head rows `[tokens, heads]`.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) words: &'a [u32],
    pub(super) heads: usize,
    pub(super) head_dim: usize,
}

impl<'a> Source<'a> {
    /// Returns the planes of a row and its exponent.
    #[inline(always)]
    fn row(&self, token: usize, head: usize) -> (&'a [i8], i32) {
        let words = head_words(self.head_dim);
        let (planes, rest) =
            self.words[(token * self.heads + head) * words..][..words].split_at(wide_words(self.head_dim));
        (bytemuck::cast_slice(planes), rest[0] as i32)
    }

    /// Writes the values of a row to `out`, each split into its two planes, and returns the row's exponent.
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

    /// Returns the exponents of a head for a span of tokens, padded to whole blocks with the exponent of an all-zero
    /// row.
    #[inline(always)]
    pub(super) fn exponents(&self, span: Range<usize>, head: usize) -> Vec<i32> {
        let padded = span.len().next_multiple_of(BLOCK);
        let mut exponents: Vec<_> = span.map(|token| self.row(token, head).1).collect();
        exponents.resize(padded, ZERO_EXPONENT);
        exponents
    }

    /// Returns the values by token: `[tokens padded to whole blocks, stride]`, where `stride` is `head_dim` padded to
    /// whole [`LANES`].
    #[inline(always)]
    pub(super) fn by_token(&self, span: Range<usize>, head: usize) -> Vec<i16> {
        let stride = self.stride();
        let mut rows = vec![0; span.len().next_multiple_of(BLOCK) * stride];
        for (token, row) in span.zip(rows.chunks_exact_mut(stride)) {
            join(self.row(token, head).0, &mut row[..self.head_dim]);
        }
        rows
    }

    /// Returns the values by feature: `[tokens padded to whole blocks / LANES, head_dim, LANES]`.
    #[inline(always)]
    pub(super) fn by_feature(&self, span: Range<usize>, head: usize) -> Vec<i16> {
        let padded = span.len().next_multiple_of(BLOCK);
        let mut tiles = columns(span.map(|token| self.row(token, head).0), self.head_dim);
        tiles.resize(padded * self.head_dim, 0);
        tiles
    }

    /// Returns the number of values from a row of [`by_token`](Self::by_token) to the next.
    #[inline(always)]
    pub(super) fn stride(&self) -> usize {
        self.head_dim.next_multiple_of(LANES)
    }
}

/// Returns a number that has as many bits as the largest magnitude of a block.
#[inline(always)]
pub(super) fn magnitude(values: &[i64]) -> u64 {
    values.iter().fold(0, |bits, value| bits | value.unsigned_abs())
}

/// Returns the planes of the weights of a block, all ≤ 2^14 in magnitude.
#[inline(always)]
pub(super) fn planes(weights: &[i64; BLOCK]) -> [[i32; 2]; BLOCK] {
    let mut planes = [[0; 2]; BLOCK];
    for i in 0..BLOCK {
        planes[i] = split(weights[i] as i32);
    }
    planes
}

/// Returns the runs of tokens that belong to one sequence, each with the first token of its sequence.
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
