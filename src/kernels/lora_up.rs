//! Computes `y = product · 2^fraction_bits + (alpha / rank) · u · factorᵀ`: adds the contribution of a LoRA adapter to
//! `product`, the result of a ternary matrix product. `u` and `factor` are explained in the next paragraph. The unit of
//! `y` is the unit of `product` divided by 2^fraction_bits.
//!
//! `x` is the input of a linear layer, `w` is its ternary matrix, `dy` is the gradient of its output, and `a` and `b`
//! are the LoRA factors. In the forward pass, `product` is `x · wᵀ`, `u` is `x · aᵀ`, and `factor` is `b`. In the
//! backward pass, `product` is `dy · w`, `u` is `dy · b`, and `factor` is `aᵀ`.
//!
//! Bounds: `|product|` is < 2^(30 − fraction_bits). `|Σ u · factor|` is ≤ 2^28 · rank ≤ 2^34. After the multiplication
//! by a mantissa of 24 bits, that of the ratio at index `ratio_at`, it is < 2^58.

use super::{
    INFO, Kernel, Saturated, as_i32, flag, lowering, params, read,
    shared::{rows, wide},
    texts, write,
};
use crate::numbers::fixed::{Scale, saturate, shift_to_i32};
use std::ops::Range;

params! {
    /// The number of tokens in the batch, over all of its sequences.
    tokens: u32,
    /// The number of features in a row of `y`.
    width: u32,
    /// The rank of the adapter, or 0 if the linear layer has no adapter.
    rank: u32,
    /// Index of the row that the dispatch writes, among the `slots` rows that each token has in `y`.
    slot: u32,
    /// The number of rows that each token has in `y`. It is more than 1 in the backward pass of linear layers that have
    /// the same input: each layer writes a row of its own.
    slots: u32,
    /// The number of bits by which the product is shifted left before the adapter's contribution is added.
    fraction_bits: u32,
    /// Index of a ratio in `lora_info`, which contains the scales and exponents of the adapter. Multiplication by this
    /// ratio converts `u · factorᵀ` to the unit of `y`. The ratio is stored as a 24-bit mantissa and a right shift.
    ratio_at: u32,
    /// Mantissa of `s · 2^-fraction_bits`, where `s` is the scale of the ternary matrix. Each row of `y` is computed
    /// from a row of the layer's input (in the forward pass) or of the gradient of the layer's output (in the backward
    /// pass). The scale of the row of `y` is `s · 2^-fraction_bits` times the scale of that other row.
    product_scale: u32,
    /// Exponent of `s · 2^-fraction_bits`, where `s` is the scale of the ternary matrix.
    product_scale_exponent: i32,
}

/// The kernel `lora_up`. It reads `x_info [tokens, 4]`, which contains the scales of the rows that were multiplied by
/// the ternary matrix; `u [tokens, rank]` as wide rows (integers of magnitude ≤ 2^14, each stored as two int8 values)
/// and their scales `u_info`; `factor [width, rank]` as wide rows; and `lora_info`, the scales and exponents of the
/// adapter. It updates `y`, which has `slots` i32 rows for each token: the rows of different linear layers with the
/// same input. A row consists of `width` integers, and of its scale after them. Before the dispatch, the integers are
/// the products with the ternary matrix. In one row of each token, the kernel adds the adapter's contribution to the
/// integers, and writes the scale.
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
