//! The word program of the kernel `rms_norm_backward`, the gradient of RMSNorm. A word program computes one output word
//! of a kernel in steps. Here the steps make four passes over a row, and store the values of the row after each pass.
//! The last step computes the word from the stored values.

use super::{CHUNK, RESULT, StepContext, WordFault, WordProgram, bounded, single::info_word, step_context::part};
use crate::{
    kernels::{
        INFO, rms_norm_backward,
        shared::{
            blocks::{ZERO_EXPONENT, distance},
            rms::{COPY_BITS, Rms, copy},
        },
    },
    numbers::fixed::{ROW_BITS, Scale, round_even, shift_for},
};

pub(super) const NORM_BACKWARD: WordProgram = WordProgram {
    kernel: &rms_norm_backward::KERNEL,
    scratch: |p| VALUES + 2 * rms_norm_backward::Params::read(p).width as usize,
    steps: |p, _| 4 * (rms_norm_backward::Params::read(p).width as usize).div_ceil(CHUNK) + 1,
    step,
};

const MAX_X: usize = RESULT;
const DOT: usize = RESULT + 2;
/// Addresses of the scratch words that hold four maxima: the largest magnitude among the values of the row after each
/// of the four passes.
const MAX: [usize; 4] = [RESULT + 4, RESULT + 6, RESULT + 8, RESULT + 10];
const VALUES: usize = 16;

/// What the four passes of the word program need to know about the row that they process. The data is read from the
/// buffers and from the results of earlier passes.
struct NormRow {
    width: usize,
    dn: usize,
    x: usize,
    residual: usize,
    rms: Rms,
    /// The norm's output has up to three gradients, one from each layer that reads it. `top` is the largest of the
    /// exponents that these gradients have in the row. The gradients are aligned to `top` before they are added.
    top: i32,
    /// The right shifts that round the values of the row to 30 bits after the first, the third and the fourth of the
    /// word program's passes over the row.
    shifts: [u32; 3],
    /// Exponent of the gradient that flows through the norm (not through the residual connection); `ZERO_EXPONENT` if
    /// all values of this gradient are 0.
    unit: i32,
    residual_scale: Scale,
}

fn exponent(scale: Scale) -> i32 {
    if scale.mantissa == 0 { ZERO_EXPONENT } else { scale.exponent }
}

fn row(ctx: &mut StepContext, p: &rms_norm_backward::Params, token: usize) -> Result<NormRow, WordFault> {
    let (width, slots) = (p.width as usize, p.slots as usize);
    let stride = width + INFO;
    let mut top = ZERO_EXPONENT;
    for slot in 0..slots {
        let found = exponent(ctx.scale(0, (token * slots + slot) * stride + width)?);
        top = if slot == 0 { found } else { top.max(found) };
    }
    let rms = Rms { inverse_rms: ctx.scale(3, token * INFO)?, inverse: ctx.scale(3, token * INFO + 2)? };
    let residual = token * p.residual_stride as usize * stride;
    let residual_scale = ctx.scale(4, residual + width)?;
    let mut shifts = [0; 3];
    for (shift, pass) in shifts.iter_mut().zip([0, 2, 3]) {
        *shift = shift_for(ctx.load_i64(MAX[pass])? as u64, ROW_BITS);
    }
    let unit = match ctx.load_i64(MAX[2])? {
        0 => ZERO_EXPONENT,
        _ => top + 2 + shifts[0] as i32 + p.gain_exponent + shifts[1] as i32 + rms.inverse_rms.exponent,
    };
    let dn = token * slots * stride;
    Ok(NormRow { width, dn, x: token * stride, residual, rms, top, shifts, unit, residual_scale })
}

fn step(ctx: &mut StepContext, at: usize) -> Result<(), WordFault> {
    let p = rms_norm_backward::Params::read(ctx.params);
    let (token, word) = ctx.unit(p.width as usize + INFO);
    let row = row(ctx, p, token)?;
    let chunks = row.width.div_ceil(CHUNK);
    let pass = at / chunks;
    if pass == 4 {
        let top = row.unit.max(exponent(row.residual_scale));
        return match word.checked_sub(row.width) {
            None => {
                let value = ctx.load_i64(VALUES + 2 * word)?;
                ctx.set_result(round_even(value, row.shifts[2]) as u32)
            }
            Some(word) => {
                let zero = ctx.load_i64(MAX[3])? == 0;
                let scale = if zero { Scale::ZERO } else { Scale::power_of_two(top + 1 + row.shifts[2] as i32) };
                ctx.set_result(info_word(scale, 0, word))
            }
        };
    }
    for i in part(row.width, CHUNK, at % chunks) {
        let value = match pass {
            0 => summed(ctx, &row, p.slots as usize, i)?,
            1 => gained(ctx, &row, i)?,
            2 => orthogonal(ctx, p, &row, i)?,
            _ => joined(ctx, &row, i)?,
        };
        ctx.store_i64(VALUES + 2 * i, value)?;
        ctx.store_max(MAX[pass], value.unsigned_abs())?;
    }
    Ok(())
}

