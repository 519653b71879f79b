//! `out = dither_round(gradient)`: rounds the gradient of attention's output to head rows.

use super::{
    Kernel, Saturated, lowering, params, read,
    shared::{dither, heads, rows},
    texts, write,
};
use std::ops::Range;

params! {
    /// The number of token rows.
    tokens: u32,
    /// The number of heads of a row.
    heads: u32,
    /// The number of features of a head.
    head_dim: u32,
    /// Index of the dither stream, whose elements are indexed by (token · heads + head, feature).
    stream: u32,
}

/// This kernel reads `gradient [tokens, heads · head_dim]` i32 rows and the dither buffer. It writes
/// `out [tokens, heads]` head rows.
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
                *value = i64::from(gradient) * i64::from(scale.mantissa);
            }
            let index = dither::index(reads[1], token) * p.heads + h as u32;
            heads::put(out, head_dim, &values, scale.exponent, Some((stream, index)));
        }
    }
    false
}
