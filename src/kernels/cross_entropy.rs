//! The cross-entropy loss and the gradient of the logits `z`, for one shard of the vocabulary:
//! `loss[t] = log2 Σ 2^z − z[label]` for each token `t`, where Σ is over the vocabulary, and
//! `dlogits = softmax − onehot`, where `onehot` is 1 for the label and 0 for all other vocabulary entries.
//!
//! The element of `dlogits` for a vocabulary entry is multiplied by the row scale of the entry's embedding (u16 in
//! units of 2^-16, so it is below 1). Therefore the kernel `head_backward` needs no scales when it multiplies `dlogits`
//! by the embeddings. The sums in `head_backward` are bounded by 2 · 2^22 · 127 + rounding < 2^31, because
//! `Σ_v |dlogits|` over the vocabulary entries `v` is ≤ 2, `dlogits` has 22 fraction bits, and an embedding element has
//! a magnitude ≤ 127.

use super::{
    Kernel, Saturated, as_bytes_mut, as_i32, lowering, params, read,
    shared::{
        dither,
        scores::{Normalizer, exp2, log2},
    },
    texts, write,
};
use crate::numbers::{fixed::round_dither, ternary::row_words};
use std::ops::Range;

params! {
    /// The number of tokens in the batch, over all of its sequences.
    tokens: u32,
    /// The number of vocabulary entries in this shard. Each token has one logit for each of them.
    vocab: u32,
    /// The number of vocabulary entries in the shards before this one, a multiple of 4.
    vocab_offset: u32,
    /// Index of the dither stream (pseudorandom bits, addressed by row and column) with which `dlogits`, the gradient
    /// of the logits, is rounded stochastically. The row of an element's bits is the position of its token in the
    /// chunk, and the column is the ID of its vocabulary entry.
    stream: u32,
}

/// The label of a token that adds nothing to the loss or the gradient.
pub const IGNORE: u32 = u32::MAX;
/// The number of fraction bits that rounding removes from the product of the gradient of a logit (30 fraction bits) and
/// a row scale (16 fraction bits). The result has 22 fraction bits.
const DROPPED: u32 = 24;

/// The kernel `cross_entropy`. It reads the logits `z [tokens, vocab]` (i32), `maximum [tokens]` (i32) and
/// `sum [tokens]` (u64) from the two passes of the softmax, `labels [tokens]`, `row_scales [vocab]` (u16 in units of
/// 2^-16), the exp2 and log2 tables, and the dither buffer (keys from which the pseudorandom bits for rounding are
/// derived). It writes `out [tokens, 3 · row_words(vocab) + 2]`, where `row_words(vocab)` is the number of words that
/// hold `vocab` int8 values. For each token, `out` contains the gradients of the logits, and then the loss in bits of
/// information (base-2 logarithm), as an i64 with 20 fraction bits. A gradient is the integer
/// `(256 · p0 + p1) · 256 + p2`, stored as three int8 values: first `p0` of all gradients, then all `p1`, then all
/// `p2`.
pub static KERNEL: Kernel = Kernel {
    name: "cross_entropy",
    params: Params::NAMES,
    bindings: &[
        read("z"),
        read("maximum"),
        read("sum"),
        read("labels"),
        read("row_scales"),
        read("tables"),
        read("dither"),
        write("out", |p| dlogits_words(Params::read(p).vocab as usize)),
    ],
    units: |p| Params::read(p).tokens as usize,
    reference,
    lowerings: &[lowering(
        "plain",
        texts!("cross_entropy.wgsl", "fragments/exponentials.wgsl"),
        |p| row_words(Params::read(p).vocab as usize).div_ceil(1024) as u32,
        1,
    )],
};

/// Returns the number of words that the kernel `cross_entropy` writes for one token: three int8 values for each of
/// `vocab` gradients of logits, and two words for the loss.
pub const fn dlogits_words(vocab: usize) -> usize {
    3 * row_words(vocab) + 2
}

#[inline(always)]
pub(crate) fn reference(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let p = Params::read(params);
    let [z, max, sum, labels, row_scales, tables, dither] = reads else { unreachable!() };
    debug_assert!(p.vocab_offset.is_multiple_of(4), "a shard must start at a multiple of 4");
    let vocab = p.vocab as usize;
    let stream = dither::stream(dither, p.stream);
    let words = row_words(vocab);
    for (token, out) in units.zip(writes[0].chunks_exact_mut(dlogits_words(vocab))) {
        out.fill(0);
        let label = labels[token];
        if label == IGNORE {
            continue;
        }
        let z = &as_i32(z)[token * vocab..][..vocab];
        let max = max[token] as i32;
        let sum = u64::from(sum[2 * token]) | u64::from(sum[2 * token + 1]) << 32;
        let normalizer = Normalizer::new(sum);
        let index = dither::index(dither, token);
        let (planes, loss) = out.split_at_mut(3 * words);
        let planes = as_bytes_mut(planes);
        for (v, &z) in z.iter().enumerate() {
            let id = p.vocab_offset + v as u32;
            let hot = i64::from(label == id) << 30;
            let difference = i64::from(normalizer.probability(exp2(tables, max.abs_diff(z)))) - hot;
            let scaled = difference * i64::from(row_scales[v]);
            let value = round_dither(scaled, DROPPED, stream.at(index, id)) as i32;
            let rest = (value + 128) >> 8;
            planes[v] = ((rest + 128) >> 8) as i8;
            planes[4 * words + v] = rest as i8;
            planes[8 * words + v] = value as i8;
            if label == id {
                let bits = i64::from(max) + log2(tables, sum) - i64::from(z);
                loss.copy_from_slice(&[bits as u32, (bits >> 32) as u32]);
            }
        }
    }
    false
}
