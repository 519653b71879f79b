//! Rounds the gradient of attention's output stochastically to integers of magnitude ≤ 2^14:
//! `out = dither_round(gradient)`. The rounded values of one token and head share an exponent.

use super::{
    Kernel, Saturated, lowering, params, read,
    shared::{dither, heads, rows},
    texts, write,
};
use crate::numbers::fixed::product;
use std::ops::Range;

params! {
    /// The number of tokens in the batch, over all of its sequences.
    tokens: u32,
    /// The number of attention heads in each row of `gradient`.
    heads: u32,
    /// The number of features in each head.
    head_dim: u32,
    /// Index of the dither stream (pseudorandom bits, addressed by row and column) with which `out` is rounded
    /// stochastically. An element uses the bits at row `token · heads + head` and column `feature`. Here `token` is the
    /// position of the element's token in the chunk, and `feature` is the index of its feature in the head.
    stream: u32,
}

/// The kernel `head_gradient_quantize`. It reads `gradient [tokens, heads · head_dim]` as i32 rows (integers, then the
/// scale of the row), and the dither buffer (keys from which the pseudorandom bits for rounding are derived). It writes
/// `out [tokens, heads]` as head rows (integers of magnitude ≤ 2^14, with one exponent for each token and head).
pub static KERNEL: Kernel = Kernel {
    name: "head_gradient_quantize",
    params: Params::NAMES,
    bindings: &[
        read("gradient"),
        read("dither"),
        write("out", |p| {
            let p = Params::read(p);
            p.heads as usize * heads::head_words(p.head_dim as usize)
        }),
    ],
    units: |p| Params::read(p).tokens as usize,
    reference,
    lowerings: &[lowering(
        "plain",
        texts!("head_gradient_quantize.wgsl", "fragments/head_rows.wgsl"),
        |p| Params::read(p).heads,
        1,
    )],
};

#[inline(always)]
pub(crate) fn reference(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let p = Params::read(params);
    let (heads, head_dim) = (p.heads as usize, p.head_dim as usize);
    let stream = dither::stream(reads[1], p.stream);
    let mut values = vec![0; head_dim];
    for (token, out) in units.zip(writes[0].chunks_exact_mut(heads * heads::head_words(head_dim))) {
        let (gradient, scale) = rows::row(reads[0], heads * head_dim, token);
        let outs = out.chunks_exact_mut(heads::head_words(head_dim));
        for (h, (gradient, out)) in gradient.chunks_exact(head_dim).zip(outs).enumerate() {
            for (value, &gradient) in values.iter_mut().zip(gradient) {
                *value = product(gradient, scale.mantissa as i32);
            }
            let index = dither::index(reads[1], token) * p.heads + h as u32;
            heads::put(out, head_dim, &values, scale.exponent, Some((stream, index)));
        }
    }
    false
}
