//! The feed-forward nonlinearity of BitNet b1.58: `out = relu(gate)² · up`, where `gate` and `up` are the outputs of
//! two linear layers.
//!
//! Each row of `relu(gate)` and of `up` is rounded to integers of magnitude ≤ 2^14, so the magnitude of the product is
//! ≤ 2^42. Rounding removes the 12 low bits of the product, so the magnitude of the result is ≤ 2^30.

use super::{INFO, Kernel, Saturated, lowering, params, read, shared::rows, texts, write};
use crate::numbers::fixed::{WIDE_BITS, product, round_even, shift_for};
use std::ops::Range;

params! {
    /// The number of tokens in the batch, over all of its sequences.
    tokens: u32,
    /// The number of features in each row of `gate`, `up` and `out`.
    width: u32,
}

/// The number of low bits that rounding removes from the product `gate² · up`, whose magnitude is ≤ 2^42.
const DROPPED: u32 = 12;

/// The kernel `gated_relu_squared`. It reads `gate` and `up`, and writes `out`. All three have the shape
/// `[tokens, width]` and consist of i32 rows (integers, then the scale of the row).
pub static KERNEL: Kernel = Kernel {
    name: "gated_relu_squared",
    params: Params::NAMES,
    bindings: &[read("gate"), read("up"), write("out", |p| Params::read(p).width as usize + INFO)],
    units: |p| Params::read(p).tokens as usize,
    reference,
    lowerings: &[lowering("plain", texts!("gated_relu_squared.wgsl"), |_| 1, 1)],
};

/// Returns two shifts: one for a row of `relu(gate)` and one for a row of `up`. Each is the smallest number of bits by
/// which the integers of the row must be shifted right so that, after rounding, no magnitude exceeds 2^14.
#[inline(always)]
pub(super) fn shifts(gate: &[i32], up: &[i32]) -> (u32, u32) {
    let max_gate = gate.iter().copied().max().unwrap_or(0).max(0);
    (shift_for(max_gate as u64, WIDE_BITS), shift_for(rows::max_magnitude(up).into(), WIDE_BITS))
}

#[inline(always)]
pub(crate) fn reference(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let p = Params::read(params);
    let width = p.width as usize;
    for (token, out) in units.zip(writes[0].chunks_exact_mut(width + INFO)) {
        let (gate, gate_scale) = rows::row(reads[0], width, token);
        let (up, up_scale) = rows::row(reads[1], width, token);
        let (out, info) = rows::split(out, width);
        let (gate_shift, up_shift) = shifts(gate, up);
        for ((out, &gate), &up) in out.iter_mut().zip(gate).zip(up) {
            let gate = round_even(gate.max(0).into(), gate_shift) as i32;
            *out = round_even(product(gate * gate, round_even(up.into(), up_shift) as i32), DROPPED) as i32;
        }
        let scale = gate_scale.multiply(gate_scale).multiply(up_scale);
        rows::put_info(info, scale.shift((2 * gate_shift + up_shift + DROPPED) as i32), 0);
    }
    false
}
