//! The outcome of a chunk: the gradient root over the leaves of all matrices, and the loss.

use super::words::{hash_words, words_hash};
use crate::{
    dispute::judge::tree::{self, Hash},
    kernels::{Kernel, Saturated, params, read, write},
};
use std::ops::Range;

params! {
    /// The number of matrices, each of which has one leaf.
    matrices: u32,
}

/// The number of words in an outcome: eight for the gradient root, two for the loss.
pub const OUTCOME_WORDS: usize = 10;

/// Reads `leaves [matrices, 8]` and `loss [1]` i64; writes `outcome [10]`.
pub(in crate::dispute) static KERNEL: Kernel = Kernel {
    name: "outcome",
    params: Params::NAMES,
    bindings: &[read("leaves"), read("loss"), write("outcome", |_| OUTCOME_WORDS)],
    units: |_| 1,
    reference,
    lowerings: &[],
};

fn reference(params: &[u32], _: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let count = Params::read(params).matrices as usize;
    let leaves: Vec<_> = reads[0].chunks_exact(8).take(count).map(|words| Hash(words_hash(words))).collect();
    let (root, loss) = writes[0].split_at_mut(8);
    root.copy_from_slice(&hash_words(&tree::root(&leaves).0));
    loss.copy_from_slice(&reads[1][..2]);
    false
}
