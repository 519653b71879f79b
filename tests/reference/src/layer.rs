//! One decoder layer: an attention block, then a feed-forward block. The input of each block is `n = norm(h)`, where
//! `h` is the residual. The attention block computes `h += o(norm(attention(q(n), k(n), v(n))))`, and the feed-forward
//! block computes `h += down(norm(relu(gate(n))² · up(n)))`. Here q, k, v, o, gate, up and down are linear layers.

use super::{
    attention::{Heads, attention_backward, attention_forward, rope},
    feed_forward::{gated_relu_squared_backward, gated_relu_squared_forward},
    linear::{Lora, add, linear_backward, linear_forward},
    norm::{rms_norm_backward, rms_norm_forward},
    rounding::Round,
    tensors,
};
use r3mes_wgpu::model::weights;

const Q: usize = 0;
const K: usize = 1;
const V: usize = 2;
const O: usize = 3;
const GATE: usize = 4;
const UP: usize = 5;
const DOWN: usize = 6;

/// The settings of a decoder layer, which are the same for all layers of a network.
#[derive(Clone, Copy)]
pub struct LayerParams {
    pub heads: Heads,
    pub theta: f64,
    pub epsilon: f64,
    /// The function that quantizes the inputs of linear layers, called for one token at a time. The backward pass
    /// treats it as the identity.
    pub quantize: fn(&mut [f64]),
    /// The function that rounds the result of every operation.
    pub round: Round,
}

/// The LoRA factors of a decoder layer's linear layers, in the order q, k, v, o, gate, up, down; `None` for a linear
/// layer that is not adapted.
pub type Loras<'a> = [Option<Lora<'a>>; 7];
/// The gradients of the LoRA factors `a` and `b` of a decoder layer's linear layers, in the order q, k, v, o, gate, up,
/// down; `None` for a linear layer that is not adapted.
pub type Gradients<'a> = [Option<[&'a mut [f64]; 2]>; 7];

/// The weights of one decoder layer.
pub struct Layer {
    linears: Vec<(Vec<f64>, usize)>, // [out_features, in_features], in_features
    attention_norm: Vec<f64>,
    attention_sub_norm: Vec<f64>,
    ffn_norm: Vec<f64>,
    ffn_sub_norm: Vec<f64>,
}

/// The values that the forward pass saves for the backward pass.
pub struct SavedLayer {
    h: Vec<f64>,      // [tokens, width]
    n: Vec<f64>,      // [tokens, width]
    q: Vec<f64>,      // [tokens, heads, head_dim]
    k: Vec<f64>,      // [tokens, kv_heads, head_dim]
    v: Vec<f64>,      // [tokens, kv_heads, head_dim]
    out: Vec<f64>,    // [tokens, heads, head_dim]
    out_n: Vec<f64>,  // [tokens, heads, head_dim]
    middle: Vec<f64>, // [tokens, width]
    m: Vec<f64>,      // [tokens, width]
    gate: Vec<f64>,   // [tokens, ffn_width]
    up: Vec<f64>,     // [tokens, ffn_width]
    hidden: Vec<f64>, // [tokens, ffn_width]
    hidden_n: Vec<f64>,
}

impl Layer {
    pub fn new(layer: &weights::Layer) -> Self {
        Self {
            linears: layer.linears.iter().map(|matrix| (tensors::ternary(matrix), matrix.columns)).collect(),
            attention_norm: tensors::gain(&layer.attention_norm),
            attention_sub_norm: tensors::gain(&layer.attention_sub_norm),
            ffn_norm: tensors::gain(&layer.ffn_norm),
            ffn_sub_norm: tensors::gain(&layer.ffn_sub_norm),
        }
    }

