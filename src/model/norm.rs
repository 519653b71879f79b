//! Records RMSNorm. Its output is byte rows in front of linears, and wide rows in front of the head.

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

/// An RMSNorm whose gains are a buffer of a recording.
pub struct Norm {
    name: String,
    width: usize,
    gain: BufferId,
    gain_exponent: i32,
    epsilon: Scale,
}

/// Buffers of the forward pass that the backward pass of a norm reads.
#[derive(Clone, Copy, Debug)]
pub struct SavedNorm {
    x: BufferId,
    info: BufferId,
}

impl Norm {
    /// Adds the gains to a recording, and returns the norm.
    pub fn new(recording: &mut Recording, name: String, gain: &Gain, config: &ModelConfig) -> Self {
        let width = gain.mantissas.len();
        let words = recording.constant(format!("{name}.gain"), gain.mantissas.clone());
        Self { name, width, gain: words, gain_exponent: gain.exponent, epsilon: config.epsilon() }
    }

    fn inverse_width(&self) -> Scale {
        Scale::new(self.width as u64, 0).reciprocal()
    }

    /// Records the norm of i32 rows x, rounded to byte rows.
    pub fn quantize(&self, recording: &mut Recording, batch: &Batch, x: BufferId) -> (RowBuffers, SavedNorm) {
        let q = rows(recording, format!("{}.q", self.name), batch.tokens, row_words(self.width));
        let info = recording.scratch(format!("{}.norm_info", self.name), batch.tokens * INFO);
        let params = rms_norm_quantize::Params {
            tokens: batch.tokens as u32,
            width: self.width as u32,
            gain_exponent: self.gain_exponent,
            inverse_width: self.inverse_width().mantissa,
            inverse_width_exponent: self.inverse_width().exponent,
            epsilon: self.epsilon.mantissa,
            epsilon_exponent: self.epsilon.exponent,
            ..Default::default()
        };
        let buffers = [x, self.gain, q.data, q.info, info];
        recording.dispatch(self.name.clone(), &rms_norm_quantize::KERNEL, params.words(), &buffers);
        (q, SavedNorm { x, info })
    }

    /// Records the norm of i32 rows x, rounded to wide rows.
    pub fn wide(&self, recording: &mut Recording, batch: &Batch, x: BufferId) -> (RowBuffers, SavedNorm) {
        let n = rows(recording, format!("{}.n", self.name), batch.tokens, wide_words(self.width));
        let info = recording.scratch(format!("{}.norm_info", self.name), batch.tokens * INFO);
        let params = rms_norm_wide::Params {
            tokens: batch.tokens as u32,
            width: self.width as u32,
            gain_exponent: self.gain_exponent,
            inverse_width: self.inverse_width().mantissa,
            inverse_width_exponent: self.inverse_width().exponent,
            epsilon: self.epsilon.mantissa,
            epsilon_exponent: self.epsilon.exponent,
            ..Default::default()
        };
        let buffers = [x, self.gain, n.data, n.info, info];
        recording.dispatch(self.name.clone(), &rms_norm_wide::KERNEL, params.words(), &buffers);
        (n, SavedNorm { x, info })
    }

    /// Records the gradient of x and returns its buffer. The gradient of the norm's output is the sum of the `slots`
    /// gradients in `dn`. The gradient of the residual is added to the result if `residual` is given.
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
