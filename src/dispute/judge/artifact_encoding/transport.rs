//! Rounds each element g of a matrix's gradient to an 8-bit or 16-bit integer of the artifact,
//! `t = ⌊g / 2^shift + dither⌋`, where `dither` is a pseudo-random fraction in [0, 1). Packs the bytes of these
//! integers into words, four bytes to a word. The shift follows from the largest magnitude in the gradient.

use super::{gradient_max::long, words::transport_of};
use crate::{
    kernels::{Kernel, Saturated, params, read, write},
    numbers::{fixed::round_dither, rng::Dither},
    protocol::MAX_GRADIENT_BITS,
};
use std::ops::Range;

params! {
    /// The number of elements in the matrix.
    elements: u32,
    /// The number of columns of the matrix.
    columns: u32,
    /// Size of a rounded element in bytes: 1 or 2.
    bytes: u32,
    /// Index of the matrix among all matrices of the training job.
    matrix: u32,
}

/// This kernel reads `gradient [elements]` (i64), `max [1]` (the largest magnitude in the gradient, a u64) and
/// `keys [matrices, 2]` (for each matrix, the key of the pseudo-random bits with which its elements are rounded). It
/// writes `data [ceil(elements · bytes / 4)]`, the bytes of the rounded elements.
pub(in crate::dispute) static KERNEL: Kernel = Kernel {
    name: "transport",
    params: Params::NAMES,
    bindings: &[read("gradient"), read("max"), read("keys"), write("data", |_| 1)],
    units: |p| (Params::read(p).elements as usize * Params::read(p).bytes as usize).div_ceil(4),
    reference,
    lowerings: &[],
};

impl Params {
    /// Returns the element with index `at`, rounded for the artifact. `value` is the exact element, `max` is the
    /// largest magnitude in the gradient, and `key` is the key of the pseudo-random bits with which the matrix is
    /// rounded. Returns 0 if `max` is 2^54 or more, which makes the task void, or if `value` exceeds `max`.
    pub(super) fn rounded(&self, value: i64, at: usize, max: u64, key: Dither) -> i64 {
        if max >= 1 << MAX_GRADIENT_BITS || value.unsigned_abs() > max {
            return 0;
        }
        let (row, column) = (at as u32 / self.columns, at as u32 % self.columns);
        round_dither(value, transport_of(self.bytes).shift(max), key.at(row, column))
    }

    /// Returns the indexes of the elements that are packed into the word with index `word`.
    pub(super) fn in_word(&self, word: usize) -> Range<usize> {
        let each = 4 / self.bytes as usize;
        word * each..((word + 1) * each).min(self.elements as usize)
    }

    /// Packs the rounded elements of one word into 32 bits, and returns the word. The first element is in the lowest
    /// bits.
    pub(super) fn packed(&self, elements: impl Iterator<Item = i64>) -> u32 {
        let bits = 8 * self.bytes;
        elements.enumerate().fold(0, |word, (at, t)| word | (t as u32 & ((1 << bits) - 1)) << (bits * at as u32))
    }
}

fn reference(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let p = Params::read(params);
    let max = long(reads[1]) as u64;
    let key = Dither([reads[2][2 * p.matrix as usize], reads[2][2 * p.matrix as usize + 1]]);
    for (word, out) in units.zip(writes[0].iter_mut()) {
        *out = p.packed(p.in_word(word).map(|at| p.rounded(long(&reads[0][2 * at..]), at, max, key)));
    }
    false
}
