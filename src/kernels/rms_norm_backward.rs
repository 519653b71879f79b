//! Computes the gradient of the input `x` of an RMSNorm: `dx = residual + (g − c · x) / rms(x)`, where
//! `c = Σ g·x / (Σ x² + width · epsilon)` with sums over the features, whose number is `width`. `residual` is the
//! gradient of the residual stream, which bypasses the norm. `g` is the gradient of the norm's output, multiplied by
//! `gain`, the weights of the norm.
//!
//! Up to three linear layers read the same output of the norm, so a row has up to three gradients `dn`. They are
//! aligned to a common exponent and summed: `g = gain · Σ dn`. The quantization that follows the norm is treated as the
//! identity (straight-through estimator).

use super::{
    INFO, Kernel, Saturated, as_i32, lowering, params, read,
    shared::{
        blocks::{ZERO_EXPONENT, distance},
        rms::{Rms, copy, copy_shift},
        rows,
    },
    texts, write,
};
use crate::numbers::fixed::{ROW_BITS, Scale, product, round_even, shift_for};
use std::ops::Range;

params! {
    /// The number of tokens in the batch, over all of its sequences.
    tokens: u32,
    /// The number of features in the row of a token.
    width: u32,
    /// The number of gradients in `dn` for each row of the norm's output: one from each layer that reads the row.
    slots: u32,
    /// The distance in `residual` from the row of one token to the row of the next: 1 row, or 0 if `residual` is a
    /// single row of zeros that all tokens use.
    residual_stride: u32,
    /// Exponent of the gains: an integer `i` in `gain` stands for the gain `i · 2^gain_exponent`.
    gain_exponent: i32,
    /// Mantissa of the [`Scale`] that represents `1 / width`.
    inverse_width: u32,
    /// Exponent of the [`Scale`] that represents `1 / width`.
    inverse_width_exponent: i32,
}

/// The kernel `rms_norm_backward`. It reads the gradients of the norm's output `dn [tokens, slots, width]`, the norm's
/// input `x [tokens, width]`, and the gradient of the residual stream `residual [tokens, width]`, all as i32 rows
/// (integers, then the scale of the row). It also reads `gain [width]` (i32) and `norm_info [tokens, 4]`, which the
/// forward pass has computed: the factor `1 / rms(x)` of each row, alone and multiplied by the row's scale. It writes
/// `dx [tokens, width]` as i32 rows whose scales are powers of two.
pub static KERNEL: Kernel = Kernel {
    name: "rms_norm_backward",
    params: Params::NAMES,
    bindings: &[
        read("dn"),
        read("x"),
        read("gain"),
        read("norm_info"),
        read("residual"),
        write("dx", |p| Params::read(p).width as usize + INFO),
    ],
    units: |p| Params::read(p).tokens as usize,
    reference,
    lowerings: &[lowering("plain", texts!("rms_norm_backward.wgsl"), |_| 1, 1)],
};

