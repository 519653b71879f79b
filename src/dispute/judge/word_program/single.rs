//! The word programs of kernels whose output words depend on so little data that one step (and one proof) is enough.

use super::{RESULT, StepContext, WordFault, WordProgram, bounded};
use crate::{
    kernels::{
        INFO, Kernel,
        digest::{self, TILE},
        embed, lora_up, residual_add,
        shared::wide::wide_words,
    },
    numbers::{
        fixed::{Scale, saturate, shift_to_i32},
        ternary::row_words,
    },
};
use sha2::{Digest, Sha256};

pub(super) const EMBED: WordProgram = single(&embed::KERNEL, embed);
pub(super) const LORA_UP: WordProgram = single(&lora_up::KERNEL, lora_up);
pub(super) const RESIDUAL_ADD: WordProgram = single(&residual_add::KERNEL, residual_add);
pub(super) const DIGEST: WordProgram = single(&digest::KERNEL, digest);

/// Returns a word program with the single step `step`. Its scratch tensor has no room for intermediate values, but only
/// for the result and the saturation flag.
pub(super) const fn single(
    kernel: &'static Kernel,
    step: fn(&mut StepContext, usize) -> Result<(), WordFault>,
) -> WordProgram {
    WordProgram { kernel, scratch: |_| RESULT, steps: |_, _| 1, step }
}

/// Returns word `at` (0 to 3) of a row info, the four words that follow a row: the mantissa and the exponent of the
/// row's scale, the sum of the row's integers, and 0.
pub(super) fn info_word(scale: Scale, sum: i32, at: usize) -> u32 {
    [scale.mantissa, scale.exponent as u32, sum as u32, 0][at]
}

fn embed(ctx: &mut StepContext, _: usize) -> Result<(), WordFault> {
    let p = embed::Params::read(ctx.params);
    let width = p.width as usize;
    let (token, column) = ctx.unit(width + INFO);
    let id = ctx.word(0, token)?.wrapping_sub(p.vocab_offset) as usize;
    if id >= p.vocab as usize {
        let before = if p.vocab_offset == 0 { 0 } else { ctx.before()? };
        return ctx.set_result(before);
    }
    if column >= width {
        return ctx.set_result(info_word(Scale::power_of_two(-(p.fraction_bits as i32)), 0, column - width));
    }
    let value = ctx.byte(1, id * 4 * row_words(width) + column)? * i64::from(ctx.word(2, id)?);
    let (value, saturated) = shift_to_i32(value, p.shift);
    ctx.saturate(saturated)?;
    ctx.set_result(value as u32)
}

fn lora_up(ctx: &mut StepContext, _: usize) -> Result<(), WordFault> {
    let p = lora_up::Params::read(ctx.params);
    let (width, rank) = (p.width as usize, p.rank as usize);
    let (token, at) = ctx.unit(p.slots as usize * (width + INFO));
    let (slot, column) = (at / (width + INFO), at % (width + INFO));
    if slot != p.slot as usize {
        let before = ctx.before()?;
        return ctx.set_result(before);
    }
    if column >= width {
        let product_scale = Scale { mantissa: p.product_scale, exponent: p.product_scale_exponent };
        let scale = ctx.scale(0, token * INFO)?.multiply(product_scale);
        return ctx.set_result(info_word(scale, 0, column - width));
    }
    let product = bounded(i128::from(ctx.before()? as i32) << p.fraction_bits)?;
    if rank == 0 {
        return ctx.set_result(product as u32);
    }
    let (ratio, ratio_shift) = (ctx.word(4, p.ratio_at as usize)?, ctx.exponent(4, p.ratio_at as usize + 1)?);
    let shift = ratio_shift - (ctx.scale(2, token * INFO)?.exponent + 30);
    let mut sum = 0;
    for r in 0..rank {
        sum += ctx.wide(1, token * wide_words(rank), rank, r)? * ctx.wide(3, column * wide_words(rank), rank, r)?;
    }
    let (share, far) = shift_to_i32(bounded(i128::from(sum) * i128::from(ratio))?, shift);
    let (value, farther) = saturate(product + i64::from(share));
    ctx.saturate(far | farther)?;
    ctx.set_result(value as u32)
}

fn residual_add(ctx: &mut StepContext, _: usize) -> Result<(), WordFault> {
    let p = residual_add::Params::read(ctx.params);
    let width = p.width as usize;
    let (token, column) = ctx.unit(width + INFO);
    if column >= width {
        return ctx.set_result(info_word(Scale::power_of_two(-(p.fraction_bits as i32)), 0, column - width));
    }
    let row = token * (width + INFO);
    let (residual, y, scale) = (ctx.int(0, row + column)?, ctx.int(1, row + column)?, ctx.scale(1, row + width)?);
    let (y, far) = shift_to_i32(y * i64::from(scale.mantissa), -(scale.exponent + p.fraction_bits as i32));
    let (value, farther) = saturate(residual + i64::from(y));
    ctx.saturate(far | farther)?;
    ctx.set_result(value as u32)
}

fn digest(ctx: &mut StepContext, _: usize) -> Result<(), WordFault> {
    let words = digest::Params::read(ctx.params).words as usize;
    let (tile, word) = ctx.unit(8);
    let mut hash = Sha256::new();
    for at in tile * TILE..words.min((tile + 1) * TILE) {
        hash.update(ctx.word(0, at)?.to_le_bytes());
    }
    let digest: [u8; 32] = hash.finalize().into();
    let bytes = &digest[4 * word..];
    ctx.set_result(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}
