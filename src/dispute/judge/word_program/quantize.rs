//! The word programs of `gradient_quantize` and `rope_backward`, which round gradients stochastically to wide rows
//! (rows of integers between −2^14 and 2^14). A word program computes one output word of a kernel in steps. Here the
//! first steps find the maxima of the row, and the remaining steps round its values.

use super::{CHUNK, RESULT, StepContext, WordFault, WordProgram, bounded, single::info_word, step_context::part};
use crate::{
    kernels::{
        INFO, gradient_quantize, rope_backward,
        shared::{blocks::distance, wide::wide_words},
    },
    numbers::fixed::{Scale, WIDE_BITS, round_dither, round_even, shift_for},
};

pub(super) const GRADIENT_QUANTIZE: WordProgram = WordProgram {
    kernel: &gradient_quantize::KERNEL,
    scratch: |_| SCRATCH_WORDS,
    steps: |p, _| 2 * (gradient_quantize::Params::read(p).width as usize).div_ceil(CHUNK),
    step: gradient_quantize,
};

pub(super) const ROPE_BACKWARD: WordProgram = WordProgram {
    kernel: &rope_backward::KERNEL,
    scratch: |_| SCRATCH_WORDS,
    steps: |p, _| 3 * (rope_backward::Params::read(p).heads as usize).div_ceil(HEADS),
    step: rope_backward,
};

/// Exclusive upper bound of the token positions that a word program accepts. The table of rotary angles always has
/// fewer positions.
pub(super) const POSITIONS: usize = 1 << 24;

/// The number of attention heads that one step of `rope_backward` processes.
const HEADS: usize = 8;

const MAX: usize = RESULT;
const SUM: usize = RESULT + 2;
/// Address of the scratch word that holds the largest exponent found so far, biased by 2^30. A scratch word is
/// initially 0, so 0 means that no exponent has been found yet.
const TOP: usize = RESULT + 4;
const SCRATCH_WORDS: usize = RESULT + 6;
const NONE: i32 = 1 << 30;

fn gradient_quantize(ctx: &mut StepContext, at: usize) -> Result<(), WordFault> {
    let p = gradient_quantize::Params::read(ctx.params);
    let width = p.width as usize;
    let chunks = width.div_ceil(CHUNK);
    let (token, word) = ctx.unit(if ctx.binding() == 2 { wide_words(width) } else { INFO });
    let row = token * (width + INFO);
    let shift = shift_for(ctx.load_i64(MAX)? as u64, WIDE_BITS);
    let (stream, index) = ctx.dither(1, p.stream, token)?;
    for i in part(width, CHUNK, at % chunks) {
        let value = ctx.int(0, row + i)?;
        if at < chunks {
            ctx.store_max(MAX, value.unsigned_abs())?;
            continue;
        }
        let rounded = round_dither(value, shift, stream.at(index, i as u32));
        put(ctx, 2, word, width, i, rounded)?;
    }
    if at + 1 < 2 * chunks || ctx.binding() == 2 {
        return Ok(());
    }
    let (scale, sum) = (ctx.scale(0, row + width)?.shift(shift as i32), ctx.load_i64(SUM)? as i32);
    ctx.set_result(info_word(scale, sum, word))
}

/// Adds `value`, the rounded value of a column, to the stored sum of the row. The rounded row is written to the buffer
/// with index `data`: first the high bytes of all `width` columns, then their low bytes. If the output word is word
/// `word` of this row and holds a byte of this column, also stores the byte in the result.
fn put(
    ctx: &mut StepContext,
    data: usize,
    word: usize,
    width: usize,
    column: usize,
    value: i64,
) -> Result<(), WordFault> {
    let sum = ctx.load_i64(SUM)? + value;
    ctx.store_i64(SUM, sum)?;
    if ctx.binding() == data { ctx.set_result_wide(word, width, column, value) } else { Ok(()) }
}

fn rope_backward(ctx: &mut StepContext, at: usize) -> Result<(), WordFault> {
    let p = rope_backward::Params::read(ctx.params);
    let (heads, head_dim) = (p.heads as usize, p.head_dim as usize);
    let (chunks, half, width) = (heads.div_ceil(HEADS), head_dim / 2, heads * head_dim);
    let (token, word) = ctx.unit(if ctx.binding() == 4 { wide_words(width) } else { INFO });
    let first = token * p.head_stride as usize + p.head_offset as usize;
    let position = ctx.index(1, token, POSITIONS)? * p.position_stride as usize;
    let (stream, index) = ctx.dither(3, p.stream, token)?;
    let top = match ctx.load(TOP)? as i32 {
        0 => 0,
        stored => stored.checked_sub(NONE).ok_or(WordFault::Format("an exponent"))?,
    };
    let shift = shift_for(ctx.load_i64(MAX)? as u64, WIDE_BITS);
    for head in part(heads, HEADS, at % chunks) {
        let row = (first + head) * (head_dim + INFO);
        let scale = ctx.scale(0, row + head_dim)?;
        if at < chunks {
            if scale.mantissa != 0 {
                let largest = (scale.exponent + NONE).max(ctx.load(TOP)? as i32);
                ctx.store(TOP, largest as u32)?;
            }
            continue;
        }
        for i in 0..half {
            let (cos, sin) = (angle(ctx, position * head_dim + 2 * i)?, angle(ctx, position * head_dim + 2 * i + 1)?);
            let (a, b) = (ctx.int(0, row + i)?, ctx.int(0, row + half + i)?);
            for (column, turned) in [(i, a * cos + b * sin), (half + i, b * cos - a * sin)] {
                let turned = bounded(i128::from(round_even(turned, 31)) * i128::from(scale.mantissa))?;
                let value = round_even(turned, distance(top, scale.exponent));
                match at / chunks {
                    1 => ctx.store_max(MAX, value.unsigned_abs())?,
                    _ => {
                        let column = head * head_dim + column;
                        let rounded = round_dither(value, shift, stream.at(index, column as u32));
                        put(ctx, 4, word, width, column, rounded)?;
                    }
                }
            }
        }
    }
    if at + 1 < 3 * chunks || ctx.binding() == 4 {
        return Ok(());
    }
    let zero = ctx.load_i64(MAX)? == 0;
    let scale = if zero { Scale::ZERO } else { Scale::power_of_two(top + 1 + shift as i32) };
    let sum = ctx.load_i64(SUM)? as i32;
    ctx.set_result(info_word(scale, sum, word))
}

/// Returns the cosine or sine in word `at` of the table of rotary angles, with 30 fraction bits. Fails if the magnitude
/// of the cosine or sine exceeds 1.
fn angle(ctx: &mut StepContext, at: usize) -> Result<i64, WordFault> {
    match i64::from(ctx.word(2, at)? as i32) {
        value if value.abs() <= 1 << 30 => Ok(value),
        _ => Err(WordFault::Format("an angle")),
    }
}

/// Returns the features `[a, b]`, rotated by an angle, divided by 2 and rounded. Words `angles` and `angles + 1` of the
/// table of rotary angles hold the cosine and the sine of the angle.
pub(super) fn turn(ctx: &mut StepContext, angles: usize, [a, b]: [i64; 2]) -> Result<[i64; 2], WordFault> {
    let (cos, sin) = (angle(ctx, angles)?, angle(ctx, angles + 1)?);
    Ok([round_even(a * cos - b * sin, 31), round_even(a * sin + b * cos, 31)])
}
