//! `y = product · 2^fraction_bits + (alpha / rank) · u · factorᵀ`: adds the adapter's share to the ternary product
//! `x · wᵀ`. The unit of `y` is the product's unit divided by 2^fraction_bits.
//!
//! In the forward pass, `u` is `x · aᵀ` and the factor is `b`; in the backward pass, `u` is `dy · b` and the factor is
//! `a`. `|product|` is < 2^(30 − fraction_bits). `|Σ u · factor|` is ≤ 2^28 · rank ≤ 2^34, and < 2^58 after
//! multiplication by the 24-bit ratio.

use super::{
    INFO, Kernel, Saturated, as_i32, flag, lowering, params, read,
    shared::{rows, wide},
    texts, write,
};
use crate::numbers::fixed::{Scale, saturate, shift_to_i32};
use std::ops::Range;

params! {
    /// The number of token rows.
    tokens: u32,
    /// The number of features of `y`.
    width: u32,
    /// Rank of the adapter; 0 if the linear layer has no adapter.
    rank: u32,
    /// Index of the row that the dispatch writes, among the rows of a token.
    slot: u32,
    /// The number of rows of each token in `y`.
    slots: u32,
    /// Left shift of the product.
    fraction_bits: u32,
    /// Index in `lora_info` of the ratio, which is stored as a 24-bit mantissa and a right shift.
    ratio_at: u32,
    /// Mantissa of the product's scale, which is the scale of `w` times 2^-fraction_bits.
    product_scale: u32,
    /// Exponent of the product's scale.
    product_scale_exponent: i32,
}

/// This kernel reads `x_info [tokens, 4]`, the scales of the product's rows; `u [tokens, rank]` wide rows with
/// `u_info`; `factor [width, rank]` wide rows; and `lora_info`. It updates `y [tokens, slots, width]` i32 rows, which
/// initially hold the product.
pub static KERNEL: Kernel = Kernel {
    name: "lora_up",
    params: Params::NAMES,
    bindings: &[
        read("x_info"),
        read("u"),
        read("u_info"),
        read("factor"),
        read("lora_info"),
        write("y", |p| Params::read(p).slots as usize * (Params::read(p).width as usize + INFO)),
        flag(),
    ],
    units: |p| Params::read(p).tokens as usize,
    reference,
    lowerings: &[lowering("plain", texts!("lora_up.wgsl"), |p| Params::read(p).width.div_ceil(64), 1)],
};

fn reference(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let p = Params::read(params);
    let (width, rank) = (p.width as usize, p.rank as usize);
    let (ratio, ratio_shift) = (i64::from(reads[4][p.ratio_at as usize]), as_i32(reads[4])[p.ratio_at as usize + 1]);
    let mut any = false;
    for (token, y) in units.zip(writes[0].chunks_exact_mut(p.slots as usize * (width + INFO))) {
        let (y, info) = rows::split(&mut y[p.slot as usize * (width + INFO)..][..width + INFO], width);
        let product_scale = Scale { mantissa: p.product_scale, exponent: p.product_scale_exponent };
        rows::put_info(info, rows::info(reads[0], token).multiply(product_scale), 0);
        if rank == 0 {
            y.iter_mut().for_each(|y| *y <<= p.fraction_bits);
            continue;
        }
        let u = wide::row(reads[1], rank, token);
        let shift = ratio_shift - (rows::info(reads[2], token).exponent + 30);
        for (i, y) in y.iter_mut().enumerate() {
            let factor = wide::row(reads[3], rank, i);
            let sum: i64 = (0..rank).map(|r| i64::from(wide::get(u, r)) * i64::from(wide::get(factor, r))).sum();
            let (share, far) = shift_to_i32(sum * ratio, shift);
            let (value, farther) = saturate((i64::from(*y) << p.fraction_bits) + i64::from(share));
            *y = value;
            any |= far | farther;
        }
    }
    any
}
