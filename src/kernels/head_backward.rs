//! The gradient of the output head's input: `dn[t] = Σ_v dlogits[t, v] · embedding[v]` for each token `t`, where `v`
//! runs over the vocabulary and `dlogits` is the gradient of the logits. The sum is exact in i32. Each shard of the
//! vocabulary adds its terms.

use super::{
    INFO, Kernel, Saturated, as_bytes, cross_entropy::dlogits_words, lowering, params, read, shared::rows, texts, write,
};
use crate::numbers::{fixed::Scale, ternary::row_words};
use std::ops::Range;

params! {
    /// The number of tokens in the batch, over all of its sequences.
    tokens: u32,
    /// The number of features in each row of `dn` and in each embedding.
    width: u32,
    /// The number of vocabulary entries in this shard. A dispatch sums over these entries.
    vocab: u32,
    /// Index of the shard of the vocabulary. The dispatch of shard 0 overwrites `dn`, and those of later shards add to
    /// it.
    shard: u32,
    /// Exponent of `dn`, the gradient that the kernel writes. It is the exponent of the embeddings minus 22, because
    /// `dlogits`, the gradient of the logits, has 22 fraction bits.
    exponent: i32,
}

/// The kernel `head_backward`. It reads `dlogits`, the gradient of the logits, which the kernel `cross_entropy` has
/// written with three int8 values for each element, and `embedding [vocab, width]` (int8). It writes
/// `dn [tokens, width]` as i32 rows (integers, then the scale of the row).
pub static KERNEL: Kernel = Kernel {
    name: "head_backward",
    params: Params::NAMES,
    bindings: &[read("dlogits"), read("embedding"), write("dn", |p| Params::read(p).width as usize + INFO)],
    units: |p| Params::read(p).tokens as usize,
    reference,
    lowerings: &[lowering("plain", texts!("head_backward.wgsl"), |p| Params::read(p).width.div_ceil(256), 4)],
};

#[inline(always)]
pub(crate) fn reference(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let p = Params::read(params);
    let (width, vocab) = (p.width as usize, p.vocab as usize);
    let words = row_words(vocab);
    for (token, dn) in units.zip(writes[0].chunks_exact_mut(width + INFO)) {
        let (dn, info) = rows::split(dn, width);
        rows::put_info(info, Scale::power_of_two(p.exponent), 0);
        if p.shard == 0 {
            dn.fill(0);
        }
        let planes = as_bytes(&reads[0][token * dlogits_words(vocab)..][..3 * words]);
        for v in 0..vocab {
            let plane = |i: usize| i32::from(planes[4 * i * words + v]);
            let gradient = (plane(0) * 256 + plane(1)) * 256 + plane(2);
            let embedding = &as_bytes(reads[1])[v * 4 * row_words(width)..][..width];
            for (dn, &embedding) in dn.iter_mut().zip(embedding) {
                *dn += gradient * i32::from(embedding);
            }
        }
    }
    false
}
