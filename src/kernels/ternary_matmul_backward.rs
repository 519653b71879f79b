//! Computes `out[t, slot, k] = Σ_n dy[t, n] · w[n, k]`: multiplies the gradient `dy` of a linear layer's output by the
//! layer's ternary matrix `w`, for each token `t` and input feature `k`. A token may have several rows in `out`, and
//! `slot` is the index of the row that is written. The sum over the output features `n` is exact in i32.
//!
//! `|out|` can reach 2^14 · `out_features`. To keep it at most 2^30, `out_features` must be ≤ 65,536.

use super::{INFO, Kernel, Saturated, as_bytes, lowering, params, product_texts, read, shared::rows, write};
use crate::numbers::ternary::{row_words, trit};
use std::ops::Range;

params! {
    /// The number of rows of `dy`.
    tokens: u32,
    /// The number of columns of `w`, which is the number of features in a row of `out`.
    in_features: u32,
    /// The number of features in a row of `dy`, over which the products are summed.
    out_features: u32,
    /// Index of the row that the dispatch writes, among the `slots` rows that each token has in `out`.
    slot: u32,
    /// The number of rows that each token has in `out`. It is more than 1 for linear layers that have the same input:
    /// each layer writes a row of its own.
    slots: u32,
    /// The number of int8 values that represent an element of `dy`: 2 in wide rows, 1 in byte rows.
    planes: u32,
}

/// The kernel `ternary_matmul_backward`. It reads `dy [tokens, planes, out_features]`, the gradient of a linear layer's
/// output, as wide rows (integers of magnitude ≤ 2^14, each stored as two int8 values) or byte rows (int8). It also
/// reads the sum of the integers in each row, and `weights [out_features, in_features]`, each word of which contains 4
/// × 4 trits (−1, 0 or 1). Some implementations multiply by the codes 0..=2 (trit + 1) instead of the trits, and then
/// subtract the sum of the row's integers. It writes the integers of `out [tokens, slots, in_features]` as i32 rows
/// (integers, then the scale of the row); the kernel `lora_up` writes the scales.
pub static KERNEL: Kernel = Kernel {
    name: "ternary_matmul_backward",
    params: Params::NAMES,
    bindings: &[
        read("dy"),
        read("dy_info"),
        read("weights"),
        write("out", |p| Params::read(p).slots as usize * (Params::read(p).in_features as usize + INFO)),
    ],
    units: |p| Params::read(p).tokens as usize,
    reference,
    lowerings: &[
        lowering("plain", product_texts!("ternary_matmul_backward", "words", "plain"), |p| groups(p, 128), 64),
        lowering("tiled", product_texts!("ternary_matmul_backward", "words", "tiled"), |p| groups(p, 64), 64),
        lowering("f32", product_texts!("ternary_matmul_backward", "words", "f32"), |p| groups(p, 64), 64),
        lowering("swar", product_texts!("ternary_matmul_backward", "quads", "swar"), |p| groups(p, 128), 64),
    ],
};

fn groups(params: &[u32], features: u32) -> u32 {
    Params::read(params).in_features.div_ceil(features)
}

fn reference(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let p = Params::read(params);
    let (in_features, out_features) = (p.in_features as usize, p.out_features as usize);
    let (stride, planes) = (4 * row_words(out_features), p.planes as usize);
    let stride_out = in_features + INFO;
    for (row, out) in units.zip(writes[0].chunks_exact_mut(p.slots as usize * stride_out)) {
        let dy = &as_bytes(reads[0])[row * planes * stride..][..planes * stride];
        let dy = |n: usize| (0..planes).fold(0, |value, plane| 256 * value + i32::from(dy[plane * stride + n]));
        let (out, _) = rows::split(&mut out[p.slot as usize * stride_out..][..stride_out], in_features);
        for (k, out) in out.iter_mut().enumerate() {
            *out = (0..out_features).map(|n| dy(n) * trit(reads[2], row_words(in_features), n, k)).sum();
        }
    }
    false
}
