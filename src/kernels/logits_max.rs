//! The first pass of the softmax: the largest logit of each token `t`, `maximum[t] = max_v z[t, v]`, where `v` runs
//! over the vocabulary. The shards of the vocabulary are processed one after another, and each can raise the maximum.

use super::{Kernel, Saturated, as_i32, lowering, params, read, texts, write};
use std::ops::Range;

params! {
    /// The number of tokens in the batch, over all of its sequences.
    tokens: u32,
    /// The number of vocabulary entries in this shard. Each token has one logit for each of them.
    vocab: u32,
    /// Index of the shard of the vocabulary. The dispatch of shard 0 overwrites `maximum`, and the dispatches of later
    /// shards update it.
    shard: u32,
}

/// The kernel `logits_max`. It reads the logits `z [tokens, vocab]` (i32) and writes `maximum [tokens]` (i32).
pub static KERNEL: Kernel = Kernel {
    name: "logits_max",
    params: Params::NAMES,
    bindings: &[read("z"), write("maximum", |_| 1)],
    units: |p| Params::read(p).tokens as usize,
    reference,
    lowerings: &[lowering("plain", texts!("logits_max.wgsl"), |_| 1, 1)],
};

#[inline(always)]
pub(crate) fn reference(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let p = Params::read(params);
    for (token, max) in units.zip(writes[0].iter_mut()) {
        let z = &as_i32(reads[0])[token * p.vocab as usize..][..p.vocab as usize];
        let before = if p.shard == 0 { i32::MIN } else { *max as i32 };
        *max = z.iter().copied().fold(before, i32::max) as u32;
    }
    false
}
