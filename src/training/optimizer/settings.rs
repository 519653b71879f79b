//! The settings of the optimizer, with the defaults for AdamW and Lion.

use crate::error::Error;

/// The algorithm that computes updates from gradients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    /// Adam with decoupled weight decay (Loshchilov and Hutter, 2019): `update = m̂ / (√v̂ + epsilon)` with `m̂ = m /
    /// (1 − beta1^t)` and `v̂ = v / (1 − beta2^t)` at step t.
    AdamW {
        /// Decay rate of the mean of the gradient.
        beta1: f64,
        /// Decay rate of the mean of the squared gradient.
        beta2: f64,
        /// Positive number that is added to √v̂.
        epsilon: f64,
    },
    /// Lion (Chen et al., 2023): `update = sign(beta1·m + (1 − beta1)·g)`, then `m = beta2·m + (1 − beta2)·g`.
    Lion {
        /// Weight of the momentum in the update.
        beta1: f64,
        /// Decay rate of the momentum.
        beta2: f64,
    },
}

impl Method {
    pub(super) fn betas(self) -> [f64; 2] {
        match self {
            Self::AdamW { beta1, beta2, .. } | Self::Lion { beta1, beta2 } => [beta1, beta2],
        }
    }

    pub(super) fn has_second_moment(self) -> bool {
        matches!(self, Self::AdamW { .. })
    }
}

/// The settings of an optimizer, which do not change between steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// The algorithm and its constants.
    pub method: Method,
    /// Learning rate after the warm-up; constant from then on.
    pub learning_rate: f64,
    /// Steps over which the learning rate rises linearly; 0 for no warm-up.
    pub warmup_steps: u64,
    /// Decoupled weight decay: a step multiplies a parameter by `1 − learning_rate · weight_decay`.
    pub weight_decay: f64,
    /// The largest Euclidean norm of a gradient over all matrices. A gradient with a larger norm is scaled down to it.
    pub clip_norm: f64,
}

impl Settings {
    /// AdamW with the settings of the R3MES miner.
    pub const ADAMW: Self = Self {
        method: Method::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
        learning_rate: 1e-4,
        warmup_steps: 0,
        weight_decay: 0.01,
        clip_norm: 1.0,
    };

    /// Lion with its paper's betas, a third of AdamW's learning rate and three times its weight decay, as the paper
    /// advises.
    pub const LION: Self = Self {
        method: Method::Lion { beta1: 0.9, beta2: 0.99 },
        learning_rate: 3e-5,
        warmup_steps: 0,
        weight_decay: 0.03,
        clip_norm: 1.0,
    };

    /// Returns the learning rate of a step. Steps are counted from 1.
    pub fn learning_rate_at(&self, step: u64) -> f64 {
        if step >= self.warmup_steps {
            return self.learning_rate;
        }
        self.learning_rate * (step as f64 / self.warmup_steps as f64)
    }

    /// Returns an error unless every number is in a range that excludes infinities and NaN in a step.
    pub(super) fn check(&self) -> Result<(), Error> {
        let refuse = |what: &'static str, range: &str, value: f64| {
            Err(Error::Mismatch { what, expected: range.to_owned(), found: value.to_string() })
        };
        for beta in self.method.betas() {
            if !(0.0..1.0).contains(&beta) {
                return refuse("a beta of the optimizer", "0 ≤ beta < 1", beta);
            }
        }
        if let Method::AdamW { epsilon, .. } = self.method
            && !(1e-30..=1.0).contains(&epsilon)
        {
            return refuse("epsilon of the optimizer", "1e-30 to 1", epsilon);
        }
        if !(0.0..=1.0).contains(&self.learning_rate) {
            return refuse("learning rate", "0 to 1", self.learning_rate);
        }
        if !(0.0..=1.0).contains(&self.weight_decay) {
            return refuse("weight decay", "0 to 1", self.weight_decay);
        }
        // the upper limit keeps the square of a clipped gradient within f32; at this limit clipping has practically no
        // effect
        if !(1e-30..=1e15).contains(&self.clip_norm) {
            return refuse("clipping norm", "1e-30 to 1e15", self.clip_norm);
        }
        Ok(())
    }
}