#[inline(always)]
pub(crate) fn reference(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let p = Params::read(params);
    let [dn, x, gain, norm_info, residual] = reads else { unreachable!() };
    let (width, slots) = (p.width as usize, p.slots as usize);
    let gains = &as_i32(gain)[..width];
    let inverse_width = Scale { mantissa: p.inverse_width, exponent: p.inverse_width_exponent };
    // The bitwise OR of all magnitudes has as many bits as the largest magnitude.
    let max = |values: &[i64]| values.iter().fold(0, |bits, value| bits | value.unsigned_abs());
    let mut values = vec![0i64; width];
    for (token, dx) in units.zip(writes[0].chunks_exact_mut(width + INFO)) {
        let (x, _) = rows::row(x, width, token);
        let rms = Rms::from_words(&norm_info[token * INFO..]);
        let exponent = |scale: Scale| if scale.mantissa == 0 { ZERO_EXPONENT } else { scale.exponent };

        // Σ dn ≤ 3 · 2^60 in units of 2^(top + 2)
        let slot = |slot: usize| rows::row(dn, width, token * slots + slot);
        let top = (0..slots).map(|i| exponent(slot(i).1)).max().unwrap_or(ZERO_EXPONENT);
        values.fill(0);
        for i in 0..slots {
            let (dn, scale) = slot(i);
            let shift = distance(top, exponent(scale));
            for (value, &dn) in values.iter_mut().zip(dn) {
                *value += round_even(product(dn, scale.mantissa as i32), 2) >> shift;
            }
        }
        let shift = shift_for(max(&values), ROW_BITS);
        let mut unit = top + 2 + shift as i32 + p.gain_exponent;
        for (value, &gain) in values.iter_mut().zip(gains) {
            *value = product(round_even(*value, shift) as i32, gain); // g ≤ 2^46
        }

        // c is computed from rounded copies of g (≤ 2^30) and x (≤ 2^15), so Σ ≤ 2^45 · width.
        let x_shift = copy_shift(x);
        let dot: i64 = values.iter().zip(x).map(|(&g, &x)| product(round_even(g, 16) as i32, copy(x, x_shift))).sum();
        let c = Scale::new(dot.unsigned_abs(), 16 + x_shift as i32);
        let c = c.multiply(rms.inverse).multiply(rms.inverse).multiply(inverse_width);
        let mantissa = if dot < 0 { -(c.mantissa as i32) } else { c.mantissa as i32 };
        // |c · x| ≤ ‖g‖ < 2^55 (Cauchy–Schwarz), so if the exponent of c is positive, it is at most 24.
        let (right, left) = ((-c.exponent).clamp(0, 63) as u32, c.exponent.clamp(0, 24));
        for (value, &x) in values.iter_mut().zip(x) {
            *value -= round_even(product(x, mantissa), right) << left;
        }

        // Multiply by 1 / rms and add the residual's gradient.
        let shift = shift_for(max(&values), ROW_BITS);
        unit += shift as i32 + rms.inverse_rms.exponent;
        let (residual, scale) = rows::row(residual, width, token * p.residual_stride as usize);
        let unit = if values.iter().all(|&value| value == 0) { ZERO_EXPONENT } else { unit };
        let top = unit.max(exponent(scale));
        let (value_shift, residual_shift) = (distance(top, unit), distance(top, exponent(scale)));
        for (value, &residual) in values.iter_mut().zip(residual) {
            let branch = product(round_even(*value, shift) as i32, rms.inverse_rms.mantissa as i32);
            let straight = product(residual, scale.mantissa as i32);
            *value = (round_even(branch, 1) >> value_shift) + (round_even(straight, 1) >> residual_shift);
        }
        let shift = shift_for(max(&values), ROW_BITS);
        let (dx, info) = rows::split(dx, width);
        for (dx, &value) in dx.iter_mut().zip(&values) {
            *dx = round_even(value, shift) as i32;
        }
        let zero = values.iter().all(|&value| value == 0);
        rows::put_info(info, if zero { Scale::ZERO } else { Scale::power_of_two(top + 1 + shift as i32) }, 0);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that the gradient of the input of an RMSNorm is orthogonal to that input, even if the input consists of
    /// small integers.
    #[test]
    fn the_gradient_is_orthogonal_to_the_input() {
        let (x, dn) = ([3, 1, -2, 1], [900_000_000, 100_000_000, -500_000_000, 7]);
        let (scale, inverse_width) = (Scale::power_of_two(-3), Scale::power_of_two(-2));
        let rms = Rms::new(&x, scale, inverse_width, Scale::power_of_two(-40));
        let params = Params {
            tokens: 1,
            width: 4,
            slots: 1,
            inverse_width: inverse_width.mantissa,
            inverse_width_exponent: inverse_width.exponent,
            ..Default::default()
        };
        let row = |values: [i32; 4], scale: Scale| {
            let [mantissa, exponent] = scale.words();
            [values.map(|value| value as u32), [mantissa, exponent, 0, 0]].concat()
        };
        let reads = [row(dn, Scale::ONE), row(x, scale), vec![1 << 15; 4], rms.words().to_vec(), vec![0; 8]];
        let mut dx = vec![0; 8];
        reference(&params.words(), 0..1, &reads.each_ref().map(Vec::as_slice), &mut [&mut dx]);
        let dx = as_i32(&dx[..4]);
        let along: f64 = dx.iter().zip(x).map(|(&dx, x)| f64::from(dx) * f64::from(x)).sum();
        let length = dx.iter().map(|&dx| f64::from(dx).powi(2)).sum::<f64>().sqrt();
        assert!(along.abs() < 1e-6 * length, "{dx:?}");
    }
}
