//! Gradients of an adapter: folded rows, and sums over blocks of 32 tokens, half a block a step.

use super::{ANSWER, Desk, Fault, Tape, single::single};
use crate::{
    fixed::{Scale, WIDE_BITS, round_dither, shift_for},
    kernels::{
        INFO, lora_fold,
        lora_fold::FOLD,
        lora_gradient_a, lora_gradient_b,
        shared::{
            blocks::{BLOCK, ZERO_EXPONENT, align, distance},
            wide,
            wide::wide_words,
        },
    },
    ternary::row_words,
};

pub(super) const LORA_FOLD: Tape = single(&lora_fold::KERNEL, fold);

pub(super) const LORA_GRADIENT_A: Tape = Tape {
    kernel: &lora_gradient_a::KERNEL,
    scratch: |_| NOTES,
    steps: |p, _| 2 * (lora_gradient_a::Params::read(p).blocks as usize).max(1),
    step: |desk, at| gradient(desk, at, false),
};

/// Its params are those of `lora_gradient_a`.
pub(super) const LORA_GRADIENT_B: Tape =
    Tape { kernel: &lora_gradient_b::KERNEL, step: |desk, at| gradient(desk, at, true), ..LORA_GRADIENT_A };

const TOTAL: usize = ANSWER;
const PARTIAL: usize = ANSWER + 2;
const NOTES: usize = ANSWER + 4;

/// The first token and the tokens of a block.
fn span(desk: &mut Desk, spans: usize, block: usize) -> Result<[usize; 2], Fault> {
    let first = desk.index(spans, 2 * block, 1 << 24)?;
    Ok([first, desk.index(spans, 2 * block + 1, BLOCK + 1)?])
}

fn fold(desk: &mut Desk, _: usize) -> Result<(), Fault> {
    let p = lora_fold::Params::read(desk.params);
    let rank = p.rank as usize;
    let (block, at) = desk.unit(rank * FOLD);
    let (r, word) = (at / FOLD, at % FOLD);
    let [first, tokens] = span(desk, 4, block)?;
    let adapter = desk.scale(5, p.scale_at as usize)?;
    let mut scales = [Scale { mantissa: 0, exponent: ZERO_EXPONENT }; BLOCK];
    for (i, scale) in scales.iter_mut().enumerate().take(tokens) {
        let at = (first + i) * INFO;
        let rows = desk.scale(2, at)?.multiply(desk.scale(3, at)?).multiply(adapter);
        if rows.mantissa != 0 {
            *scale = rows.shift(desk.scale(1, at)?.exponent + 30);
        }
    }
    let top = scales.iter().map(|scale| scale.exponent).max().unwrap_or(ZERO_EXPONENT);
    let mut folded = [0i64; BLOCK];
    for (i, folded) in folded.iter_mut().enumerate().take(tokens) {
        let u = desk.wide(0, (first + i) * wide_words(rank), rank, r)?;
        *folded = ((u * i64::from(scales[i].mantissa)) << 16) >> distance(top, scales[i].exponent);
    }
    let shift = shift_for(folded.iter().map(|folded| folded.unsigned_abs()).max().unwrap_or(0), WIDE_BITS);
    let mut row = [0u32; FOLD];
    for (i, &folded) in folded.iter().enumerate().take(tokens) {
        let (stream, index) = desk.dither(6, p.stream, first + i)?;
        let value = round_dither(folded, shift, stream.at(index, r as u32));
        wide::set(bytemuck::cast_slice_mut(&mut row[..FOLD - 4]), i, value as i32);
    }
    row[FOLD - 4] = (top - 16 + shift as i32) as u32;
    desk.answer(row[word])
}

fn gradient(desk: &mut Desk, at: usize, wide: bool) -> Result<(), Fault> {
    let p = lora_gradient_a::Params::read(desk.params);
    let (width, rank) = (p.in_features as usize, p.rank as usize);
    let (r, at_word) = desk.unit(2 * width);
    let column = at_word / 2;
    if at == 0 {
        let before = desk.pair(4, 2 * (r * width + column))?;
        desk.note_long(TOTAL, before as i64)?;
    }
    let (block, half) = (at / 2, at % 2);
    if block < p.blocks as usize {
        let [first, tokens] = span(desk, 2, block)?;
        let folded = (block * rank + r) * FOLD;
        let mut sum = if half == 0 { 0 } else { desk.noted_long(PARTIAL)? };
        for i in half * BLOCK / 2..tokens.min((half + 1) * BLOCK / 2) {
            let value = match wide {
                true => desk.wide(0, (first + i) * wide_words(width), width, column)?,
                false => desk.byte(0, (first + i) * 4 * row_words(width) + column)?,
            };
            sum += desk.wide(1, folded, BLOCK, i)? * value;
        }
        desk.note_long(PARTIAL, sum)?;
        if half == 1 {
            let shift = desk.exponent(1, folded + FOLD - 4)? - desk.exponent(3, p.exponent_at as usize)?;
            if sum.abs() > 1 << 33 {
                return Err(Fault::Format("a block's sum"));
            }
            let total = desk.noted_sum(TOTAL)?.wrapping_add(align(sum, shift.min(28)));
            desk.note_long(TOTAL, total)?;
            desk.saturate((shift > 28 && sum != 0) || !(-(1 << 62)..1 << 62).contains(&total))?;
        }
    }
    let total = desk.noted_sum(TOTAL)? as u64;
    desk.answer((total >> (32 * (at_word % 2))) as u32)
}
