//! Computes RMSNorm, `n = gain · x / rms(x)`, as wide rows (integers of magnitude ≤ 2^14). It is used for the model's
//! final norm, whose output BitNet does not quantize to int8.

use super::{
    INFO, Kernel, Saturated, as_i32, lowering, read,
    shared::{rms::Rms, rows, wide},
    texts, write,
};
use crate::numbers::fixed::Scale;
use std::ops::Range;

/// The parameters of the kernel, the same as those of `rms_norm_quantize`: the numbers of tokens and features, the
/// exponent of the gains, `1 / width`, and epsilon.
pub use super::rms_norm_quantize::Params;

/// The kernel `rms_norm_wide`. It reads `x [tokens, width]` as i32 rows (integers, then the scale of the row) and
/// `gain [width]` (i32 from −65,535 to 65,535). It writes `n [tokens, width]` as wide rows (integers of magnitude
/// ≤ 2^14, each stored as two int8 values); `n_info`, the scale and the sum of each row; and `norm_info [tokens, 4]`,
/// the factor `1 / rms(x)` of each row, alone and multiplied by the scale of the row. The backward pass needs
/// `norm_info`.
pub static KERNEL: Kernel = Kernel {
    name: "rms_norm_wide",
    params: Params::NAMES,
    bindings: &[
        read("x"),
        read("gain"),
        write("n", |p| wide::wide_words(Params::read(p).width as usize)),
        write("n_info", |_| INFO),
        write("norm_info", |_| INFO),
    ],
    units: |p| Params::read(p).tokens as usize,
    reference,
    lowerings: &[lowering("plain", texts!("rms_norm_wide.wgsl", "fragments/rms_norm.wgsl"), |_| 1, 1)],
};

#[inline(always)]
pub(crate) fn reference(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let p = Params::read(params);
    let width = p.width as usize;
    let gains = &as_i32(reads[1])[..width];
    let [n, n_info, norm_info] = writes else { unreachable!() };
    let outs = n.chunks_exact_mut(wide::wide_words(width)).zip(n_info.chunks_exact_mut(INFO));
    let mut products = vec![0; width];
    for ((token, norm_info), (n, n_info)) in units.zip(norm_info.chunks_exact_mut(INFO)).zip(outs) {
        let (values, scale) = rows::row(reads[0], width, token);
        let inverse_width = Scale { mantissa: p.inverse_width, exponent: p.inverse_width_exponent };
        let epsilon = Scale { mantissa: p.epsilon, exponent: p.epsilon_exponent };
        let rms = Rms::new(values, scale, inverse_width, epsilon);
        norm_info.copy_from_slice(&rms.words());
        for ((product, &value), &gain) in products.iter_mut().zip(values).zip(gains) {
            *product = i64::from(value) * i64::from(gain);
        }
        let (shift, sum) = wide::write_even(n, &products);
        rows::put_info(n_info, rms.inverse.shift(p.gain_exponent + shift as i32), sum);
    }
    false
}
