//! The nonlinearity in the feed-forward block of BitNet b1.58: `y = relu(gate)² · up`.

pub fn gated_relu_squared_forward(
    gate: &[f64], // [tokens, ffn_width]
    up: &[f64],   // [tokens, ffn_width]
) -> Vec<f64> // y [tokens, ffn_width]
{
    gate.iter().zip(up).map(|(gate, up)| gate.max(0.0).powi(2) * up).collect()
}

pub fn gated_relu_squared_backward(
    dy: &[f64],   // [tokens, ffn_width]
    gate: &[f64], // [tokens, ffn_width]
    up: &[f64],   // [tokens, ffn_width]
) -> [Vec<f64>; 2] // dgate, dup
{
    let at = |i: usize| (gate[i].max(0.0), up[i], dy[i]);
    let dgate = (0..dy.len()).map(at).map(|(gate, up, dy)| 2.0 * gate * up * dy);
    let dup = (0..dy.len()).map(at).map(|(gate, _, dy)| gate * gate * dy);
    [dgate.collect(), dup.collect()]
}
