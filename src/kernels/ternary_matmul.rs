//! Computes `out[t, n] = Σ_k x[t, k] · w[n, k]`: multiplies the int8 rows of `x` by a ternary matrix `w`, for each
//! token `t` and output feature `n`. The sum over the input features `k` is exact in i32.
//!
//! `|out|` can reach 127 · `in_features`. To keep it below 2^31, `in_features` must be ≤ 2^24.

use super::{INFO, Kernel, Saturated, as_bytes, lowering, params, product_texts, read, shared::rows, write};
use crate::numbers::ternary::{row_words, trit};
use std::ops::Range;

params! {
    /// The number of rows of `x`.
    tokens: u32,
    /// The number of features in a row of `x`, over which the products are summed.
    in_features: u32,
    /// The number of rows of `w`, which is the number of features in a row of `out`.
    out_features: u32,
}

/// The kernel `ternary_matmul`. It reads `x [tokens, in_features]` as byte rows (int8), the sum of the integers in each
/// row, and `weights [out_features, in_features]`, each word of which contains 4 × 4 trits (−1, 0 or 1). Some
/// implementations multiply by the codes 0..=2 (trit + 1) instead of the trits, and then subtract the sum of the row's
/// integers. It writes the integers of `out [tokens, out_features]` as i32 rows (integers, then the scale of the row);
/// the kernel `lora_up` writes the scales.
pub static KERNEL: Kernel = Kernel {
    name: "ternary_matmul",
    params: Params::NAMES,
    bindings: &[
        read("x"),
        read("x_info"),
        read("weights"),
        write("out", |p| Params::read(p).out_features as usize + INFO),
    ],
    units: |p| Params::read(p).tokens as usize,
    reference,
    lowerings: &[
        lowering("plain", product_texts!("ternary_matmul", "words", "plain"), |p| groups(p, 128), 64),
        lowering("tiled", product_texts!("ternary_matmul", "words", "tiled"), |p| groups(p, 64), 64),
        lowering("f32", product_texts!("ternary_matmul", "words", "f32"), |p| groups(p, 64), 64),
        lowering("swar", product_texts!("ternary_matmul", "quads", "swar"), |p| groups(p, 128), 64),
    ],
};

fn groups(params: &[u32], features: u32) -> u32 {
    Params::read(params).out_features.div_ceil(features)
}

fn reference(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let p = Params::read(params);
    let (in_features, out_features) = (p.in_features as usize, p.out_features as usize);
    let stride = 4 * row_words(in_features);
    for (row, out) in units.zip(writes[0].chunks_exact_mut(out_features + INFO)) {
        let x = &as_bytes(reads[0])[row * stride..][..in_features];
        for (n, out) in rows::split(out, out_features).0.iter_mut().enumerate() {
            *out = x.iter().enumerate().map(|(k, &x)| i32::from(x) * trit(reads[2], stride / 4, n, k)).sum();
        }
    }
    false
}
