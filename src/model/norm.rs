//! Records the computation of RMSNorm. The norms before linear layers write byte rows (int8), and the norm before the
//! output head writes wide rows (integers of magnitude ≤ 2^14).

use super::{
    config::ModelConfig,
    linear::{Batch, RowBuffers, rows},
    weights::Gain,
};
use crate::{
    compute::recording::{BufferId, Recording},
    kernels::{INFO, rms_norm_backward, rms_norm_quantize, rms_norm_wide, shared::wide::wide_words},
    numbers::{fixed::Scale, ternary::row_words},
};

/// An RMSNorm whose gains are stored in a buffer of a recording (a list of kernel launches).
pub struct Norm {
    name: String,
    width: usize,
    gain: BufferId,
    gain_exponent: i32,
    epsilon: Scale,
}

/// The buffers that the backward pass of a norm needs from the forward pass.
#[derive(Clone, Copy, Debug)]
pub struct SavedNorm {
    x: BufferId,
    info: BufferId,
}

impl Norm {
    /// Adds a buffer with the gains to a recording (a list of kernel launches), and returns the norm. The names of its
    /// buffers and dispatches begin with `name`.
    pub fn new(recording: &mut Recording, name: String, gain: &Gain, config: &ModelConfig) -> Self {
        let width = gain.mantissas.len();
        let words = recording.constant(format!("{name}.gain"), gain.mantissas.clone());
        Self { name, width, gain: words, gain_exponent: gain.exponent, epsilon: config.epsilon() }
    }

    fn inverse_width(&self) -> Scale {
        Scale::new(self.width as u64, 0).reciprocal()
    }

    /// Returns the parameters of the kernels `rms_norm_quantize` and `rms_norm_wide`, as words.
    fn params(&self, batch: &Batch) -> Vec<u32> {
        let inverse_width = self.inverse_width();
        rms_norm_quantize::Params {
            tokens: batch.tokens as u32,
            width: self.width as u32,
            gain_exponent: self.gain_exponent,
            inverse_width: inverse_width.mantissa,
            inverse_width_exponent: inverse_width.exponent,
            epsilon: self.epsilon.mantissa,
            epsilon_exponent: self.epsilon.exponent,
            ..Default::default()
        }
        .words()
    }

    /// Records the RMSNorm of the i32 rows `x`, rounded to byte rows (int8). Returns the byte rows, and the buffers
    /// that the backward pass needs.
    pub fn quantize(&self, recording: &mut Recording, batch: &Batch, x: BufferId) -> (RowBuffers, SavedNorm) {
        let q = rows(recording, format!("{}.q", self.name), batch.tokens, row_words(self.width));
        let info = recording.scratch(format!("{}.norm_info", self.name), batch.tokens * INFO);
        let buffers = [x, self.gain, q.data, q.info, info];
        recording.dispatch(self.name.clone(), &rms_norm_quantize::KERNEL, self.params(batch), &buffers);
        (q, SavedNorm { x, info })
    }

    /// Records the RMSNorm of the i32 rows `x`, rounded to wide rows (integers of magnitude ≤ 2^14). Returns the wide
    /// rows, and the buffers that the backward pass needs.
    pub fn wide(&self, recording: &mut Recording, batch: &Batch, x: BufferId) -> (RowBuffers, SavedNorm) {
        let n = rows(recording, format!("{}.n", self.name), batch.tokens, wide_words(self.width));
        let info = recording.scratch(format!("{}.norm_info", self.name), batch.tokens * INFO);
        let buffers = [x, self.gain, n.data, n.info, info];
        recording.dispatch(self.name.clone(), &rms_norm_wide::KERNEL, self.params(batch), &buffers);
        (n, SavedNorm { x, info })
    }

    /// Records the computation of the gradient of the norm's input, and returns the buffer of this gradient. `dn` holds
    /// `slots` gradients of the norm's output, one from each layer that reads this output; they are summed. If
    /// `residual` is given, it holds the gradient that reaches the norm's input through the residual connection, and is
    /// added to the result.
    pub fn backward(
        &self,
        recording: &mut Recording,
        batch: &Batch,
        (dn, slots): (BufferId, usize),
        saved: SavedNorm,
        residual: Option<BufferId>,
    ) -> BufferId {
        let dx = recording.scratch(format!("{}.dx", self.name), batch.tokens * (self.width + INFO));
        let params = rms_norm_backward::Params {
            tokens: batch.tokens as u32,
            width: self.width as u32,
            slots: slots as u32,
            residual_stride: u32::from(residual.is_some()),
            gain_exponent: self.gain_exponent,
            inverse_width: self.inverse_width().mantissa,
            inverse_width_exponent: self.inverse_width().exponent,
            ..Default::default()
        };
        let zero = || vec![0; self.width + INFO];
        let residual = residual.unwrap_or_else(|| recording.constant(format!("{}.zero", self.name), zero()));
        let buffers = [dn, saved.x, self.gain, saved.info, residual, dx];
        let label = format!("{} backward", self.name);
        recording.dispatch(label, &rms_norm_backward::KERNEL, params.words(), &buffers);
        dx
    }
}
