//! Gradient rows rounded by dither to wide rows: the maximum, then the rounded values.

use super::{ANSWER, CHUNK, Desk, Fault, Tape, bounded, desk::part, single::info_word};
use crate::{
    fixed::{Scale, WIDE_BITS, round_dither, round_even, shift_for},
    kernels::{INFO, gradient_quantize, rope_backward, shared::blocks::distance, shared::wide::wide_words},
};

pub(super) const GRADIENT_QUANTIZE: Tape = Tape {
    kernel: &gradient_quantize::KERNEL,
    scratch: |_| NOTES,
    steps: |p, _| 2 * (gradient_quantize::Params::read(p).width as usize).div_ceil(CHUNK),
    step: gradient_quantize,
};

pub(super) const ROPE_BACKWARD: Tape = Tape {
    kernel: &rope_backward::KERNEL,
    scratch: |_| NOTES,
    steps: |p, _| 3 * (rope_backward::Params::read(p).heads as usize).div_ceil(HEADS),
    step: rope_backward,
};

/// More positions than a table of angles has.
pub(super) const POSITIONS: usize = 1 << 24;

/// Heads that a step turns.
const HEADS: usize = 8;

const MAX: usize = ANSWER;
const SUM: usize = ANSWER + 2;
/// Largest exponent + 2^30, so that 0 is none yet.
const TOP: usize = ANSWER + 4;
const NOTES: usize = ANSWER + 6;
const NONE: i32 = 1 << 30;

fn gradient_quantize(desk: &mut Desk, at: usize) -> Result<(), Fault> {
    let p = gradient_quantize::Params::read(desk.params);
    let width = p.width as usize;
    let chunks = width.div_ceil(CHUNK);
    let (token, asked) = desk.unit(if desk.binding() == 2 { wide_words(width) } else { INFO });
    let row = token * (width + INFO);
    let shift = shift_for(desk.noted_long(MAX)? as u64, WIDE_BITS);
    let (stream, index) = desk.dither(1, p.stream, token)?;
    for i in part(width, CHUNK, at % chunks) {
        let value = desk.int(0, row + i)?;
        if at < chunks {
            desk.note_max(MAX, value.unsigned_abs())?;
            continue;
        }
        let rounded = round_dither(value, shift, stream.at(index, i as u32));
        put(desk, 2, asked, width, i, rounded)?;
    }
    if at + 1 < 2 * chunks || desk.binding() == 2 {
        return Ok(());
    }
    let (scale, sum) = (desk.scale(0, row + width)?.shift(shift as i32), desk.noted_long(SUM)? as i32);
    desk.answer(info_word(scale, sum, asked))
}

/// Counts a rounded value, and answers with it where it is asked for.
fn put(desk: &mut Desk, data: usize, asked: usize, width: usize, column: usize, value: i64) -> Result<(), Fault> {
    let sum = desk.noted_long(SUM)? + value;
    desk.note_long(SUM, sum)?;
    if desk.binding() == data { desk.answer_wide(asked, width, column, value) } else { Ok(()) }
}

fn rope_backward(desk: &mut Desk, at: usize) -> Result<(), Fault> {
    let p = rope_backward::Params::read(desk.params);
    let (heads, head_dim) = (p.heads as usize, p.head_dim as usize);
    let (chunks, half, width) = (heads.div_ceil(HEADS), head_dim / 2, heads * head_dim);
    let (token, asked) = desk.unit(if desk.binding() == 4 { wide_words(width) } else { INFO });
    let first = token * p.head_stride as usize + p.head_offset as usize;
    let position = desk.index(1, token, POSITIONS)? * p.position_stride as usize;
    let (stream, index) = desk.dither(3, p.stream, token)?;
    let top = match desk.noted(TOP)? as i32 {
        0 => 0,
        noted => noted.checked_sub(NONE).ok_or(Fault::Format("an exponent"))?,
    };
    let shift = shift_for(desk.noted_long(MAX)? as u64, WIDE_BITS);
    for head in part(heads, HEADS, at % chunks) {
        let row = (first + head) * (head_dim + INFO);
        let scale = desk.scale(0, row + head_dim)?;
        if at < chunks {
            if scale.mantissa != 0 {
                let noted = (scale.exponent + NONE).max(desk.noted(TOP)? as i32);
                desk.note(TOP, noted as u32)?;
            }
            continue;
        }
        for i in 0..half {
            let (cos, sin) = (angle(desk, position * head_dim + 2 * i)?, angle(desk, position * head_dim + 2 * i + 1)?);
            let (a, b) = (desk.int(0, row + i)?, desk.int(0, row + half + i)?);
            for (column, turned) in [(i, a * cos + b * sin), (half + i, b * cos - a * sin)] {
                let turned = bounded(i128::from(round_even(turned, 31)) * i128::from(scale.mantissa))?;
                let value = round_even(turned, distance(top, scale.exponent));
                match at / chunks {
                    1 => desk.note_max(MAX, value.unsigned_abs())?,
                    _ => {
                        let column = head * head_dim + column;
                        let rounded = round_dither(value, shift, stream.at(index, column as u32));
                        put(desk, 4, asked, width, column, rounded)?;
                    }
                }
            }
        }
    }
    if at + 1 < 3 * chunks || desk.binding() == 4 {
        return Ok(());
    }
    let zero = desk.noted_long(MAX)? == 0;
    let scale = if zero { Scale::ZERO } else { Scale::power_of_two(top + 1 + shift as i32) };
    let sum = desk.noted_long(SUM)? as i32;
    desk.answer(info_word(scale, sum, asked))
}

/// A cosine or a sine, Q30.
fn angle(desk: &mut Desk, at: usize) -> Result<i64, Fault> {
    match i64::from(desk.word(2, at)? as i32) {
        value if value.abs() <= 1 << 30 => Ok(value),
        _ => Err(Fault::Format("an angle")),
    }
}

/// The pair of features that turns with `i`, turned forward.
pub(super) fn turn(desk: &mut Desk, angles: usize, [a, b]: [i64; 2]) -> Result<[i64; 2], Fault> {
    let (cos, sin) = (angle(desk, angles)?, angle(desk, angles + 1)?);
    Ok([round_even(a * cos - b * sin, 31), round_even(a * sin + b * cos, 31)])
}
