//! Optimized implementations of the kernels that compute the gradients of the LoRA factors `a` and `b`. A gradient has
//! as many rows as the rank of the adapter, and a call computes a range of these rows. It decodes each block of tokens
//! only once for all of these rows, and keeps the gradients as i64 from block to block.

use super::products::{LANES, join, split, tile, widen};
use crate::{
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

/// The bound of the elements of a gradient. An element outside `-LIMIT..LIMIT` sets the saturation flag, which voids
/// the result of the training step.
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

/// Computes the gradient of the LoRA factor `a`. Returns whether an element of the gradient has left its range. The sum
/// over a block of 32 tokens is at most 32 · 2^14 · 127 < 2^26 in magnitude, so i32 holds it.
#[inline(always)]
pub(super) fn a(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let p = lora_gradient_a::Params::read(params);
    let width = p.in_features as usize;
    let contraction = Contraction::new([p.blocks, p.rank, p.in_features, p.exponent_at], reads);
    let decode = |token: usize, out: &mut [i16]| {
        let x = &as_bytes(reads[0])[token * 4 * row_words(width)..][..width];
        widen(x, out);
    };
    contraction.compute(
        units,
        writes,
        decode,
        |weight| weight,
        |weights, rows, stride| {
            let mut sums = [0i32; LANES];
            for (&weight, row) in weights.iter().zip(rows.chunks(stride)) {
                let Some(row) = row.first_chunk::<LANES>() else { break };
                sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += weight * i32::from(x));
            }
            sums.map(i64::from)
        },
    )
}

/// Computes the gradient of the LoRA factor `b`. Returns whether an element of the gradient has left its range. The sum
/// over a block of 32 tokens may not fit in i32, because each term is the product of two values that can both reach
/// 2^14 in magnitude: an element of `dy` (the gradient of the layer's output), and a folded value. Each folded value is
/// therefore split into a high and a low byte. The products with high bytes and the products with low bytes are summed
/// separately, and each of these two sums fits in i32.
#[inline(always)]
pub(super) fn b(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let p = lora_gradient_b::Params::read(params);
    let width = p.out_features as usize;
    let contraction = Contraction::new([p.blocks, p.rank, p.out_features, p.exponent_at], reads);
    let decode = |token: usize, out: &mut [i16]| join(wide::row(reads[0], width, token), &mut out[..width]);
    contraction.compute(units, writes, decode, split, tile)
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
    /// kernel `lora_fold` has computed. `decode` writes the row of a token as i16, and `weight` converts a folded value
    /// to the type `W`. `product` computes the weighted sum over the tokens of a block for [`LANES`] columns: for each
    /// lane, `Σ_i weights[i] · rows[i · stride + lane]`, where `i` is the index of a token in the block.
    #[inline(always)]
    fn compute<W: Copy>(
        &self,
        units: Range<usize>,
        writes: &mut [&mut [u32]],
        decode: impl Fn(usize, &mut [i16]),
        weight: impl Fn(i32) -> W,
        product: impl Fn(&[W], &[i16], usize) -> [i64; LANES],
    ) -> Saturated {
        let stride = self.width.next_multiple_of(LANES);
        let mut rows = vec![0i16; BLOCK * stride];
        let mut gradients = vec![0i64; units.len() * stride];
        let long = |pair: &[u32; 2]| (u64::from(pair[0]) | u64::from(pair[1]) << 32) as i64;
        for (gradient, words) in gradients.chunks_exact_mut(stride).zip(writes[0].chunks_exact(2 * self.width)) {
            gradient.iter_mut().zip(words.as_chunks::<2>().0).for_each(|(gradient, pair)| *gradient = long(pair));
        }
        let mut any = false;
        for block in 0..self.blocks {
            let (first, tokens) = (self.spans[2 * block] as usize, self.spans[2 * block + 1] as usize);
            let tokens = tokens.min(BLOCK);
            rows.chunks_exact_mut(stride).take(tokens).enumerate().for_each(|(i, row)| decode(first + i, row));
            for (r, gradient) in units.clone().zip(gradients.chunks_exact_mut(stride)) {
                let folded = &self.folded[(block * self.rank + r) * FOLD..][..FOLD];
                let row = as_bytes(&folded[..FOLD - 4]);
                let weights: [W; BLOCK] = std::array::from_fn(|i| weight(wide::get(row, i)));
                let shift = folded[FOLD - 4] as i32 - self.exponent;
                let far = shift > 28;
                for (c, gradient) in gradient.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
                    let sums = product(&weights[..tokens], &rows[c * LANES..], stride);
                    for (gradient, sum) in gradient.iter_mut().zip(sums) {
                        *gradient = gradient.wrapping_add(align(sum, shift.min(28)));
                        any |= (far && sum != 0) | !(-LIMIT..LIMIT).contains(gradient);
                    }
                }
            }
        }
        for (gradient, words) in gradients.chunks_exact(stride).zip(writes[0].chunks_exact_mut(2 * self.width)) {
            for (pair, &gradient) in words.as_chunks_mut::<2>().0.iter_mut().zip(gradient) {
                *pair = [gradient as u32, (gradient >> 32) as u32];
            }
        }
        any
    }
}
