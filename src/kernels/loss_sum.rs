//! Computes `total += Σ_t loss[t]`: adds the losses of the tokens `t` of a batch to `total`, an i64 with 20 fraction
//! bits. Losses are in bits (base-2 logarithms). Each dispatch adds the losses of those tokens whose label is in one
//! shard of the vocabulary.

use super::{Kernel, Saturated, cross_entropy::dlogits_words, lowering, params, read, texts, write};
use std::ops::Range;

params! {
    /// The number of tokens in the batch, over all of its sequences.
    tokens: u32,
    /// The number of vocabulary entries in this shard. It determines the length of a row of `dlogits`, which contains
    /// the gradients of the logits and then the loss.
    vocab: u32,
}

/// The kernel `loss_sum`. It reads `dlogits`, the gradient of the logits, in the format that the kernel `cross_entropy`
/// writes. In this format, each row ends with the token's loss. It adds to `total [1]` (i64).
pub static KERNEL: Kernel = Kernel {
    name: "loss_sum",
    params: Params::NAMES,
    bindings: &[read("dlogits"), write("total", |_| 2)],
    units: |_| 1,
    reference,
    lowerings: &[lowering("plain", texts!("loss_sum.wgsl"), |_| 1, 1)],
};

fn reference(params: &[u32], _: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let p = Params::read(params);
    let words = dlogits_words(p.vocab as usize);
    let long = |pair: &[u32]| u64::from(pair[0]) | u64::from(pair[1]) << 32;
    let rows = reads[0].chunks_exact(words).take(p.tokens as usize);
    let total = rows.map(|row| long(&row[words - 2..])).fold(long(&*writes[0]), u64::wrapping_add);
    writes[0].copy_from_slice(&[total as u32, (total >> 32) as u32]);
    false
}
