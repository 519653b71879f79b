//! Decodes head rows (the values of one token for one attention head) for the optimized attention kernels, and computes
//! weighted sums of them. Decoded values are int16, two in each word, either as rows or as panels: groups of 16 columns,
//! by which rows are multiplied.

use super::products::{join, packed_rows, row_columns, value_columns};
use crate::{
    compute::cpu::simd::wide::{COLUMNS, WideTile, multiply},
    kernels::shared::{
        blocks::{BLOCK, ZERO_EXPONENT},
        heads::head_words,
        wide::{self, wide_words},
    },
};
use std::ops::Range;

/// The number of queries whose scores are computed together. The scores of 16 queries and 2048 keys take 128 KiB.
pub(super) const TILE: usize = 16;

/// A buffer of head rows, in the order `[tokens, heads]`. A head row holds the values of one token for one attention
/// head.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) words: &'a [u32],
    pub(super) heads: usize,
    pub(super) head_dim: usize,
}

impl Source<'_> {
    /// Returns the values of one token for one attention head as two bytes per value: first the high bytes of all
    /// values, then the low bytes. Also returns the exponent that the values share.
    #[inline(always)]
    fn row(&self, token: usize, head: usize) -> (&[i8], i32) {
        let words = head_words(self.head_dim);
        let (planes, rest) =
            self.words[(token * self.heads + head) * words..][..words].split_at(wide_words(self.head_dim));
        (bytemuck::cast_slice(planes), rest[0] as i32)
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

    /// Returns the values of one attention head for a span of tokens as rows, two values in each word: `[tokens,
    /// row_words]`. The number of tokens is padded to a multiple of 32.
    #[inline(always)]
    pub(super) fn rows(&self, span: Range<usize>, head: usize) -> Vec<u32> {
        packed_rows(span.len().next_multiple_of(BLOCK), self.head_dim, |at, out| {
            if at < span.len() {
                join(self.row(span.start + at, head).0, out);
            }
        })
    }

    /// Returns the number of words of a row, each of which contains two values.
    #[inline(always)]
    pub(super) fn row_words(&self) -> usize {
        self.head_dim.div_ceil(2)
    }

    /// Returns the values of one attention head for a span of tokens as panels with one column for each token: `[tokens
    /// / 16, row_words, 16]`. The number of tokens is padded to a multiple of 32.
    #[inline(always)]
    pub(super) fn token_columns(&self, span: Range<usize>, head: usize) -> Vec<[u32; COLUMNS]> {
        row_columns(&self.rows(span, head), self.row_words())
    }

    /// Returns the values of one attention head for a span of tokens as panels with one column for each feature, and 16
    /// steps of two tokens: `[tokens / 32, stride / 16, 16, 16]`. The number of tokens is padded to a multiple of 32.
    #[inline(always)]
    pub(super) fn feature_columns(&self, span: Range<usize>, head: usize) -> Vec<[u32; COLUMNS]> {
        let stride = self.stride();
        let mut panels = vec![[0; COLUMNS]; span.len().next_multiple_of(BLOCK) / 2 * stride / COLUMNS];
        let mut rows = vec![0; BLOCK * stride];
        for (panels, first) in panels.chunks_exact_mut(BLOCK / 2 * stride / COLUMNS).zip(span.clone().step_by(BLOCK)) {
            rows.fill(0);
            for (token, row) in (first..span.end).zip(rows.chunks_exact_mut(stride)) {
                join(self.row(token, head).0, &mut row[..self.head_dim]);
            }
            value_columns(&rows, stride, BLOCK / 2, panels);
        }
        panels
    }

    /// Returns the values of one attention head for a span of tokens as rows with one row for each feature, and two
    /// tokens in each word: `[tokens / 32, head_dim, 16]`. The number of tokens is padded to a multiple of 32.
    #[inline(always)]
    pub(super) fn feature_rows(&self, span: Range<usize>, head: usize) -> Vec<u32> {
        let mut rows = vec![0; span.len().div_ceil(BLOCK) * self.head_dim * BLOCK / 2];
        for (at, token) in span.enumerate() {
            let rows = &mut rows[at / BLOCK * self.head_dim * BLOCK / 2..];
            let (word, shift) = (at % BLOCK / 2, 16 * (at % 2));
            let row = self.row(token, head).0;
            for feature in 0..self.head_dim {
                rows[feature * BLOCK / 2 + word] |= (wide::get(row, feature) as u32 & 0xffff) << shift;
            }
        }
        rows
    }

    /// Returns `head_dim`, rounded up to a multiple of [`COLUMNS`].
    #[inline(always)]
    pub(super) fn stride(&self) -> usize {
        self.head_dim.next_multiple_of(COLUMNS)
    }
}

/// The weights of a tile of queries: one row for each query, and 32 columns, one for each token of a block. They are
/// aligned, because they are also read as words of two weights.
#[repr(C, align(64))]
pub(super) struct Weights(pub(super) [[i16; BLOCK]; TILE]);

/// Adds the weighted sums of a block's rows to `sums`: for query `r` and feature `c`, `2^shifts[r] · Σ_i weights[r][i] ·
/// rows[i, c]`. Terms with a negative shift are rounded towards −∞. `sums` has the shape `[TILE, stride]`, and `panels`
/// contains the rows of the 32 tokens of the block, as [`Source::feature_columns`] returns them.
///
/// # Safety
/// The processor must support the instruction set of `T`.
#[inline(always)]
pub(super) unsafe fn add_weighted<T: WideTile>(
    sums: &mut [i64],
    weights: &Weights,
    shifts: &[i32; TILE],
    panels: &[[u32; COLUMNS]],
) {
    let stride = sums.len() / TILE;
    let rows: &[u32] = bytemuck::cast_slice(weights.0.as_flattened());
    let mut dots = [[0; COLUMNS]; TILE];
    for (group, panel) in panels.chunks_exact(BLOCK / 2).take(stride / COLUMNS).enumerate() {
        // SAFETY: the caller guarantees that the processor supports the instruction set of `T`.
        unsafe { multiply::<T>(rows, BLOCK / 2, panel, &mut dots) };
        for ((sums, dots), &shift) in sums.chunks_exact_mut(stride).zip(&dots).zip(shifts) {
            let Some(sums) = sums[group * COLUMNS..].first_chunk_mut::<COLUMNS>() else { break };
            if shift >= 0 {
                sums.iter_mut().zip(dots).for_each(|(sum, dot)| *sum += dot << shift);
            } else {
                let shift = (-shift).min(63);
                sums.iter_mut().zip(dots).for_each(|(sum, dot)| *sum += dot >> shift);
            }
        }
    }
}

/// Returns, for each index, the largest exponent up to and including that index.
pub(super) fn largest_so_far(exponents: impl Iterator<Item = i32>) -> Vec<i32> {
    let largest = |largest: &mut i32, exponent: i32| {
        *largest = exponent.max(*largest);
        Some(*largest)
    };
    exponents.scan(i32::MIN, largest).collect()
}

/// Returns the bitwise OR of the magnitudes of all values. It has as many bits as the largest magnitude.
#[inline(always)]
pub(super) fn magnitude(values: &[i64]) -> u64 {
    values.iter().fold(0, |bits, value| bits | value.unsigned_abs())
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
