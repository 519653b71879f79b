//! The whole neural network, which computes `loss(chunk, adapter)` and its gradient with respect to the adapter.

use super::{
    attention::Heads,
    head,
    layer::{Gradients, Layer, LayerParams, Loras, SavedLayer},
    linear::Lora,
    norm,
    rounding::Round,
    tensors,
};
use r3mes_wgpu::{
    model::{config::Linear, weights::Model},
    numbers::lora::{LoraAdapter, MASTER_FRACTION_BITS},
};

/// A neural network with frozen weights, in f64.
pub struct Network {
    params: LayerParams,
    layers: Vec<Layer>,
    embedding: Vec<f64>,  // [vocab, width]
    final_norm: Vec<f64>, // [width]
    context: usize,
    adapted: Vec<Linear>,
}

/// The LoRA factors, which are the trainable parameters, in f64.
#[derive(Clone)]
pub struct Adapter {
    pub rank: usize,
    /// The factor by which the LoRA products are multiplied: alpha / rank.
    pub scaling: f64,
    /// The LoRA factors, sorted by decoder layer, then by linear layer (q, k, v, o, gate, up, down), then `a` before
    /// `b`. A factor `a` has the shape `[rank, in_features]`, and a factor `b` has the shape `[rank, out_features]`.
    pub matrices: Vec<Vec<f64>>,
}

/// The results of the forward pass of one sequence.
struct Forward {
    h: Vec<f64>, // [tokens, width]
    saved: Vec<SavedLayer>,
    loss: f64,
    dlogits: Vec<f64>, // [tokens, vocab]
}

impl Adapter {
    pub fn new(adapter: &LoraAdapter) -> Self {
        let unit = 2f64.powi(-(MASTER_FRACTION_BITS as i32));
        let real = |values: &[i32]| values.iter().map(|&value| f64::from(value) * unit).collect();
        Self {
            rank: adapter.rank,
            scaling: f64::from(adapter.alpha) / adapter.rank as f64,
            matrices: adapter.matrices.iter().map(|matrix| real(&matrix.values)).collect(),
        }
    }
}

impl Network {
    /// Converts a model to f64. `adapted` lists the adapted linear layers, in the order q, k, v, o, gate, up, down.
    /// `quantize` is applied to the input of every linear layer, and `round` to the result of every operation.
    pub fn new(model: &Model, adapted: &[Linear], quantize: fn(&mut [f64]), round: Round) -> Self {
        let c = &model.config;
        let heads = Heads { heads: c.heads, kv_heads: c.kv_heads, head_dim: c.head_dim };
        Self {
            params: LayerParams { heads, theta: c.rope_theta.into(), epsilon: c.norm_epsilon, quantize, round },
            layers: model.layers.iter().map(Layer::new).collect(),
            embedding: tensors::embedding(&model.embedding, c.width),
            final_norm: tensors::gain(&model.final_norm),
            context: c.context,
            adapted: adapted.to_vec(),
        }
    }

    /// Returns the loss of the chunk in nats, summed over the tokens that have a label, and the gradient of every
    /// matrix of the adapter.
    pub fn gradient(&self, adapter: &Adapter, chunk: &[u32]) -> (f64, Vec<Vec<f64>>) {
        let mut grads: Vec<Vec<f64>> = adapter.matrices.iter().map(|matrix| vec![0.0; matrix.len()]).collect();
        let starts = (0..chunk.len()).step_by(self.context);
        let loss = starts.map(|first| self.sequence(adapter, chunk, first, &mut grads)).sum();
        (loss, grads)
    }

    /// Returns the loss of the chunk in nats, summed over the tokens that have a label.
    pub fn loss(&self, adapter: &Adapter, chunk: &[u32]) -> f64 {
        let starts = (0..chunk.len()).step_by(self.context);
        starts.map(|first| self.forward(adapter, chunk, first).loss).sum()
    }

    /// Computes the forward and the backward pass for the sequence that starts at token `first` of the chunk. Returns
    /// the loss of the sequence, and adds the gradients of this loss to `grads`.
    fn sequence(&self, adapter: &Adapter, chunk: &[u32], first: usize, grads: &mut [Vec<f64>]) -> f64 {
        let (width, params) = (self.final_norm.len(), &self.params);
        let Forward { h, saved, loss, mut dlogits } = self.forward(adapter, chunk, first);
        (params.round)(&mut dlogits);
        let mut dn = head::head_backward(&dlogits, &self.embedding, width);
        (params.round)(&mut dn);
        let mut dh = norm::rms_norm_backward(&dn, &h, &self.final_norm, params.epsilon);
        (params.round)(&mut dh);
        for ((i, layer), saved) in self.layers.iter().enumerate().zip(&saved).rev() {
            let at = 2 * self.adapted.len();
            let mut of_layer = self.of_layer(&mut grads[i * at..][..at]);
            layer.backward(&mut dh, saved, &self.loras(adapter, i), &mut of_layer, params);
        }
        loss
    }

    fn forward(&self, adapter: &Adapter, chunk: &[u32], first: usize) -> Forward {
        let (width, params) = (self.final_norm.len(), &self.params);
        let tokens = first..(first + self.context).min(chunk.len());
        let labels: Vec<_> = tokens.clone().map(|t| chunk.get(t + 1).copied()).collect();
        let row = |t: usize| &self.embedding[chunk[t] as usize * width..][..width];
        let mut h: Vec<f64> = tokens.flat_map(row).copied().collect();

        let layers = self.layers.iter().enumerate();
        let saved = layers.map(|(i, layer)| layer.forward(&mut h, &self.loras(adapter, i), params)).collect();
        let mut n = norm::rms_norm_forward(&h, &self.final_norm, params.epsilon);
        (params.round)(&mut n);
        let (loss, dlogits) = head::head_forward(&n, &self.embedding, &labels, width);
        Forward { h, saved, loss, dlogits }
    }

    fn loras<'a>(&self, adapter: &'a Adapter, layer: usize) -> Loras<'a> {
        let mut loras = [None; 7];
        let pairs = adapter.matrices.chunks_exact(2).skip(layer * self.adapted.len());
        for (&linear, pair) in self.adapted.iter().zip(pairs) {
            let Adapter { rank, scaling, .. } = *adapter;
            loras[linear as usize] = Some(Lora { a: &pair[0], b: &pair[1], rank, scaling });
        }
        loras
    }

    fn of_layer<'a>(&self, grads: &'a mut [Vec<f64>]) -> Gradients<'a> {
        let mut of_layer = [const { None }; 7];
        for (&linear, pair) in self.adapted.iter().zip(grads.chunks_exact_mut(2)) {
            let (a, b) = pair.split_at_mut(1);
            of_layer[linear as usize] = Some([&mut a[0][..], &mut b[0][..]]);
        }
        of_layer
    }
}
