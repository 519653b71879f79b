//! Computes `out[t] = x[t] · aᵀ` for each token `t`: multiplies the input `x` of a linear layer by the LoRA factor `a`.
//! This reduces each row to `rank` features, where `rank` is the adapter's rank. `x` consists of byte rows (int8).
//! `out` consists of wide rows (integers of magnitude ≤ 2^14) whose scales are powers of two.
//!
//! The sums of products are exact. Their magnitude is ≤ 127 · 2^14 · `in_features` < 2^42.

use super::{
    INFO, Kernel, Saturated, as_bytes, lowering, params, read,
    shared::{rows, wide},
    texts, write,
};
use crate::numbers::{fixed::Scale, ternary::row_words};
use std::ops::Range;

params! {
    /// The number of tokens in the batch, over all of its sequences.
    tokens: u32,
    /// The number of features in a row of `x`, at most 2^20. Each result is a sum over these features.
    in_features: u32,
    /// The rank of the adapter, at most 64: the number of features in a row of `out`.
    rank: u32,
}

/// The kernel `lora_down`. It reads `x [tokens, in_features]` as byte rows (int8) and `a [rank, in_features]` as wide
/// rows (integers of magnitude ≤ 2^14, each stored as two int8 values). It writes `out [tokens, rank]` as wide rows,
/// with a scale for each row. This scale is the power of two by which the sums of the row were divided. It does not
/// include the scales of `x` and `a`.
pub static KERNEL: Kernel = Kernel {
    name: "lora_down",
    params: Params::NAMES,
    bindings: &[
        read("x"),
        read("a"),
        write("out", |p| wide::wide_words(Params::read(p).rank as usize)),
        write("out_info", |_| INFO),
    ],
    units: |p| Params::read(p).tokens as usize,
    reference,
    lowerings: &[lowering("plain", texts!("lora_down.wgsl", "fragments/lora_down.wgsl"), |_| 1, 1)],
};

fn reference(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let p = Params::read(params);
    let (width, rank) = (p.in_features as usize, p.rank as usize);
    let [out, out_info] = writes else { unreachable!() };
    let outs = out.chunks_exact_mut(wide::wide_words(rank)).zip(out_info.chunks_exact_mut(INFO));
    let mut sums = vec![0; rank];
    for (token, (out, info)) in units.zip(outs) {
        let x = &as_bytes(reads[0])[token * 4 * row_words(width)..][..width];
        for (r, sum) in sums.iter_mut().enumerate() {
            let factor = wide::row(reads[1], width, r);
            *sum = (0..width).map(|i| i64::from(x[i]) * i64::from(wide::get(factor, i))).sum();
        }
        let (shift, sum) = wide::write_even(out, &sums);
        rows::put_info(info, Scale::power_of_two(shift as i32), sum);
    }
    false
}
