//! Optimized implementation of the kernel `head_logits`, which computes the logits of the output head: the products of
//! each token's activations with the embedding rows of the vocabulary. A few embedding rows at a time are multiplied by
//! the activations of all tokens.

use super::products::{dot, widen};
use crate::{
    kernels::{
        Saturated, as_bytes, as_i32_mut,
        head_logits::Params,
        shared::{rows, scores::score, wide},
    },
    numbers::{
        fixed::{Scale, round_even, round_even_u64},
        ternary::row_words,
    },
};
use std::ops::Range;

/// The number of embedding rows that are processed together. They stay in the first-level cache while all tokens are
/// processed, and take 16 KiB if each has 1024 elements.
const SHARED: usize = 8;

#[inline(always)]
pub(super) fn body(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let p = Params::read(params);
    let (width, vocab) = (p.width as usize, p.vocab as usize);
    let scale = Scale { mantissa: p.score_scale, exponent: p.score_scale_exponent };
    let mut embeddings = vec![0i16; SHARED * width];
    let (mut high, mut low) = (vec![0; width], vec![0; width]);
    let mut any = false;
    for first in (0..vocab).step_by(SHARED) {
        let shared = first..vocab.min(first + SHARED);
        for (v, out) in shared.clone().zip(embeddings.chunks_exact_mut(width)) {
            let embedding = &as_bytes(reads[2])[v * 4 * row_words(width)..][..width];
            widen(embedding, out);
        }
        for (token, z) in units.clone().zip(as_i32_mut(writes[0]).chunks_exact_mut(vocab)) {
            let n = wide::row(reads[0], width, token);
            let planes = n.split_at(n.len() / 2);
            widen(planes.0, &mut high);
            widen(planes.1, &mut low);
            let scale = rows::info(reads[1], token).multiply(scale);
            let (mantissa, shift) = (round_even_u64(scale.mantissa.into(), 7) as i64, -(scale.exponent + 7));
            for (v, embedding) in shared.clone().zip(embeddings.chunks_exact(width)) {
                let dot = 256 * dot(&high, embedding) + dot(&low, embedding);
                let (value, clamped) = score(round_even(dot * i64::from(reads[3][v]), 16) * mantissa, shift);
                z[v] = value;
                any |= clamped;
            }
        }
    }
    any
}
