//! Computes `out = rotate(y)`: applies the rotary position embedding to the heads of each token, and writes them as
//! head rows, which the attention kernels read.
//!
//! Features `i` and `i + head_dim / 2` of a head are rotated as a pair. The table contains the cosine and the sine of
//! each pair's angle, for each position of a token in its sequence.

use super::{
    Kernel, Saturated, as_i32, lowering, params, read,
    shared::{heads, rows},
    texts, write,
};
use crate::numbers::fixed::{product, round_even};
use std::ops::Range;

params! {
    /// The number of tokens in the batch, over all of its sequences.
    tokens: u32,
    /// The number of heads in a row of `y`.
    heads: u32,
    /// The number of features of a head. It is even.
    head_dim: u32,
    /// The distance in `table` from the row of one position to the row of the next: 1 row, or 0 if all positions use
    /// the first row. 0 is used for heads that are not rotated, with a table of one row.
    position_stride: u32,
}

/// The kernel `rope`. It reads `y [tokens, heads · head_dim]` as i32 rows (integers, then the scale of the row);
/// `positions [tokens]`, the position of each token in its sequence; and `table [positions, head_dim/2, 2]`, which
/// contains a cosine and a sine (30 fraction bits) for each pair of features. It writes `out [tokens, heads]` as head
/// rows (integers of magnitude ≤ 2^14, with one exponent for each token and head).
pub static KERNEL: Kernel = Kernel {
    name: "rope",
    params: Params::NAMES,
    bindings: &[
        read("y"),
        read("positions"),
        read("table"),
        write("out", |p| {
            let p = Params::read(p);
            p.heads as usize * heads::head_words(p.head_dim as usize)
        }),
    ],
    units: |p| Params::read(p).tokens as usize,
    reference,
    lowerings: &[lowering("plain", texts!("rope.wgsl", "fragments/head_rows.wgsl"), |p| Params::read(p).heads, 1)],
};

#[inline(always)]
pub(crate) fn reference(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let p = Params::read(params);
    let (heads, head_dim) = (p.heads as usize, p.head_dim as usize);
    let half = head_dim / 2;
    let mut values = vec![0; head_dim];
    for (token, out) in units.zip(writes[0].chunks_exact_mut(heads * heads::head_words(head_dim))) {
        let (y, scale) = rows::row(reads[0], heads * head_dim, token);
        let position = reads[1][token] as usize * p.position_stride as usize;
        let angles = &as_i32(reads[2])[position * head_dim..][..head_dim];
        for (y, out) in y.chunks_exact(head_dim).zip(out.chunks_exact_mut(heads::head_words(head_dim))) {
            for i in 0..half {
                let (cos, sin, a, b) = (angles[2 * i], angles[2 * i + 1], y[i], y[half + i]);
                let turned = |sum: i64| product(round_even(sum, 31) as i32, scale.mantissa as i32);
                values[i] = turned(product(a, cos) - product(b, sin));
                values[half + i] = turned(product(a, sin) + product(b, cos));
            }
            heads::put(out, head_dim, &values, scale.exponent + 1, None);
        }
    }
    false
}
