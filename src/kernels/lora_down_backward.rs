//! Computes `out[t] = dy[t] · bᵀ` for each token `t`, where `b` is stored as `[rank, out_features]`: multiplies the
//! gradient `dy` of a linear layer's output by the LoRA factor `b`. This reduces each row to `rank` features, where
//! `rank` is the adapter's rank. `out` consists of wide rows (integers of magnitude ≤ 2^14) whose scales are powers of
//! two.
//!
//! The sums of products are exact. Their magnitude is ≤ 2^28 · `out_features` < 2^49.

use super::{
    INFO, Kernel, Saturated, lowering, params, read,
    shared::{rows, wide},
    texts, write,
};
use crate::numbers::fixed::Scale;
use std::ops::Range;

params! {
    /// The number of tokens in the batch, over all of its sequences.
    tokens: u32,
    /// The number of features in a row of `dy`, at most 2^20. Each result is a sum over these features.
    out_features: u32,
    /// The rank of the adapter, at most 64: the number of features in a row of `out`.
    rank: u32,
}

/// The kernel `lora_down_backward`. It reads `dy [tokens, out_features]` and `b [rank, out_features]`, both as wide
/// rows (integers of magnitude ≤ 2^14, each stored as two int8 values). It writes `out [tokens, rank]` as wide rows,
/// with a scale for each row. This scale is the power of two by which the sums of the row were divided. It does not
/// include the scales of `dy` and `b`.
pub static KERNEL: Kernel = Kernel {
    name: "lora_down_backward",
    params: Params::NAMES,
    bindings: &[
        read("dy"),
        read("b"),
        write("out", |p| wide::wide_words(Params::read(p).rank as usize)),
        write("out_info", |_| INFO),
    ],
    units: |p| Params::read(p).tokens as usize,
    reference,
    lowerings: &[lowering("plain", texts!("lora_down_backward.wgsl", "fragments/lora_down.wgsl"), |_| 1, 1)],
};

fn reference(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let p = Params::read(params);
    let (width, rank) = (p.out_features as usize, p.rank as usize);
    let [out, out_info] = writes else { unreachable!() };
    let outs = out.chunks_exact_mut(wide::wide_words(rank)).zip(out_info.chunks_exact_mut(INFO));
    let mut sums = vec![0; rank];
    for (token, (out, info)) in units.zip(outs) {
        let x = wide::row(reads[0], width, token);
        for (r, sum) in sums.iter_mut().enumerate() {
            let factor = wide::row(reads[1], width, r);
            *sum = (0..width).map(|i| i64::from(wide::get(x, i)) * i64::from(wide::get(factor, i))).sum();
        }
        let (shift, sum) = wide::write_even(out, &sums);
        rows::put_info(info, Scale::power_of_two(shift as i32), sum);
    }
    false
}
