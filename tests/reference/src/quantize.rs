//! BitNet's quantization to int8 by each token's absmax, with the result in f64: `x_q = round(127 · x / max|x|) ·
//! max|x| / 127`.
//!
//! The quantization's backward pass is the identity (straight-through estimator).

/// Quantizes `x [width]`, the features of one token.
pub fn absmax_int8(x: &mut [f64]) {
    let max = x.iter().fold(0f64, |max, x| max.max(x.abs()));
    if max > 0.0 {
        x.iter_mut().for_each(|x| *x = (127.0 * *x / max).round_ties_even() * max / 127.0);
    }
}
