//! The gated nonlinearity: the maxima of gate and up, then the products.

use super::{ANSWER, CHUNK, Desk, Fault, Tape, desk::part, single::info_word};
use crate::{
    fixed::{WIDE_BITS, round_dither, round_even, shift_for},
    kernels::{INFO, gated_relu_squared, gated_relu_squared_backward, shared::wide::wide_words},
};

pub(super) const GATED: Tape = Tape {
    kernel: &gated_relu_squared::KERNEL,
    scratch: |_| NOTES,
    steps: |p, _| (gated_relu_squared::Params::read(p).width as usize).div_ceil(CHUNK) + 1,
    step: gated,
};

pub(super) const GATED_BACKWARD: Tape = Tape {
    kernel: &gated_relu_squared_backward::KERNEL,
    scratch: |_| NOTES,
    steps: |p, _| 3 * (gated_relu_squared_backward::Params::read(p).width as usize).div_ceil(CHUNK),
    step: gated_backward,
};

const MAX_GATE: usize = ANSWER;
const MAX_UP: usize = ANSWER + 2;
const MAX_VALUE: usize = ANSWER + 4;
const SUM: usize = ANSWER + 6;
const NOTES: usize = ANSWER + 8;

/// Raises the maxima by some columns of the rows in buffers `gate` and `gate + 1`.
fn maxima(desk: &mut Desk, gate: usize, row: usize, columns: std::ops::Range<usize>) -> Result<(), Fault> {
    for i in columns {
        let (gate, up) = (desk.int(gate, row + i)?.max(0), desk.int(gate + 1, row + i)?);
        desk.note_max(MAX_GATE, gate as u64)?;
        desk.note_max(MAX_UP, up.unsigned_abs())?;
    }
    Ok(())
}

/// Shifts of gate and up.
fn shifts(desk: &mut Desk) -> Result<[u32; 2], Fault> {
    Ok([desk.noted_long(MAX_GATE)?, desk.noted_long(MAX_UP)?].map(|max| shift_for(max as u64, WIDE_BITS)))
}

/// Gate and up of a column, 14 bits each.
fn rounded(desk: &mut Desk, gate: usize, at: usize) -> Result<[i64; 2], Fault> {
    let [gate_shift, up_shift] = shifts(desk)?;
    let (gate, up) = (desk.int(gate, at)?.max(0), desk.int(gate + 1, at)?);
    let [gate, up] = [round_even(gate, gate_shift), round_even(up, up_shift)];
    let fits = gate.max(up.abs()) <= 1 << WIDE_BITS;
    if fits { Ok([gate, up]) } else { Err(Fault::Format("a maximum")) }
}

fn gated(desk: &mut Desk, at: usize) -> Result<(), Fault> {
    let p = gated_relu_squared::Params::read(desk.params);
    let width = p.width as usize;
    let (token, column) = desk.unit(width + INFO);
    let row = token * (width + INFO);
    if at < width.div_ceil(CHUNK) {
        return maxima(desk, 0, row, part(width, CHUNK, at));
    }
    if column < width {
        let [gate, up] = rounded(desk, 0, row + column)?;
        return desk.answer(round_even(gate * gate * up, 12) as u32);
    }
    let [gate_shift, up_shift] = shifts(desk)?;
    let (gate, up) = (desk.scale(0, row + width)?, desk.scale(1, row + width)?);
    let scale = gate.multiply(gate).multiply(up).shift((2 * gate_shift + up_shift + 12) as i32);
    desk.answer(info_word(scale, 0, column - width))
}

fn gated_backward(desk: &mut Desk, at: usize) -> Result<(), Fault> {
    let p = gated_relu_squared_backward::Params::read(desk.params);
    let width = p.width as usize;
    let chunks = width.div_ceil(CHUNK);
    let of_gate = desk.binding() < 6;
    let data = matches!(desk.binding(), 4 | 6);
    let (token, asked) = desk.unit(if data { wide_words(width) } else { INFO });
    let row = token * (width + INFO);
    let columns = part(width, CHUNK, at % chunks);
    if at < chunks {
        return maxima(desk, 1, row, columns);
    }
    let (stream, index) = desk.dither(3, if of_gate { p.gate_stream } else { p.up_stream }, token)?;
    let shift = shift_for(desk.noted_long(MAX_VALUE)? as u64, WIDE_BITS);
    for i in columns {
        let [gate, up] = rounded(desk, 1, row + i)?;
        let value = gate * if of_gate { up } else { gate } * desk.int(0, row + i)?;
        if at / chunks == 1 {
            desk.note_max(MAX_VALUE, value.unsigned_abs())?;
            continue;
        }
        let value = round_dither(value, shift, stream.at(index, i as u32));
        let sum = desk.noted_long(SUM)? + value;
        desk.note_long(SUM, sum)?;
        if data {
            desk.answer_wide(asked, width, i, value)?;
        }
    }
    if at + 1 < 3 * chunks || data {
        return Ok(());
    }
    let [gate_shift, up_shift] = shifts(desk)?;
    let [dout, gate, up] = [desk.scale(0, row + width)?, desk.scale(1, row + width)?, desk.scale(2, row + width)?];
    let gate = gate.shift(gate_shift as i32);
    let (other, doubled) = if of_gate { (up.shift(up_shift as i32), 1) } else { (gate, 0) };
    let scale = gate.multiply(other).multiply(dout).shift(shift as i32 + doubled);
    let sum = desk.noted_long(SUM)? as i32;
    desk.answer(info_word(scale, sum, asked))
}
