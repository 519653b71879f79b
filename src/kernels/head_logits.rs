//! The logits of one shard of the vocabulary, as base-2 scores: `z[t, v] = n[t] · embedding[v]` for each token `t` and
//! vocabulary entry `v`, where `n` is the output of the model's final norm. The output head uses the embeddings of the
//! model's input (tied embeddings).
//!
//! The magnitude of the inner product is ≤ 2^14 · 127 · width < 2^37, because width ≤ 2^16. The inner product is
//! multiplied by the row scale (u16) of the embedding, and rounding removes the low 16 bits of the result.

use super::{
    Kernel, Saturated, as_bytes, as_i32_mut, flag, lowering, params, read,
    shared::{rows, scores::score, wide},
    texts, write,
};
use crate::numbers::{
    fixed::{Scale, round_even, round_even_u64},
    ternary::row_words,
};
use std::ops::Range;

params! {
    /// The number of tokens in the batch, over all of its sequences.
    tokens: u32,
    /// The number of features in each row of `n` and in each embedding.
    width: u32,
    /// The number of vocabulary entries in this shard.
    vocab: u32,
    /// Mantissa of the scale `log2(e) · 2^20 · (scale of the embeddings)`, which converts inner products into scores.
    score_scale: u32,
    /// Exponent of the scale `log2(e) · 2^20 · (scale of the embeddings)`, which converts inner products into scores.
    score_scale_exponent: i32,
}

/// The kernel `head_logits`. It reads `n [tokens, width]`, the output of the model's final norm, as wide rows (integers
/// of magnitude ≤ 2^14, each stored as two int8 values) with the scale of each row, `embedding [vocab, width]` (int8)
/// and `row_scales [vocab]` (u16 in units of 2^-16). It writes `z [tokens, vocab]` (i32, 20 fraction bits).
pub static KERNEL: Kernel = Kernel {
    name: "head_logits",
    params: Params::NAMES,
    bindings: &[
        read("n"),
        read("n_info"),
        read("embedding"),
        read("row_scales"),
        write("z", |p| Params::read(p).vocab as usize),
        flag(),
    ],
    units: |p| Params::read(p).tokens as usize,
    reference,
    lowerings: &[lowering("plain", texts!("head_logits.wgsl"), |p| Params::read(p).vocab.div_ceil(64), 4)],
};

fn reference(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let p = Params::read(params);
    let (width, vocab) = (p.width as usize, p.vocab as usize);
    let mut any = false;
    for (token, z) in units.zip(as_i32_mut(writes[0]).chunks_exact_mut(vocab)) {
        let n = wide::row(reads[0], width, token);
        let scale = Scale { mantissa: p.score_scale, exponent: p.score_scale_exponent };
        let scale = rows::info(reads[1], token).multiply(scale);
        let (mantissa, shift) = (round_even_u64(scale.mantissa.into(), 7) as i64, -(scale.exponent + 7));
        for (v, z) in z.iter_mut().enumerate() {
            let embedding = &as_bytes(reads[2])[v * 4 * row_words(width)..][..width];
            let dot: i64 = embedding.iter().enumerate().map(|(i, &e)| i64::from(e) * i64::from(wide::get(n, i))).sum();
            let (value, clamped) = score(round_even(dot * i64::from(reads[3][v]), 16) * mantissa, shift);
            *z = value;
            any |= clamped;
        }
    }
    any
}
