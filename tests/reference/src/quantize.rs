//! BitNet's quantization of activations to int8. Each token is scaled by its largest absolute value. The result is in
//! f64: `x_q = round(127 · x / max|x|) · max|x| / 127`.
//!
//! The backward pass of the quantization is the identity (straight-through estimator).

/// Quantizes `x [width]`, the features of one token, in place.
pub fn absmax_int8(x: &mut [f64]) {
    let max = x.iter().fold(0f64, |max, x| max.max(x.abs()));
    if max > 0.0 {
        x.iter_mut().for_each(|x| *x = (127.0 * *x / max).round_ties_even() * max / 127.0);
    }
}
