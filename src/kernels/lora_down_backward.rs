//! `out[t] = dy[t] · bᵀ`, where `b` is stored as `[rank, out_features]`: projects gradient rows to the rank. The
//! results are wide rows whose scales are powers of two.
//!
//! The sums are exact: they are ≤ 2^28 · `out_features` < 2^49 in magnitude.

use super::{
    INFO, Kernel, Saturated, lowering, params, read,
    shared::{rows, wide},
    texts, write,
};
use crate::numbers::fixed::Scale;
use std::ops::Range;

params! {
    /// The number of token rows.
    tokens: u32,
    /// The number of features over which the products are summed, ≤ 2^20.
    out_features: u32,
    /// The number of features of the result, ≤ 64.
    rank: u32,
}

/// This kernel reads `dy [tokens, out_features]` and `b [rank, out_features]` wide rows. It writes `out [tokens, rank]`
/// wide rows with their row info, whose scale does not include the scales of `dy` and `b`.
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
