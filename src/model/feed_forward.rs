//! Records the kernel launches of a decoder layer's feed-forward block, `y = down(sub_norm(relu(gate(n))² · up(n)))`
//! with `n = norm(x)`.

use super::{
    attention::quantize_gradient,
    config::{Linear, ModelConfig},
    linear::{Batch, DitherStreams, RecordedLinear, SavedLinear, rows},
    norm::{Norm, SavedNorm},
};
use crate::{
    compute::recording::{BufferId, Recording},
    kernels::{INFO, gated_relu_squared, gated_relu_squared_backward, shared::wide::wide_words},
};

/// The feed-forward block of a decoder layer: a norm, the gate and up projections, a second norm, and the down
/// projection.
pub struct FeedForward {
    name: String,
    width: usize,
    ffn_width: usize,
    norm: Norm,
    sub_norm: Norm,
    gate: RecordedLinear,
    up: RecordedLinear,
    down: RecordedLinear,
}

/// Buffers that the forward pass writes and the backward pass reads.
pub struct SavedFeedForward {
    norm: SavedNorm,
    sub_norm: SavedNorm,
    linears: [SavedLinear; 3],
    gate: BufferId,
    up: BufferId,
}

impl FeedForward {
    /// Creates the feed-forward block of a decoder layer. `norms` are its two norms: the first precedes the gate and up
    /// projections, and the second precedes the down projection. `linears` are its gate, up and down projections.
    pub fn new(name: String, config: &ModelConfig, norms: [Norm; 2], linears: [RecordedLinear; 3]) -> Self {
        let [norm, sub_norm] = norms;
        let [gate, up, down] = linears;
        Self { name, width: config.width, ffn_width: config.ffn_width, norm, sub_norm, gate, up, down }
    }

    /// Records the forward pass of the feed-forward block. `x` is the residual stream. Returns the buffer of the
    /// block's output, which the caller adds to `x`, and the buffers that the backward pass needs.
    pub fn forward(&self, recording: &mut Recording, batch: &Batch, x: BufferId) -> (BufferId, SavedFeedForward) {
        let (normed, norm) = self.norm.quantize(recording, batch, x);
        let (gate, saved_gate) = self.gate.forward(recording, batch, normed);
        let (up, saved_up) = self.up.forward(recording, batch, normed);
        let hidden = recording.scratch(format!("{}.hidden", self.name), batch.tokens * (self.ffn_width + INFO));
        let params = gated_relu_squared::Params {
            tokens: batch.tokens as u32,
            width: self.ffn_width as u32,
            ..Default::default()
        };
        let label = format!("{} relu²", self.name);
        recording.dispatch(label, &gated_relu_squared::KERNEL, params.words(), &[gate, up, hidden]);
        let (normed, sub_norm) = self.sub_norm.quantize(recording, batch, hidden);
        let (y, saved_down) = self.down.forward(recording, batch, normed);
        (y, SavedFeedForward { norm, sub_norm, linears: [saved_gate, saved_up, saved_down], gate, up })
    }

    /// Records the backward pass, which computes the gradients of the adapters. `dh` is the gradient of the residual
    /// stream after the feed-forward block. Returns the buffer with the gradient of the residual stream before the
    /// block.
    pub fn backward(
        &self,
        recording: &mut Recording,
        batch: &Batch,
        dh: BufferId,
        saved: SavedFeedForward,
        streams: &mut DitherStreams,
    ) -> BufferId {
        let (name, tokens) = (&self.name, batch.tokens);
        let [saved_gate, saved_up, saved_down] = saved.linears;
        let dy = quantize_gradient(recording, batch, name, dh, self.width, streams);
        let dn = recording.scratch(format!("{name}.dn"), tokens * (self.ffn_width + INFO));
        self.down.backward(recording, batch, dy, saved_down, Some((dn, 0, 1)), streams);
        let dhidden = self.sub_norm.backward(recording, batch, (dn, 1), saved.sub_norm, None);

        let dgate = rows(recording, format!("{name}.dgate"), tokens, wide_words(self.ffn_width));
        let dup = rows(recording, format!("{name}.dup"), tokens, wide_words(self.ffn_width));
        let params = gated_relu_squared_backward::Params {
            tokens: tokens as u32,
            width: self.ffn_width as u32,
            gate_stream: streams.add(format!("{name}.dgate")),
            up_stream: streams.add(format!("{name}.dup")),
            ..Default::default()
        };
        let buffers = [dhidden, saved.gate, saved.up, batch.dither, dgate.data, dgate.info, dup.data, dup.info];
        let label = format!("{name} relu² backward");
        recording.dispatch(label, &gated_relu_squared_backward::KERNEL, params.words(), &buffers);

        let dx = recording.scratch(format!("{name}.dx"), tokens * 2 * (self.width + INFO));
        self.gate.backward(recording, batch, dgate, saved_gate, Some((dx, 0, 2)), streams);
        self.up.backward(recording, batch, dup, saved_up, Some((dx, 1, 2)), streams);
        self.norm.backward(recording, batch, (dx, 2), saved.norm, Some(dh))
    }

    /// Returns the block's three linear layers with their names, in the order gate, up, down.
    pub fn linears(&self) -> [(Linear, &RecordedLinear); 3] {
        [(Linear::Gate, &self.gate), (Linear::Up, &self.up), (Linear::Down, &self.down)]
    }
}
