//! `dn[t] = Σ_v dlogits[t, v] · embedding[v]`, exact in i32, accumulated over the shards of the vocabulary.

use super::{
    INFO, Kernel, Saturated, as_bytes, cross_entropy::dlogits_words, lowering, params, read, shared::rows, texts, write,
};
use crate::numbers::{fixed::Scale, ternary::row_words};
use std::ops::Range;

params! {
    /// The number of token rows.
    tokens: u32,
    /// The number of features of a row.
    width: u32,
    /// The number of embeddings in this shard, over which the products are summed.
    vocab: u32,
    /// Index of the shard. Shard 0 overwrites `dn`, and later shards accumulate into it.
    shard: u32,
    /// Exponent of `dn`: the embeddings' exponent minus 22, because `dlogits` are in Q22.
    exponent: i32,
}

/// This kernel reads `dlogits`, in the format in which `cross_entropy` writes them, and `embedding [vocab, width]` byte
/// rows. It writes `dn [tokens, width]` i32 rows.
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
