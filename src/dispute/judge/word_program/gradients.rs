//! The word programs of the kernels that compute an adapter's gradient. A word program computes one output word of a
//! kernel in steps. `lora_fold`, which multiplies rows by their scales, needs one step. `lora_gradient_a` and
//! `lora_gradient_b` sum over blocks of 32 tokens, and each step adds the terms of at most 16 tokens.

use super::{RESULT, StepContext, WordFault, WordProgram, single::single};
use crate::{
    kernels::{
        INFO,
        lora_fold::{self, FOLD},
        lora_gradient_a, lora_gradient_b,
        shared::{
            blocks::{BLOCK, ZERO_EXPONENT, align, distance},
            wide::{self, wide_words},
        },
    },
    numbers::{
        fixed::{Scale, WIDE_BITS, round_dither, shift_for},
        ternary::row_words,
    },
};

pub(super) const LORA_FOLD: WordProgram = single(&lora_fold::KERNEL, fold);

pub(super) const LORA_GRADIENT_A: WordProgram = WordProgram {
    kernel: &lora_gradient_a::KERNEL,
    scratch: |_| SCRATCH_WORDS,
    steps: |p, _| 2 * (lora_gradient_a::Params::read(p).blocks as usize).max(1),
    step: |ctx, at| gradient(ctx, at, false),
};

/// The word program of the kernel `lora_gradient_b`. It differs from that of `lora_gradient_a` only in the rows that it
/// adds up: the gradients of a layer's output, with 16 bits per element, instead of the layer's input, with 8 bits.
pub(super) const LORA_GRADIENT_B: WordProgram =
    WordProgram { kernel: &lora_gradient_b::KERNEL, step: |ctx, at| gradient(ctx, at, true), ..LORA_GRADIENT_A };

const TOTAL: usize = RESULT;
const PARTIAL: usize = RESULT + 2;
const SCRATCH_WORDS: usize = RESULT + 4;

/// Returns the index of the first token in a block, and the number of tokens in the block. Reads both from the buffer
/// with index `spans`. Fails unless the index is below 2^24 and the number of tokens is at most 32.
fn span(ctx: &mut StepContext, spans: usize, block: usize) -> Result<[usize; 2], WordFault> {
    let first = ctx.index(spans, 2 * block, 1 << 24)?;
    Ok([first, ctx.index(spans, 2 * block + 1, BLOCK + 1)?])
}

fn fold(ctx: &mut StepContext, _: usize) -> Result<(), WordFault> {
    let p = lora_fold::Params::read(ctx.params);
    let rank = p.rank as usize;
    let (block, at) = ctx.unit(rank * FOLD);
    let (r, word) = (at / FOLD, at % FOLD);
    let [first, tokens] = span(ctx, 4, block)?;
    let adapter = ctx.scale(5, p.scale_at as usize)?;
    let mut scales = [Scale { mantissa: 0, exponent: ZERO_EXPONENT }; BLOCK];
    for (i, scale) in scales.iter_mut().enumerate().take(tokens) {
        let at = (first + i) * INFO;
        let rows = ctx.scale(2, at)?.multiply(ctx.scale(3, at)?).multiply(adapter);
        if rows.mantissa != 0 {
            *scale = rows.shift(ctx.scale(1, at)?.exponent + 30);
        }
    }
    let top = scales.iter().map(|scale| scale.exponent).max().unwrap_or(ZERO_EXPONENT);
    let mut folded = [0i64; BLOCK];
    for (i, folded) in folded.iter_mut().enumerate().take(tokens) {
        let u = ctx.wide(0, (first + i) * wide_words(rank), rank, r)?;
        *folded = ((u * i64::from(scales[i].mantissa)) << 16) >> distance(top, scales[i].exponent);
    }
    let shift = shift_for(folded.iter().map(|folded| folded.unsigned_abs()).max().unwrap_or(0), WIDE_BITS);
    let mut row = [0u32; FOLD];
    for (i, &folded) in folded.iter().enumerate().take(tokens) {
        let (stream, index) = ctx.dither(6, p.stream, first + i)?;
        let value = round_dither(folded, shift, stream.at(index, r as u32));
        wide::set(bytemuck::cast_slice_mut(&mut row[..FOLD - 4]), i, value as i32);
    }
    row[FOLD - 4] = (top - 16 + shift as i32) as u32;
    ctx.set_result(row[word])
}

fn gradient(ctx: &mut StepContext, at: usize, wide: bool) -> Result<(), WordFault> {
    let p = lora_gradient_a::Params::read(ctx.params);
    let (width, rank) = (p.in_features as usize, p.rank as usize);
    let (r, at_word) = ctx.unit(2 * width);
    let column = at_word / 2;
    if at == 0 {
        let before = ctx.pair(4, 2 * (r * width + column))?;
        ctx.store_i64(TOTAL, before as i64)?;
    }
    let (block, half) = (at / 2, at % 2);
    if block < p.blocks as usize {
        let [first, tokens] = span(ctx, 2, block)?;
        let folded = (block * rank + r) * FOLD;
        let mut sum = if half == 0 { 0 } else { ctx.load_i64(PARTIAL)? };
        for i in half * BLOCK / 2..tokens.min((half + 1) * BLOCK / 2) {
            let value = match wide {
                true => ctx.wide(0, (first + i) * wide_words(width), width, column)?,
                false => ctx.byte(0, (first + i) * 4 * row_words(width) + column)?,
            };
            sum += ctx.wide(1, folded, BLOCK, i)? * value;
        }
        ctx.store_i64(PARTIAL, sum)?;
        if half == 1 {
            let shift = ctx.exponent(1, folded + FOLD - 4)? - ctx.exponent(3, p.exponent_at as usize)?;
            if sum.abs() > 1 << 33 {
                return Err(WordFault::Format("the sum of a block"));
            }
            let total = ctx.load_sum(TOTAL)?.wrapping_add(align(sum, shift.min(28)));
            ctx.store_i64(TOTAL, total)?;
            ctx.saturate((shift > 28 && sum != 0) || !(-(1 << 62)..1 << 62).contains(&total))?;
        }
    }
    let total = ctx.load_sum(TOTAL)? as u64;
    ctx.set_result((total >> (32 * (at_word % 2))) as u32)
}
