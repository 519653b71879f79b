//! `y = x · wᵀ + (alpha / rank) · u · factorᵀ`: adds the adapter's share to a ternary product, in the
//! product's own unit with `fraction_bits` more.
//!
//! Forward `u = x·aᵀ` and the factor is b; backward `u = dy·b` and the factor is a.
//! |product| < 2^(30 − fraction_bits); |Σ u·factor| ≤ 2^28 · rank ≤ 2^34, times a 24-bit ratio < 2^58.

use super::{
    INFO, Kernel, Lowering, Saturated, as_i32, flag, params, read,
    shared::{rows, wide},
    texts, write,
};
use crate::numbers::fixed::{Scale, saturate, shift_to_i32};
use std::ops::Range;

params! {
    /// Rows.
    tokens: u32,
    /// Features of y.
    width: u32,
    /// 0 where the linear has no adapter.
    rank: u32,
    /// Which of the `slots` rows of each token this writes.
    slot: u32,
    /// Rows a token has in out.
    slots: u32,
    /// How far the product is shifted left.
    fraction_bits: u32,
    /// First word of the ratio (24-bit mantissa, right shift) in `lora_info`.
    ratio_at: u32,
    /// Mantissa of the product's scale: that of w, times 2^-fraction_bits.
    product_scale: u32,
    /// Its exponent.
    product_scale_exponent: i32,
}

/// `x_info [tokens, 4]` (the product's row scales), `u [tokens, rank]` wide rows with `u_info`,
/// `factor [width, rank]` wide rows, `lora_info` words; `y [tokens, slots, width]` i32 rows, holding the product.
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
    lowerings: &[Lowering {
        name: "plain",
        texts: texts!("lora_up.wgsl"),
        groups_x: |p| Params::read(p).width.div_ceil(64),
        units_per_group: 1,
        keys_held: None,
    }],
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
