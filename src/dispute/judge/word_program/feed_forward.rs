//! The word programs of BitNet b1.58's feed-forward nonlinearity `relu(gate)² · up` and of its gradient. A word program
//! computes one output word of a kernel in steps. Here the first steps find the largest values in a row of `gate` and
//! of `up`, and the remaining steps compute the products.

use super::{CHUNK, RESULT, StepContext, WordFault, WordProgram, single::info_word, step_context::part};
use crate::{
    kernels::{INFO, gated_relu_squared, gated_relu_squared_backward, shared::wide::wide_words},
    numbers::fixed::{WIDE_BITS, round_dither, round_even, shift_for},
};

pub(super) const GATED: WordProgram = WordProgram {
    kernel: &gated_relu_squared::KERNEL,
    scratch: |_| SCRATCH_WORDS,
    steps: |p, _| (gated_relu_squared::Params::read(p).width as usize).div_ceil(CHUNK) + 1,
    step: gated,
};

pub(super) const GATED_BACKWARD: WordProgram = WordProgram {
    kernel: &gated_relu_squared_backward::KERNEL,
    scratch: |_| SCRATCH_WORDS,
    steps: |p, _| 3 * (gated_relu_squared_backward::Params::read(p).width as usize).div_ceil(CHUNK),
    step: gated_backward,
};

const MAX_GATE: usize = RESULT;
const MAX_UP: usize = RESULT + 2;
const MAX_VALUE: usize = RESULT + 4;
const SUM: usize = RESULT + 6;
const SCRATCH_WORDS: usize = RESULT + 8;

/// Raises the stored maxima of `relu(gate)` and |`up`| if a row has larger values in the given `columns`. The row of
/// `gate` starts at word `row` of the buffer with index `gate`, and the row of `up` at the same word of the next
/// buffer.
fn maxima(ctx: &mut StepContext, gate: usize, row: usize, columns: std::ops::Range<usize>) -> Result<(), WordFault> {
    for i in columns {
        let (gate, up) = (ctx.int(gate, row + i)?.max(0), ctx.int(gate + 1, row + i)?);
        ctx.store_max(MAX_GATE, gate as u64)?;
        ctx.store_max(MAX_UP, up.unsigned_abs())?;
    }
    Ok(())
}

/// Returns the right shifts with which a row of `relu(gate)` and a row of `up` are rounded to integers of magnitude
/// ≤ 2^14. The shifts follow from the stored maxima of the two rows.
fn shifts(ctx: &mut StepContext) -> Result<[u32; 2], WordFault> {
    Ok([ctx.load_i64(MAX_GATE)?, ctx.load_i64(MAX_UP)?].map(|max| shift_for(max as u64, WIDE_BITS)))
}

/// Returns the value at index `at` of the gate buffer after ReLU, and the value at the same index of the up buffer.
/// Each is rounded with the right shift of its row. The gate buffer has the index `binding`, and the up buffer has the
/// next one. Fails if a rounded value exceeds 2^14 in magnitude, which shows that the stored maximum of its row is
/// wrong.
fn rounded(ctx: &mut StepContext, binding: usize, at: usize) -> Result<[i64; 2], WordFault> {
    let [gate_shift, up_shift] = shifts(ctx)?;
    let (gate, up) = (ctx.int(binding, at)?.max(0), ctx.int(binding + 1, at)?);
    let [gate, up] = [round_even(gate, gate_shift), round_even(up, up_shift)];
    let fits = gate.max(up.abs()) <= 1 << WIDE_BITS;
    if fits { Ok([gate, up]) } else { Err(WordFault::Format("a maximum")) }
}

fn gated(ctx: &mut StepContext, at: usize) -> Result<(), WordFault> {
    let p = gated_relu_squared::Params::read(ctx.params);
    let width = p.width as usize;
    let (token, column) = ctx.unit(width + INFO);
    let row = token * (width + INFO);
    if at < width.div_ceil(CHUNK) {
        return maxima(ctx, 0, row, part(width, CHUNK, at));
    }
    if column < width {
        let [gate, up] = rounded(ctx, 0, row + column)?;
        return ctx.set_result(round_even(gate * gate * up, 12) as u32);
    }
    let [gate_shift, up_shift] = shifts(ctx)?;
    let (gate, up) = (ctx.scale(0, row + width)?, ctx.scale(1, row + width)?);
    let scale = gate.multiply(gate).multiply(up).shift((2 * gate_shift + up_shift + 12) as i32);
    ctx.set_result(info_word(scale, 0, column - width))
}

fn gated_backward(ctx: &mut StepContext, at: usize) -> Result<(), WordFault> {
    let p = gated_relu_squared_backward::Params::read(ctx.params);
    let width = p.width as usize;
    let chunks = width.div_ceil(CHUNK);
    let of_gate = ctx.binding() < 6;
    let data = matches!(ctx.binding(), 4 | 6);
    let (token, word) = ctx.unit(if data { wide_words(width) } else { INFO });
    let row = token * (width + INFO);
    let columns = part(width, CHUNK, at % chunks);
    if at < chunks {
        return maxima(ctx, 1, row, columns);
    }
    let (stream, index) = ctx.dither(3, if of_gate { p.gate_stream } else { p.up_stream }, token)?;
    let shift = shift_for(ctx.load_i64(MAX_VALUE)? as u64, WIDE_BITS);
    for i in columns {
        let [gate, up] = rounded(ctx, 1, row + i)?;
        let value = gate * if of_gate { up } else { gate } * ctx.int(0, row + i)?;
        if at / chunks == 1 {
            ctx.store_max(MAX_VALUE, value.unsigned_abs())?;
            continue;
        }
        let value = round_dither(value, shift, stream.at(index, i as u32));
        let sum = ctx.load_i64(SUM)? + value;
        ctx.store_i64(SUM, sum)?;
        if data {
            ctx.set_result_wide(word, width, i, value)?;
        }
    }
    if at + 1 < 3 * chunks || data {
        return Ok(());
    }
    let [gate_shift, up_shift] = shifts(ctx)?;
    let [dout, gate, up] = [ctx.scale(0, row + width)?, ctx.scale(1, row + width)?, ctx.scale(2, row + width)?];
    let gate = gate.shift(gate_shift as i32);
    let (other, doubled) = if of_gate { (up.shift(up_shift as i32), 1) } else { (gate, 0) };
    let scale = gate.multiply(other).multiply(dout).shift(shift as i32 + doubled);
    let sum = ctx.load_i64(SUM)? as i32;
    ctx.set_result(info_word(scale, sum, word))
}
