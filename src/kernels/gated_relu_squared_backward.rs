//! The gradient of the feed-forward nonlinearity `relu(gate)² · up`: `dgate = 2 · relu(gate) · up · dout` and
//! `dup = relu(gate)² · dout`, where `dout` is the gradient of its output.
//!
//! `relu(gate)` and `up` are rounded to magnitudes ≤ 2^14, and the integers of `dout` have magnitudes ≤ 2^31, so every
//! product is exact in an i64. Each product is rounded only once, when it is written.

use super::{
    INFO, Kernel, Saturated,
    gated_relu_squared::shifts,
    lowering, params, read,
    shared::{dither, rows, wide},
    texts, write,
};
use crate::numbers::fixed::{product, round_even};
use std::ops::Range;

params! {
    /// The number of tokens in the batch, over all of its sequences.
    tokens: u32,
    /// The number of features in each row of `gate` and `up`, and of their gradients.
    width: u32,
    /// Index of the dither stream (a stream of pseudorandom bits) with which `dgate`, the gradient of `gate`, is
    /// rounded stochastically.
    gate_stream: u32,
    /// Index of the dither stream (a stream of pseudorandom bits) with which `dup`, the gradient of `up`, is rounded
    /// stochastically.
    up_stream: u32,
}

/// The kernel `gated_relu_squared_backward`. It reads the gradient `dout [tokens, width]` of the output, and the inputs
/// `gate` and `up [tokens, width]`, as i32 rows (integers, then the scale of the row), and the dither buffer (keys from
/// which the pseudorandom bits for rounding are derived). It writes the gradients of the inputs, `dgate` and
/// `dup [tokens, width]`, as wide rows (integers of magnitude ≤ 2^14, each stored as two int8 values), with the scale
/// and the sum of each row.
pub static KERNEL: Kernel = Kernel {
    name: "gated_relu_squared_backward",
    params: Params::NAMES,
    bindings: &[
        read("dout"),
        read("gate"),
        read("up"),
        read("dither"),
        write("dgate", |p| wide::wide_words(Params::read(p).width as usize)),
        write("dgate_info", |_| INFO),
        write("dup", |p| wide::wide_words(Params::read(p).width as usize)),
        write("dup_info", |_| INFO),
    ],
    units: |p| Params::read(p).tokens as usize,
    reference,
    lowerings: &[lowering("plain", texts!("gated_relu_squared_backward.wgsl"), |_| 1, 1)],
};

#[inline(always)]
pub(crate) fn reference(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let p = Params::read(params);
    let width = p.width as usize;
    let [dgate, dgate_info, dup, dup_info] = writes else { unreachable!() };
    let dgates = dgate.chunks_exact_mut(wide::wide_words(width)).zip(dgate_info.chunks_exact_mut(INFO));
    let dups = dup.chunks_exact_mut(wide::wide_words(width)).zip(dup_info.chunks_exact_mut(INFO));
    let (mut gate_values, mut up_values) = (vec![0; width], vec![0; width]);
    for (token, ((dgate, dgate_info), (dup, dup_info))) in units.zip(dgates.zip(dups)) {
        let (dout, dout_scale) = rows::row(reads[0], width, token);
        let (gate, gate_scale) = rows::row(reads[1], width, token);
        let (up, up_scale) = rows::row(reads[2], width, token);
        let (gate_shift, up_shift) = shifts(gate, up);
        for i in 0..width {
            let gate = round_even(gate[i].max(0).into(), gate_shift) as i32;
            gate_values[i] = product(gate * round_even(up[i].into(), up_shift) as i32, dout[i]);
            up_values[i] = product(gate * gate, dout[i]);
        }
        let index = dither::index(reads[3], token);
        let gate_scale = gate_scale.shift(gate_shift as i32);
        let (shift, sum) = wide::write_dither(dgate, &gate_values, dither::stream(reads[3], p.gate_stream), index);
        let scale = gate_scale.multiply(up_scale.shift(up_shift as i32)).multiply(dout_scale);
        rows::put_info(dgate_info, scale.shift(shift as i32 + 1), sum);
        let (shift, sum) = wide::write_dither(dup, &up_values, dither::stream(reads[3], p.up_stream), index);
        let scale = gate_scale.multiply(gate_scale).multiply(dout_scale);
        rows::put_info(dup_info, scale.shift(shift as i32), sum);
    }
    false
}
