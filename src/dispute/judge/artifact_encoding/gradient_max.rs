//! Finds the largest magnitude among the elements g of a matrix's gradient: `max = max |g|`. The maximum determines the
//! shift: each element is divided by 2^shift and rounded to the 8 or 16 bits that it has in the artifact. A maximum of
//! 2^54 or more sets the saturation flag, and the task then has no gradient.

use crate::{
    kernels::{Kernel, Saturated, params, read, write},
    protocol::MAX_GRADIENT_BITS,
};
use std::ops::Range;

params! {
    /// The number of elements in the matrix, each an i64 of two words.
    elements: u32,
}

/// This kernel reads `gradient [elements]` (i64) and writes `max [1]` (u64), the largest magnitude of an element.
pub(in crate::dispute) static KERNEL: Kernel = Kernel {
    name: "gradient_max",
    params: Params::NAMES,
    bindings: &[read("gradient"), write("max", |_| 2)],
    units: |_| 1,
    reference,
    lowerings: &[],
};

/// Returns the i64 whose lower half is the first word, and whose upper half is the second word.
pub(super) fn long(words: &[u32]) -> i64 {
    (u64::from(words[0]) | u64::from(words[1]) << 32) as i64
}

fn reference(params: &[u32], _: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let elements = Params::read(params).elements as usize;
    let magnitudes = reads[0].chunks_exact(2).take(elements).map(|words| long(words).unsigned_abs());
    let max = magnitudes.max().unwrap_or(0);
    writes[0].copy_from_slice(&[max as u32, (max >> 32) as u32]);
    max >= 1 << MAX_GRADIENT_BITS
}
