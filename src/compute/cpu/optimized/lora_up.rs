//! Optimized implementation of the kernel `lora_up`, which multiplies rows of `rank` elements by a LoRA factor and adds
//! the result to the product of the ternary matrix. The factor is transposed only once per call.

use super::products::{LANES, columns, split, tile};
use crate::{
    kernels::{
        INFO, Saturated, as_i32,
        lora_up::Params,
        shared::{rows, wide},
    },
    numbers::fixed::{Scale, saturate, shift_to_i32},
};
use std::ops::Range;

#[inline(always)]
pub(super) fn body(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let p = Params::read(params);
    let (width, rank) = (p.width as usize, p.rank as usize);
    let (ratio, ratio_shift) = (i64::from(reads[4][p.ratio_at as usize]), as_i32(reads[4])[p.ratio_at as usize + 1]);
    let product_scale = Scale { mantissa: p.product_scale, exponent: p.product_scale_exponent };
    let factor = match rank {
        0 => Vec::new(),
        _ => columns((0..width).map(|i| wide::row(reads[3], rank, i)), rank),
    };
    let mut any = false;
    for (token, y) in units.zip(writes[0].chunks_exact_mut(p.slots as usize * (width + INFO))) {
        let (y, info) = rows::split(&mut y[p.slot as usize * (width + INFO)..][..width + INFO], width);
        rows::put_info(info, rows::info(reads[0], token).multiply(product_scale), 0);
        if rank == 0 {
            y.iter_mut().for_each(|y| *y <<= p.fraction_bits);
            continue;
        }
        let u = wide::row(reads[1], rank, token);
        let mut weights = [[0; 2]; 64];
        let weights = &mut weights[..rank];
        weights.iter_mut().enumerate().for_each(|(r, weight)| *weight = split(wide::get(u, r)));
        let shift = ratio_shift - (rows::info(reads[2], token).exponent + 30);
        for (y, factor) in y.chunks_mut(LANES).zip(factor.chunks_exact(LANES * rank)) {
            let sums = tile(weights, factor, LANES);
            let mut padded = [0; LANES];
            padded[..y.len()].copy_from_slice(y);
            for (y, sum) in padded.iter_mut().zip(sums) {
                let (share, far) = shift_to_i32(sum * ratio, shift);
                let (value, farther) = saturate((i64::from(*y) << p.fraction_bits) + i64::from(share));
                *y = value;
                any |= far | farther;
            }
            y.copy_from_slice(&padded[..y.len()]);
        }
    }
    any
}
