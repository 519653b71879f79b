//! Optimized implementations of the kernels that compute the gradients of the LoRA factors `a` and `b`. A gradient has
//! as many rows as the rank of the adapter, and a call computes a range of these rows. It decodes each block of tokens
//! only once for all of these rows, and keeps the gradients as i64 from block to block.

use super::products::{join, packed_rows, value_columns, widen};
use crate::{
    compute::cpu::simd::wide::{COLUMNS, WideTile, multiply},
    kernels::{
        Saturated, as_bytes, as_i32,
        lora_fold::FOLD,
        lora_gradient_a, lora_gradient_b,
        shared::{
            blocks::{BLOCK, align},
            wide,
        },
    },
    numbers::ternary::row_words,
};
use std::ops::Range;

/// The bound of the elements of a gradient, a power of two. An element outside `-LIMIT..LIMIT` sets the saturation flag,
/// which voids the result of the training step.
const LIMIT: i64 = lora_gradient_b::LIMIT;

/// The sum over tokens that gives the gradient of a LoRA factor. The term of a token is the outer product of two
/// vectors: a row of `width` elements, and the token's folded values. The kernel `lora_fold` has computed the folded
/// values: `rank` of them for each token, scaled and rounded.
struct Contraction<'a> {
    blocks: usize,
    rank: usize,
    width: usize,
    folded: &'a [u32],
    spans: &'a [u32],
    exponent: i32,
}

/// Computes the gradient of the LoRA factor `a`. Returns whether an element of the gradient has left its range.
#[inline(always)]
pub(super) fn a<T: WideTile>(
    params: &[u32],
    units: Range<usize>,
    reads: &[&[u32]],
    writes: &mut [&mut [u32]],
) -> Saturated {
    let p = lora_gradient_a::Params::read(params);
    let width = p.in_features as usize;
    let contraction = Contraction::new([p.blocks, p.rank, p.in_features, p.exponent_at], reads);
    let decode = |token: usize, out: &mut [i16]| {
        widen(&as_bytes(reads[0])[token * 4 * row_words(width)..][..width], out);
    };
    contraction.compute::<T>(units, writes, decode)
}

/// Computes the gradient of the LoRA factor `b`. Returns whether an element of the gradient has left its range.
#[inline(always)]
pub(super) fn b<T: WideTile>(
    params: &[u32],
    units: Range<usize>,
    reads: &[&[u32]],
    writes: &mut [&mut [u32]],
) -> Saturated {
    let p = lora_gradient_b::Params::read(params);
    let width = p.out_features as usize;
    let contraction = Contraction::new([p.blocks, p.rank, p.out_features, p.exponent_at], reads);
    contraction.compute::<T>(units, writes, |token, out| join(wide::row(reads[0], width, token), &mut out[..width]))
}

impl<'a> Contraction<'a> {
    fn new(sizes: [u32; 4], reads: &[&'a [u32]]) -> Self {
        let [blocks, rank, width, exponent_at] = sizes.map(|size| size as usize);
        Self { blocks, rank, width, folded: reads[1], spans: reads[2], exponent: as_i32(reads[3])[exponent_at] }
    }

    /// Adds the terms of all tokens to the rows of a gradient in `writes`, block by block. Returns whether an element
    /// of the gradient has left its range.
    ///
    /// Each row of the gradient is a weighted sum of the tokens' rows. The weights are the folded values, which the
    /// kernel `lora_fold` has computed. `decode` writes the row of a token.
    #[inline(always)]
    fn compute<T: WideTile>(
        &self,
        units: Range<usize>,
        writes: &mut [&mut [u32]],
        decode: impl Fn(usize, &mut [i16]),
    ) -> Saturated {
        let stride = self.width.next_multiple_of(COLUMNS);
        let mut rows = vec![0i16; BLOCK * stride];
        let mut panels = vec![[0; COLUMNS]; BLOCK / 2 * stride / COLUMNS];
        let mut gradients = vec![0i64; units.len() * stride];
        let mut dots = vec![[0; COLUMNS]; units.len()];
        let long = |pair: &[u32; 2]| (u64::from(pair[0]) | u64::from(pair[1]) << 32) as i64;
        for (gradient, words) in gradients.chunks_exact_mut(stride).zip(writes[0].chunks_exact(2 * self.width)) {
            gradient.iter_mut().zip(words.as_chunks::<2>().0).for_each(|(gradient, pair)| *gradient = long(pair));
        }
        let mut outside = 0;
        for block in 0..self.blocks {
            let (first, tokens) = (self.spans[2 * block] as usize, self.spans[2 * block + 1] as usize);
            let tokens = tokens.min(BLOCK);
            rows[tokens * stride..].fill(0);
            rows.chunks_exact_mut(stride).take(tokens).enumerate().for_each(|(i, row)| decode(first + i, row));
            value_columns(&rows, stride, BLOCK / 2, &mut panels);
            let folded = |r: usize| &self.folded[(block * self.rank + r) * FOLD..][..FOLD];
            let weights = packed_rows(units.len(), BLOCK, |at, out| {
                let weights = &mut out[..tokens];
                join(as_bytes(&folded(units.start + at)[..FOLD - 4]), weights);
            });
            for (group, panel) in panels.chunks_exact(BLOCK / 2).enumerate() {
                // SAFETY: `compiled` calls this function only if the processor supports the instruction set of `T`.
                unsafe { multiply::<T>(&weights, BLOCK / 2, panel, &mut dots) };
                for ((r, gradient), dots) in units.clone().zip(gradients.chunks_exact_mut(stride)).zip(&dots) {
                    let shift = folded(r)[FOLD - 4] as i32 - self.exponent;
                    let Some(gradient) = gradient[group * COLUMNS..].first_chunk_mut::<COLUMNS>() else { break };
                    if shift > 28 && *dots != [0; COLUMNS] {
                        outside = !0;
                    }
                    for (gradient, &dot) in gradient.iter_mut().zip(dots) {
                        *gradient = gradient.wrapping_add(align(dot, shift.min(28)));
                        outside |= (*gradient as u64).wrapping_add(LIMIT as u64);
                    }
                }
            }
        }
        for (gradient, words) in gradients.chunks_exact(stride).zip(writes[0].chunks_exact_mut(2 * self.width)) {
            for (pair, &gradient) in words.as_chunks_mut::<2>().0.iter_mut().zip(gradient) {
                *pair = [gradient as u32, (gradient >> 32) as u32];
            }
        }
        outside >= 2 * LIMIT as u64
    }
}
