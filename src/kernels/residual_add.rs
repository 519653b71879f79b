//! Computes `out = residual + y`: adds the output `y` of a linear layer to the residual stream. The result is in the
//! fixed-point format of the residual stream.

use super::{INFO, Kernel, Saturated, flag, lowering, params, read, shared::rows, texts, write};
use crate::numbers::fixed::{Scale, product, saturate, shift_to_i32};
use std::ops::Range;

params! {
    /// The number of tokens in the batch, over all of its sequences.
    tokens: u32,
    /// The number of features in the row of a token.
    width: u32,
    /// The number of fraction bits in the fixed-point format of the residual stream.
    fraction_bits: u32,
}

/// The kernel `residual_add`. It reads `residual` and `y`, and writes `out`. All three are `[tokens, width]`, as i32
/// rows (integers, then the scale of the row).
pub static KERNEL: Kernel = Kernel {
    name: "residual_add",
    params: Params::NAMES,
    bindings: &[read("residual"), read("y"), write("out", |p| Params::read(p).width as usize + INFO), flag()],
    units: |p| Params::read(p).tokens as usize,
    reference,
    lowerings: &[lowering("plain", texts!("residual_add.wgsl"), |p| Params::read(p).width.div_ceil(64), 1)],
};

#[inline(always)]
pub(crate) fn reference(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let p = Params::read(params);
    let width = p.width as usize;
    let mut any = false;
    for (token, out) in units.zip(writes[0].chunks_exact_mut(width + INFO)) {
        let (residual, _) = rows::row(reads[0], width, token);
        let (y, scale) = rows::row(reads[1], width, token);
        let (out, info) = rows::split(out, width);
        rows::put_info(info, Scale::power_of_two(-(p.fraction_bits as i32)), 0);
        let shift = -(scale.exponent + p.fraction_bits as i32);
        for ((out, &residual), &y) in out.iter_mut().zip(residual).zip(y) {
            let (y, far) = shift_to_i32(product(y, scale.mantissa as i32), shift);
            let (value, farther) = saturate(i64::from(residual) + i64::from(y));
            *out = value;
            any |= far | farther;
        }
    }
    any
}