    /// Applies the layer to the residual `h [tokens, width]` of one sequence, in place. Returns the values that
    /// [`Self::backward`] needs.
    pub fn forward(&self, h: &mut [f64], loras: &Loras<'_>, params: &LayerParams) -> SavedLayer {
        let LayerParams { heads, theta, epsilon, quantize, round } = *params;
        let rounded = |values| rounded(values, round);
        let linear = |x: &[f64], which: usize| {
            let (w, in_features) = &self.linears[which];
            rounded(linear_forward(x, w, *in_features, loras[which]))
        };
        let norm = |x: &[f64], gain: &[f64]| {
            let mut n = rounded(rms_norm_forward(x, gain, epsilon));
            n.chunks_exact_mut(gain.len()).for_each(quantize);
            n
        };
        let before = h.to_vec();
        let n = norm(h, &self.attention_norm);
        let [mut q, mut k, v] = [Q, K, V].map(|which| linear(&n, which));
        rope(&mut q, heads.heads, heads.head_dim, theta, 1.0);
        rope(&mut k, heads.kv_heads, heads.head_dim, theta, 1.0);
        let [q, k] = [q, k].map(rounded);
        let out = rounded(attention_forward(&q, &k, &v, heads));
        let out_n = norm(&out, &self.attention_sub_norm);
        add(h, &linear(&out_n, O), 1.0);
        round(h);

        let middle = h.to_vec();
        let m = norm(h, &self.ffn_norm);
        let [gate, up] = [GATE, UP].map(|which| linear(&m, which));
        let hidden = rounded(gated_relu_squared_forward(&gate, &up));
        let hidden_n = norm(&hidden, &self.ffn_sub_norm);
        add(h, &linear(&hidden_n, DOWN), 1.0);
        round(h);
        SavedLayer { h: before, n, q, k, v, out, out_n, middle, m, gate, up, hidden, hidden_n }
    }

    /// Computes the backward pass. Before the call, `dh [tokens, width]` holds the gradient of the layer's output;
    /// after the call, it holds the gradient of the layer's input. The gradients of the LoRA factors are added to
    /// `grads`.
    pub fn backward(
        &self,
        dh: &mut [f64],
        saved: &SavedLayer,
        loras: &Loras<'_>,
        grads: &mut Gradients<'_>,
        params: &LayerParams,
    ) {
        let LayerParams { heads, theta, epsilon, round, .. } = *params;
        let rounded = |values| rounded(values, round);
        let mut linear = |dy: &[f64], x: &[f64], which: usize| {
            let (w, in_features) = &self.linears[which];
            let lora = loras[which].zip(grads[which].as_mut().map(|[a, b]| [&mut **a, &mut **b]));
            rounded(linear_backward(dy, x, w, *in_features, lora))
        };
        let dn = linear(dh, &saved.hidden_n, DOWN);
        let dhidden = rounded(rms_norm_backward(&dn, &saved.hidden, &self.ffn_sub_norm, epsilon));
        let [dgate, dup] = gated_relu_squared_backward(&dhidden, &saved.gate, &saved.up).map(rounded);
        let mut dm = linear(&dgate, &saved.m, GATE);
        add(&mut dm, &linear(&dup, &saved.m, UP), 1.0);
        add(dh, &rms_norm_backward(&dm, &saved.middle, &self.ffn_norm, epsilon), 1.0);
        round(dh);

        let dn = linear(dh, &saved.out_n, O);
        let dout = rounded(rms_norm_backward(&dn, &saved.out, &self.attention_sub_norm, epsilon));
        let [mut dq, mut dk, dv] = attention_backward(&dout, &saved.q, &saved.k, &saved.v, heads).map(rounded);
        rope(&mut dq, heads.heads, heads.head_dim, theta, -1.0);
        rope(&mut dk, heads.kv_heads, heads.head_dim, theta, -1.0);
        let mut dn = linear(&dq, &saved.n, Q);
        add(&mut dn, &linear(&dk, &saved.n, K), 1.0);
        add(&mut dn, &linear(&dv, &saved.n, V), 1.0);
        add(dh, &rms_norm_backward(&dn, &saved.h, &self.attention_norm, epsilon), 1.0);
        round(dh);
    }
}

fn rounded(mut values: Vec<f64>, round: Round) -> Vec<f64> {
    round(&mut values);
    values
}
