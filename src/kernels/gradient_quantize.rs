//! Rounds a gradient of the residual stream stochastically to integers of magnitude ≤ 2^14:
//! `dy = dither_round(gradient)`. The result `dy` is the input of the backward pass of a linear layer whose output was
//! added to the residual stream.

use super::{
    INFO, Kernel, Saturated, lowering, params, read,
    shared::{dither, rows, wide},
    texts, write,
};
use std::ops::Range;

params! {
    /// The number of tokens in the batch, over all of its sequences.
    tokens: u32,
    /// The number of features in each row of `gradient` and of `dy`.
    width: u32,
    /// Index of the dither stream (a stream of pseudorandom bits) with which the output `dy` is rounded stochastically.
    stream: u32,
}

/// The kernel `gradient_quantize`. It reads `gradient [tokens, width]` as i32 rows (integers, then the scale of the
/// row), and the dither buffer (keys from which the pseudorandom bits for rounding are derived). It writes
/// `dy [tokens, width]` as wide rows (integers of magnitude ≤ 2^14, each stored as two int8 values), with the scale and
/// the sum of each row.
pub static KERNEL: Kernel = Kernel {
    name: "gradient_quantize",
    params: Params::NAMES,
    bindings: &[
        read("gradient"),
        read("dither"),
        write("dy", |p| wide::wide_words(Params::read(p).width as usize)),
        write("dy_info", |_| INFO),
    ],
    units: |p| Params::read(p).tokens as usize,
    reference,
    lowerings: &[lowering("plain", texts!("gradient_quantize.wgsl"), |_| 1, 1)],
};

#[inline(always)]
pub(crate) fn reference(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let p = Params::read(params);
    let width = p.width as usize;
    let [dy, dy_info] = writes else { unreachable!() };
    let stream = dither::stream(reads[1], p.stream);
    let mut values = vec![0; width];
    for ((token, info), dy) in
        units.zip(dy_info.chunks_exact_mut(INFO)).zip(dy.chunks_exact_mut(wide::wide_words(width)))
    {
        let (gradient, scale) = rows::row(reads[0], width, token);
        values.iter_mut().zip(gradient).for_each(|(value, &gradient)| *value = gradient.into());
        let (shift, sum) = wide::write_dither(dy, &values, stream, dither::index(reads[1], token));
        rows::put_info(info, scale.shift(shift as i32), sum);
    }
    false
}
