//! The word programs of RMSNorm's forward pass. A word program computes one output word of a kernel in steps. Here the
//! steps make three passes over a row: the first finds the maxima, the second computes the sum of squares, and the
//! third rounds the values.

use super::{CHUNK, RESULT, StepContext, WordFault, WordProgram, single::info_word, step_context::part};
use crate::{
    kernels::{
        INFO, rms_norm_quantize, rms_norm_wide,
        shared::{
            rms::{COPY_BITS, Rms, copy},
            wide::wide_words,
        },
    },
    numbers::{
        fixed::{Scale, WIDE_BITS, bits, round_even, round_even_u64, shift_for},
        ternary::row_words,
    },
};

pub(super) const QUANTIZE: WordProgram = WordProgram {
    kernel: &rms_norm_quantize::KERNEL,
    scratch: |_| SCRATCH_WORDS,
    steps: |p, _| 3 * (rms_norm_quantize::Params::read(p).width as usize).div_ceil(CHUNK),
    step: |ctx, at| step(ctx, at, true),
};

/// The word program of the kernel `rms_norm_wide`. It differs from that of `rms_norm_quantize` only in the last pass,
/// which rounds the values to 16 bits instead of 8.
pub(super) const WIDE: WordProgram =
    WordProgram { kernel: &rms_norm_wide::KERNEL, step: |ctx, at| step(ctx, at, false), ..QUANTIZE };

const MAX_X: usize = RESULT;
const MAX_PRODUCT: usize = RESULT + 2;
const SQUARES: usize = RESULT + 4;
const SUM: usize = RESULT + 6;
const SCRATCH_WORDS: usize = RESULT + 8;

fn step(ctx: &mut StepContext, at: usize, quantize: bool) -> Result<(), WordFault> {
    let p = rms_norm_quantize::Params::read(ctx.params);
    let width = p.width as usize;
    let chunks = width.div_ceil(CHUNK);
    let words = match (ctx.binding(), quantize) {
        (2, true) => row_words(width),
        (2, false) => wide_words(width),
        _ => INFO,
    };
    let (token, word) = ctx.unit(words);
    let row = token * (width + INFO);
    let shift = shift_for(ctx.load_i64(MAX_X)? as u64, COPY_BITS);
    let max = ctx.load_i64(MAX_PRODUCT)? as u64;
    for i in part(width, CHUNK, at % chunks) {
        let x = ctx.int(0, row + i)?;
        let product = x * ctx.int(1, i)?.clamp(-65_535, 65_535);
        match at / chunks {
            0 => {
                ctx.store_max(MAX_X, x.unsigned_abs())?;
                ctx.store_max(MAX_PRODUCT, product.unsigned_abs())?;
            }
            1 => {
                let squares = ctx.load_i64(SQUARES)? + i64::from(copy(x as i32, shift)).pow(2);
                ctx.store_i64(SQUARES, squares)?;
            }
            _ => {
                let value = if quantize { int8(product, max)? } else { round_even(product, shift_for(max, WIDE_BITS)) };
                let sum = ctx.load_i64(SUM)? + value;
                ctx.store_i64(SUM, sum)?;
                match (ctx.binding(), quantize) {
                    (2, true) => ctx.set_result_byte(word, i, value as u8)?,
                    (2, false) => ctx.set_result_wide(word, width, i, value)?,
                    _ => {}
                }
            }
        }
    }
    if at + 1 < 3 * chunks || ctx.binding() == 2 {
        return Ok(());
    }
    let scale = ctx.scale(0, row + width)?;
    let inverse_width = Scale { mantissa: p.inverse_width, exponent: p.inverse_width_exponent };
    let epsilon = Scale { mantissa: p.epsilon, exponent: p.epsilon_exponent };
    let rms = Rms::of_squares(ctx.load_i64(SQUARES)? as u64, shift, scale, inverse_width, epsilon);
    if ctx.binding() == 4 {
        return ctx.set_result(rms.words()[word]);
    }
    let scale = match (quantize, max) {
        (true, 0) => Scale::ZERO,
        (true, _) => {
            let exponent = bits(max) as i32 - 31 + p.gain_exponent;
            let top = Scale { mantissa: normalize(max, max) as u32, exponent };
            rms.inverse.multiply(top).multiply(Scale::new(127, 0).reciprocal())
        }
        (false, _) => rms.inverse.shift(p.gain_exponent + shift_for(max, WIDE_BITS) as i32),
    };
    let sum = ctx.load_i64(SUM)? as i32;
    ctx.set_result(info_word(scale, sum, word))
}

/// Returns `magnitude`, shifted left or right by the number of bits that would make `max` exactly 31 bits long. `max`
/// is the largest magnitude in the row.
fn normalize(magnitude: u64, max: u64) -> u64 {
    let bits = bits(max);
    if bits > 31 { magnitude >> (bits - 31) } else { magnitude << (31 - bits) }
}

fn int8(product: i64, max: u64) -> Result<i64, WordFault> {
    if product.unsigned_abs() > max {
        return Err(WordFault::Format("a maximum"));
    }
    if max == 0 {
        return Ok(0);
    }
    let steps = (127 << 54) / normalize(max, max);
    Ok(round_even_u64(normalize(product.unsigned_abs(), max) * steps, 54) as i64 * product.signum())
}
