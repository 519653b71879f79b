//! Optimized implementations of the kernels `lora_down` and `lora_down_backward`, which multiply rows by a LoRA factor
//! and so reduce them to `rank` elements. The factor is decoded only once per call.

use super::products::{join, widen};
use crate::{
    kernels::{
        INFO, Saturated, as_bytes, lora_down, lora_down_backward,
        shared::{rows, wide},
    },
    numbers::{fixed::Scale, ternary::row_words},
};
use std::ops::Range;

#[inline(always)]
pub(super) fn forward(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let p = lora_down::Params::read(params);
    down::<1>(p.in_features as usize, p.rank as usize, units, reads, writes)
}

#[inline(always)]
pub(super) fn backward(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let p = lora_down_backward::Params::read(params);
    down::<2>(p.out_features as usize, p.rank as usize, units, reads, writes)
}

/// Multiplies rows of `width` elements by the LoRA factor, `[rank, width]`, and writes the rounded results with their
/// scales. `PLANES` is the number of int8 values that store one element of a row: 1, or 2 for an element
/// `256 · high + low`. Returns whether a value has left the range of its number format, which is always false for this
/// kernel.
#[inline(always)]
fn down<const PLANES: usize>(
    width: usize,
    rank: usize,
    units: Range<usize>,
    reads: &[&[u32]],
    writes: &mut [&mut [u32]],
) -> Saturated {
    let mut factor = vec![0; rank * width];
    for (r, out) in factor.chunks_exact_mut(width).enumerate() {
        join(wide::row(reads[1], width, r), out);
    }
    let stride = 4 * row_words(width);
    let mut planes = vec![0; PLANES * width];
    let mut sums = vec![0; rank];
    let [out, out_info] = writes else { unreachable!() };
    let outs = out.chunks_exact_mut(wide::wide_words(rank)).zip(out_info.chunks_exact_mut(INFO));
    for (token, (out, info)) in units.zip(outs) {
        let row = &as_bytes(reads[0])[token * PLANES * stride..][..PLANES * stride];
        for (plane, bytes) in planes.chunks_exact_mut(width).zip(row.chunks_exact(stride)) {
            widen(bytes, plane);
        }
        for (sum, factor) in sums.iter_mut().zip(factor.chunks_exact(width)) {
            *sum = 0;
            for plane in planes.chunks_exact(width) {
                *sum = 256 * *sum + dot(plane, factor);
            }
        }
        let (shift, sum) = wide::write_even(out, &sums);
        rows::put_info(info, Scale::power_of_two(shift as i32), sum);
    }
    false
}

/// The largest number of terms that are added in i32. A term is the product of a wide value (≤ 2^14 in magnitude) and a
/// byte (int8). The number must be less than 2^10, because a term can reach 2^21, and i32 cannot hold
/// `2^10 · 2^21 = 2^31`.
const CHUNK: usize = 992;

/// Returns the inner product `Σ_i bytes[i] · wide[i]` of int8 values and wide values (integers ≤ 2^14 in magnitude).
/// The int8 values are passed as int16, because vector instructions multiply int16.
#[inline(always)]
fn dot(bytes: &[i16], wide: &[i16]) -> i64 {
    let mut total = 0;
    for (bytes, wide) in bytes.chunks(CHUNK).zip(wide.chunks(CHUNK)) {
        let mut sum = 0i32;
        for (&byte, &wide) in bytes.iter().zip(wide) {
            sum += i32::from(byte) * i32::from(wide);
        }
        total += i64::from(sum);
    }
    total
}
