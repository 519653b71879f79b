//! Optimized implementation of the kernel `head_logits`, which computes the logits of the output head: the products of
//! each token's activations with the embedding rows of the vocabulary. 16 embedding rows at a time are multiplied by the
//! activations of all tokens.

use super::products::{join, packed_rows, row_columns, widen};
use crate::{
    compute::cpu::simd::wide::{COLUMNS, WideTile, multiply},
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

/// The number of tokens whose inner products are computed together.
const TOKENS: usize = 16;

#[inline(always)]
pub(super) fn body<T: WideTile>(
    params: &[u32],
    units: Range<usize>,
    reads: &[&[u32]],
    writes: &mut [&mut [u32]],
) -> Saturated {
    let p = Params::read(params);
    let (width, vocab) = (p.width as usize, p.vocab as usize);
    let words = width.div_ceil(2);
    let scale = Scale { mantissa: p.score_scale, exponent: p.score_scale_exponent };
    let tokens = packed_rows(units.len(), width, |at, out| join(wide::row(reads[0], width, units.start + at), out));
    let factors: Vec<_> = (units.clone())
        .map(|token| {
            let scale = rows::info(reads[1], token).multiply(scale);
            (round_even_u64(scale.mantissa.into(), 7) as i64, -(scale.exponent + 7))
        })
        .collect();
    let out = as_i32_mut(writes[0]);
    let mut dots = [[0; COLUMNS]; TOKENS];
    let mut any = false;
    for first in (0..vocab).step_by(COLUMNS) {
        let group = first..vocab.min(first + COLUMNS);
        let rows = packed_rows(group.len(), width, |at, out| {
            widen(&as_bytes(reads[2])[(first + at) * 4 * row_words(width)..][..width], out);
        });
        let panel = row_columns(&rows, words);
        let gains = &reads[3][group.clone()];
        for (tile, tokens) in tokens.chunks(TOKENS * words).enumerate() {
            let count = tokens.len() / words;
            // SAFETY: `compiled` calls this function only if the processor supports the instruction set of `T`.
            unsafe { multiply::<T>(tokens, words, &panel, &mut dots[..count]) };
            for (at, dots) in (tile * TOKENS..).zip(&dots[..count]) {
                let (mantissa, shift) = factors[at];
                let z = &mut out[at * vocab..][group.clone()];
                for ((z, &dot), &gain) in z.iter_mut().zip(dots).zip(gains) {
                    let (value, clamped) = score(round_even(dot * i64::from(gain), 16) * mantissa, shift);
                    *z = value;
                    any |= clamped;
                }
            }
        }
    }
    any
}
