//! Optimized implementation of the kernel `lora_up`, which multiplies rows of `rank` elements by a LoRA factor and adds
//! the result to the product of the ternary matrix. The factor is transposed only once per call.

use super::products::{join, packed_rows, row_columns};
use crate::{
    compute::cpu::simd::wide::{COLUMNS, WideTile, multiply},
    kernels::{
        INFO, Saturated, as_i32,
        lora_up::Params,
        shared::{rows, wide},
    },
    numbers::fixed::{Scale, saturate, shift_to_i32},
};
use std::ops::Range;

/// The number of tokens that are multiplied by a panel of the factor before the next panel is read.
const TOKENS: usize = 16;

#[inline(always)]
pub(super) fn body<T: WideTile>(
    params: &[u32],
    units: Range<usize>,
    reads: &[&[u32]],
    writes: &mut [&mut [u32]],
) -> Saturated {
    let p = Params::read(params);
    let (width, rank) = (p.width as usize, p.rank as usize);
    let (ratio, ratio_shift) = (reads[4][p.ratio_at as usize], as_i32(reads[4])[p.ratio_at as usize + 1]);
    let product_scale = Scale { mantissa: p.product_scale, exponent: p.product_scale_exponent };
    let y_words = p.slots as usize * (width + INFO);
    let words = rank.div_ceil(2);
    let factor = match rank {
        0 => Vec::new(),
        _ => {
            let rows = packed_rows(width, rank, |i, out| join(wide::row(reads[3], rank, i), out));
            row_columns(&rows, words)
        }
    };
    let mut dots = [[0; COLUMNS]; TOKENS];
    let mut any = false;
    for (first, ys) in units.clone().step_by(TOKENS).zip(writes[0].chunks_mut(TOKENS * y_words)) {
        let tokens = first..units.end.min(first + TOKENS);
        let mut shifts = [0; TOKENS];
        for (i, (token, y)) in tokens.clone().zip(ys.chunks_exact_mut(y_words)).enumerate() {
            let (y, info) = rows::split(&mut y[p.slot as usize * (width + INFO)..][..width + INFO], width);
            rows::put_info(info, rows::info(reads[0], token).multiply(product_scale), 0);
            match rank {
                0 => y.iter_mut().for_each(|y| *y <<= p.fraction_bits),
                _ => shifts[i] = ratio_shift - (rows::info(reads[2], token).exponent + 30),
            }
        }
        if rank == 0 {
            continue;
        }
        let rows = packed_rows(tokens.len(), rank, |i, out| join(wide::row(reads[1], rank, first + i), out));
        for (group, panel) in factor.chunks_exact(words).enumerate() {
            // SAFETY: `compiled` calls this function only if the processor supports the instruction set of `T`.
            unsafe { multiply::<T>(&rows, words, panel, &mut dots[..tokens.len()]) };
            for ((y, dots), &shift) in ys.chunks_exact_mut(y_words).zip(&dots).zip(&shifts) {
                let y = &mut y[p.slot as usize * (width + INFO)..][group * COLUMNS..width.min((group + 1) * COLUMNS)];
                let y: &mut [i32] = bytemuck::cast_slice_mut(y);
                let mut padded = [0; COLUMNS];
                padded[..y.len()].copy_from_slice(y);
                let (values, saturated) = add(padded, p.fraction_bits, dots, ratio, shift);
                y.copy_from_slice(&values[..y.len()]);
                any |= saturated;
            }
        }
    }
    any
}

/// Returns `y · 2^fraction_bits + dots · ratio · 2^-shift`, and whether a sum or its second term left the range of i32 and
/// was clamped. The second term is rounded to nearest, ties to even.
#[inline(always)]
fn add(
    y: [i32; COLUMNS],
    fraction_bits: u32,
    dots: &[i64; COLUMNS],
    ratio: u32,
    shift: i32,
) -> ([i32; COLUMNS], Saturated) {
    let mut sums = [0; COLUMNS];
    if (1..=62).contains(&shift) {
        // Nothing saturates if all terms and sums are within ±2^30. The shift is at least 1, so the addition rounds to
        // nearest, ties to even.
        let (half, mut outside) = ((1i64 << (shift - 1)) - 1, 0);
        for lane in 0..COLUMNS {
            let product = dots[lane] * i64::from(ratio);
            let share = (product + half + (product >> shift & 1)) >> shift;
            let sum = (i64::from(y[lane]) << fraction_bits) + share;
            outside |= (share + (1 << 30)) as u64 | (sum + (1 << 30)) as u64;
            sums[lane] = sum as i32;
        }
        if outside < 1 << 31 {
            return (sums, false);
        }
    }
    let mut any = false;
    for lane in 0..COLUMNS {
        let (share, far) = shift_to_i32(dots[lane] * i64::from(ratio), shift);
        let (sum, farther) = saturate((i64::from(y[lane]) << fraction_bits) + i64::from(share));
        sums[lane] = sum;
        any |= far | farther;
    }
    (sums, any)
}
