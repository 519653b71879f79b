//! Computes `sum[t] = Σ_v 2^(z[t, v] − maximum[t])` for each token `t`, where `v` runs over the vocabulary. This is the
//! second pass of softmax, after `logits_max`. Each dispatch adds the terms of one shard of the vocabulary.
//!
//! Terms have 30 fraction bits. A term is at most 1, which is stored as 2^30, so a sum of up to 2^32 terms fits in u64.

use super::{Kernel, Saturated, as_i32, lowering, read, shared::scores::exp2, texts, write};
use std::ops::Range;

/// The parameters of the kernel, the same as those of `logits_max`: the number of tokens, the number of vocabulary
/// entries in the shard, and the index of the shard.
pub use super::logits_max::Params;

/// The kernel `logits_sum`. It reads the scores `z [tokens, vocab]` and their maxima `maximum [tokens]` (both i32 with
/// 20 fraction bits), and `tables`, from which it interpolates powers of two. It writes `sum [tokens]` (u64 with 30
/// fraction bits).
pub static KERNEL: Kernel = Kernel {
    name: "logits_sum",
    params: Params::NAMES,
    bindings: &[read("z"), read("maximum"), read("tables"), write("sum", |_| 2)],
    units: |p| Params::read(p).tokens as usize,
    reference,
    lowerings: &[lowering("plain", texts!("logits_sum.wgsl", "fragments/exponentials.wgsl"), |_| 1, 1)],
};

#[inline(always)]
pub(crate) fn reference(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let p = Params::read(params);
    for (token, sum) in units.zip(writes[0].chunks_exact_mut(2)) {
        let z = &as_i32(reads[0])[token * p.vocab as usize..][..p.vocab as usize];
        let max = reads[1][token] as i32;
        let before = if p.shard == 0 { 0 } else { u64::from(sum[0]) | u64::from(sum[1]) << 32 };
        let total = z.iter().fold(before, |sum, &z| sum + u64::from(exp2(reads[2], max.abs_diff(z))));
        sum.copy_from_slice(&[total as u32, (total >> 32) as u32]);
    }
    false
}
