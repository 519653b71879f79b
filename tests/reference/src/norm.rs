//! RMSNorm: `y = gain · x / sqrt(mean(x²) + epsilon)`.

pub fn rms_norm_forward(
    x: &[f64],    // [tokens, width]
    gain: &[f64], // [width]
    epsilon: f64,
) -> Vec<f64> // y [tokens, width]
{
    let rows = x.chunks_exact(gain.len()).flat_map(|x| {
        let inverse_rms = inverse_rms(x, epsilon);
        x.iter().zip(gain).map(move |(x, gain)| gain * x * inverse_rms)
    });
    rows.collect()
}

pub fn rms_norm_backward(
    dy: &[f64],   // [tokens, width]
    x: &[f64],    // [tokens, width]
    gain: &[f64], // [width]
    epsilon: f64,
) -> Vec<f64> // dx [tokens, width]
{
    let width = gain.len();
    let mut dx = Vec::with_capacity(x.len());
    for (dy, x) in dy.chunks_exact(width).zip(x.chunks_exact(width)) {
        let inverse_rms = inverse_rms(x, epsilon);
        let dot: f64 = (0..width).map(|i| dy[i] * gain[i] * x[i]).sum();
        let pull = dot * inverse_rms * inverse_rms / width as f64;
        dx.extend((0..width).map(|i| inverse_rms * (dy[i] * gain[i] - pull * x[i])));
    }
    dx
}

fn inverse_rms(x: &[f64], epsilon: f64) -> f64 {
    let mean_square = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
    1.0 / (mean_square + epsilon).sqrt()
}
