//! The outcome of a task: the gradient root, which is the Merkle root over the leaves of all matrices, and the loss.

use super::words::{hash_words, words_hash};
use crate::{
    dispute::judge::tree::{self, Hash},
    kernels::{Kernel, Saturated, params, read, write},
};
use std::ops::Range;

params! {
    /// The number of matrices in the training job. Each matrix has one leaf.
    matrices: u32,
}

/// The number of words in an outcome: eight for the gradient root, then two for the loss (an i64).
pub const OUTCOME_WORDS: usize = 10;

/// This kernel reads `leaves [matrices, 8]` (one hash for each matrix) and `loss [1]` (i64). It writes `outcome [10]`,
/// the gradient root and the loss.
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
