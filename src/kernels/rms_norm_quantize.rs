//! Computes RMSNorm, `n = gain · x / rms(x)`, for the row `x` of each token, and then BitNet's int8 quantization by the
//! largest magnitude in the row, `q = round(127 · n / max|n|)`.
//!
//! The RMS cancels out in `q` and affects only the row's scale. The largest magnitude is taken over the exact products
//! `gain · x`, so each value is rounded only once.

use super::{
    INFO, Kernel, Saturated, as_bytes_mut, as_i32, lowering, params, read,
    shared::{rms::Rms, rows},
    texts, write,
};
use crate::numbers::{
    fixed::{Scale, bits, round_even_u64},
    ternary::row_words,
};
use std::ops::Range;

params! {
    /// The number of tokens in the batch, over all of its sequences.
    tokens: u32,
    /// The number of features in the row of a token.
    width: u32,
    /// Exponent of the gains: an integer `i` in `gain` stands for the gain `i · 2^gain_exponent`.
    gain_exponent: i32,
    /// Mantissa of the [`Scale`] that represents `1 / width`.
    inverse_width: u32,
    /// Exponent of the [`Scale`] that represents `1 / width`.
    inverse_width_exponent: i32,
    /// Mantissa of the [`Scale`] that represents epsilon, the constant that RMSNorm adds to the mean square.
    epsilon: u32,
    /// Exponent of the [`Scale`] that represents epsilon, the constant that RMSNorm adds to the mean square.
    epsilon_exponent: i32,
}

/// The kernel `rms_norm_quantize`. It reads `x [tokens, width]` as i32 rows (integers, then the scale of the row) and
/// `gain [width]` (i32 from −65,535 to 65,535). It writes `q [tokens, width]` as byte rows (int8); `q_info`, the scale
/// and the sum of each row; and `norm_info [tokens, 4]`, the factor `1 / rms(x)` of each row, alone and multiplied by
/// the scale of the row. The backward pass needs `norm_info`.
pub static KERNEL: Kernel = Kernel {
    name: "rms_norm_quantize",
    params: Params::NAMES,
    bindings: &[
        read("x"),
        read("gain"),
        write("q", |p| row_words(Params::read(p).width as usize)),
        write("q_info", |_| INFO),
        write("norm_info", |_| INFO),
    ],
    units: |p| Params::read(p).tokens as usize,
    reference,
    lowerings: &[lowering("plain", texts!("rms_norm_quantize.wgsl", "fragments/rms_norm.wgsl"), |_| 1, 1)],
};

/// Returns 1 / 127 as the scale `floor(2^37 / 127) · 2^-37`. This is the real value of one int8 step if the largest
/// magnitude of the row is 1.
fn inverse_127() -> Scale {
    Scale::new(127, 0).reciprocal()
}

#[inline(always)]
pub(crate) fn reference(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let p = Params::read(params);
    let width = p.width as usize;
    let gains = &as_i32(reads[1])[..width];
    let [q, q_info, norm_info] = writes else { unreachable!() };
    let outs = q.chunks_exact_mut(row_words(width)).zip(q_info.chunks_exact_mut(INFO));
    for ((token, norm_info), (q, q_info)) in units.zip(norm_info.chunks_exact_mut(INFO)).zip(outs) {
        let (values, scale) = rows::row(reads[0], width, token);
        let inverse_width = Scale { mantissa: p.inverse_width, exponent: p.inverse_width_exponent };
        let epsilon = Scale { mantissa: p.epsilon, exponent: p.epsilon_exponent };
        let rms = Rms::new(values, scale, inverse_width, epsilon);
        norm_info.copy_from_slice(&rms.words());

        let product = |i: usize| i64::from(values[i]) * i64::from(gains[i]);
        let max = (0..width).map(|i| product(i).unsigned_abs()).max().unwrap_or(0);
        if max == 0 {
            q.fill(0);
            rows::put_info(q_info, Scale::ZERO, 0);
            continue;
        }
        let bits = bits(max);
        let normalize = |magnitude: u64| if bits > 31 { magnitude >> (bits - 31) } else { magnitude << (31 - bits) };
        let max = normalize(max); // 2^30..2^31
        let steps = (127 << 54) / max; // < 2^31
        let mut sum = 0;
        let q = as_bytes_mut(q);
        q[width..].fill(0);
        for (i, q) in q[..width].iter_mut().enumerate() {
            let product = product(i);
            let magnitude = round_even_u64(normalize(product.unsigned_abs()) * steps, 54) as i32;
            let value = if product < 0 { -magnitude } else { magnitude };
            *q = value as i8;
            sum += value;
        }
        let scale = Scale { mantissa: max as u32, exponent: bits as i32 - 31 + p.gain_exponent };
        rows::put_info(q_info, rms.inverse.multiply(scale).multiply(inverse_127()), sum);
    }
    false
}