/// Executes the first pass over a row for the column `i`: returns the sum of the `slots` gradients of the norm's
/// output. The sum is in units of `2^(row.top + 2)`. Also raises the stored maximum of |`x`|, where `x` is the norm's
/// input, if the magnitude of `x` in this column is larger.
fn summed(ctx: &mut StepContext, row: &NormRow, slots: usize, i: usize) -> Result<i64, WordFault> {
    let x = ctx.int(1, row.x + i)?;
    ctx.store_max(MAX_X, x.unsigned_abs())?;
    let mut sum = 0;
    for slot in 0..slots {
        let first = row.dn + slot * (row.width + INFO);
        let scale = ctx.scale(0, first + row.width)?;
        let product = round_even(ctx.int(0, first + i)? * i64::from(scale.mantissa), 2);
        sum += product >> distance(row.top, exponent(scale));
    }
    Ok(sum)
}

/// Executes the second pass over a row for the column `i`: returns the sum from the first pass, rounded and multiplied
/// by the gain. Also adds the product of the result and `x` (the norm's input), both rounded, to the stored dot
/// product.
fn gained(ctx: &mut StepContext, row: &NormRow, i: usize) -> Result<i64, WordFault> {
    let gain = i64::from(ctx.word(2, i)? as i32).clamp(-65_535, 65_535);
    let value = round_even(ctx.load_i64(VALUES + 2 * i)?, row.shifts[0]);
    let value = bounded(i128::from(value) * i128::from(gain))?;
    let x = ctx.int(1, row.x + i)?;
    let copied = copy(x as i32, shift_for(ctx.load_i64(MAX_X)? as u64, COPY_BITS));
    let dot = i128::from(ctx.load_i64(DOT)?) + i128::from(round_even(value, 16)) * i128::from(copied);
    ctx.store_i64(DOT, bounded(dot)?)?;
    Ok(value)
}

/// Executes the third pass over a row for the column `i`: returns the value from the second pass, minus its component
/// parallel to `x`, the row of the norm's input.
fn orthogonal(ctx: &mut StepContext, p: &rms_norm_backward::Params, row: &NormRow, i: usize) -> Result<i64, WordFault> {
    let dot = ctx.load_i64(DOT)?;
    let x_shift = shift_for(ctx.load_i64(MAX_X)? as u64, COPY_BITS);
    let inverse_width = Scale { mantissa: p.inverse_width, exponent: p.inverse_width_exponent };
    let c = Scale::new(dot.unsigned_abs(), 16 + x_shift as i32);
    let c = c.multiply(row.rms.inverse).multiply(row.rms.inverse).multiply(inverse_width);
    let mantissa = if dot < 0 { -i64::from(c.mantissa) } else { i64::from(c.mantissa) };
    let (right, left) = ((-c.exponent).clamp(0, 63) as u32, c.exponent.clamp(0, 24));
    let along = i128::from(round_even(ctx.int(1, row.x + i)? * mantissa, right)) << left;
    bounded(i128::from(ctx.load_i64(VALUES + 2 * i)?) - along)
}

/// Executes the fourth pass over a row for the column `i`: returns the value from the third pass, divided by the root
/// mean square of `x` (the row of the norm's input), plus the gradient that bypasses the norm through the residual
/// connection.
fn joined(ctx: &mut StepContext, row: &NormRow, i: usize) -> Result<i64, WordFault> {
    let straight_exponent = exponent(row.residual_scale);
    let top = row.unit.max(straight_exponent);
    let value = round_even(ctx.load_i64(VALUES + 2 * i)?, row.shifts[1]);
    let branch = bounded(i128::from(value) * i128::from(row.rms.inverse_rms.mantissa))?;
    let straight = ctx.int(4, row.residual + i)? * i64::from(row.residual_scale.mantissa);
    let branch = round_even(branch, 1) >> distance(top, row.unit);
    Ok(branch + (round_even(straight, 1) >> distance(top, straight_exponent)))
}
