//! Computes `dy = rotate⁻¹(dheads)`: applies the inverse of the rotation in the kernel `rope` to `dheads`, the
//! gradients of heads. The results are rounded to wide rows (integers of magnitude ≤ 2^14). The linear layer that
//! computed the heads reads these rows in its backward pass.

use super::{
    INFO, Kernel, Saturated, as_i32, lowering, params, read,
    shared::{blocks::distance, dither, rows, wide},
    texts, write,
};
use crate::numbers::fixed::{Scale, product, round_even};
use std::ops::Range;

params! {
    /// The number of tokens in the batch, over all of its sequences.
    tokens: u32,
    /// The number of heads that the dispatch reads for each token. A row of `dy` has the same number of heads.
    heads: u32,
    /// The number of features of a head. It is even.
    head_dim: u32,
    /// The distance in `table` from the row of one position to the row of the next: 1 row, or 0 if all positions use
    /// the first row. 0 is used for heads that are not rotated, with a table of one row.
    position_stride: u32,
    /// The number of heads that each token has in `dheads`, including heads that the dispatch does not read.
    head_stride: u32,
    /// Index of the first head that the dispatch reads, among the heads that each token has in `dheads`.
    head_offset: u32,
    /// Index of the dither stream (a stream of pseudorandom bits) with which the output `dy` is rounded stochastically.
    stream: u32,
}

/// The kernel `rope_backward`. It reads the gradients of heads, `dheads [tokens, head_stride, head_dim]`, as i32 rows
/// (integers, then the scale of the row); `positions [tokens]`, the position of each token in its sequence;
/// `table [positions, head_dim/2, 2]`, which contains a cosine and a sine (30 fraction bits) for each pair of features;
/// and the dither buffer (keys from which the pseudorandom bits for rounding are derived). It writes
/// `dy [tokens, heads · head_dim]` as wide rows (integers of magnitude ≤ 2^14, each stored as two int8 values), with
/// the scale and the sum of each row.
pub static KERNEL: Kernel = Kernel {
    name: "rope_backward",
    params: Params::NAMES,
    bindings: &[
        read("dheads"),
        read("positions"),
        read("table"),
        read("dither"),
        write("dy", |p| wide::wide_words((Params::read(p).heads * Params::read(p).head_dim) as usize)),
        write("dy_info", |_| INFO),
    ],
    units: |p| Params::read(p).tokens as usize,
    reference,
    lowerings: &[lowering("plain", texts!("rope_backward.wgsl"), |_| 1, 1)],
};

#[inline(always)]
pub(crate) fn reference(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let p = Params::read(params);
    let (heads, head_dim) = (p.heads as usize, p.head_dim as usize);
    let (half, width) = (head_dim / 2, heads * head_dim);
    let [dy, dy_info] = writes else { unreachable!() };
    let mut values = vec![0; width];
    for ((token, info), dy) in
        units.zip(dy_info.chunks_exact_mut(INFO)).zip(dy.chunks_exact_mut(wide::wide_words(width)))
    {
        let first = token * p.head_stride as usize + p.head_offset as usize;
        let head = |h: usize| rows::row(reads[0], head_dim, first + h);
        let scales = (0..heads).map(|h| head(h).1).filter(|scale| scale.mantissa != 0);
        let max = scales.map(|scale| scale.exponent).max().unwrap_or(0);
        let position = reads[1][token] as usize * p.position_stride as usize;
        let angles = &as_i32(reads[2])[position * head_dim..][..head_dim];
        for (h, values) in values.chunks_exact_mut(head_dim).enumerate() {
            let (d, scale) = head(h);
            let shift = distance(max, scale.exponent);
            let turned = |sum: i64| round_even(product(round_even(sum, 31) as i32, scale.mantissa as i32), shift);
            for i in 0..half {
                let (cos, sin, a, b) = (angles[2 * i], angles[2 * i + 1], d[i], d[half + i]);
                values[i] = turned(product(a, cos) + product(b, sin));
                values[half + i] = turned(product(b, cos) - product(a, sin));
            }
        }
        let stream = dither::stream(reads[3], p.stream);
        let (shift, sum) = wide::write_dither(dy, &values, stream, dither::index(reads[3], token));
        let zero = values.iter().all(|&value| value == 0);
        let scale = if zero { Scale::ZERO } else { Scale::power_of_two(max + 1 + shift as i32) };
        rows::put_info(info, scale, sum);
    }
    false
}
