//! The settings of the optimizer, with default values for its two methods, AdamW and Lion.

use crate::error::Error;

/// The optimization method: the algorithm that computes the update of a parameter from its gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    /// Adam with decoupled weight decay (Loshchilov and Hutter, 2019). At step `t`, `update = m̂ / (√v̂ + epsilon)`
    /// with `m̂ = m / (1 − beta1^t)` and `v̂ = v / (1 − beta2^t)`, where `m` and `v` are the decaying means of the
    /// gradient and of its square.
    AdamW {
        /// The decay rate of `m`, the mean of the gradient: `0 ≤ beta1 < 1`.
        beta1: f64,
        /// The decay rate of `v`, the mean of the squared gradient: `0 ≤ beta2 < 1`.
        beta2: f64,
        /// A small positive number that is added to `√v̂`, so that the divisor is never 0.
        epsilon: f64,
    },
    /// Lion (Chen et al., 2023). A step computes first `update = sign(beta1·m + (1 − beta1)·g)` and then the next
    /// momentum, `beta2·m + (1 − beta2)·g`. Here, `g` is the gradient and `m` is the momentum.
    Lion {
        /// The weight of the momentum in the update. The gradient has the weight `1 − beta1`.
        beta1: f64,
        /// The decay rate of the momentum: `0 ≤ beta2 < 1`.
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

/// The settings of an optimizer. They are the same for all of its steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// The optimization method and its constants.
    pub method: Method,
    /// The learning rate after the warm-up. From then on, it is constant.
    pub learning_rate: f64,
    /// The number of steps of the warm-up, in which the learning rate rises linearly. 0 means no warm-up.
    pub warmup_steps: u64,
    /// The strength of the decoupled weight decay. Before a step applies its update, it multiplies every parameter by
    /// `1 − learning_rate · weight_decay`.
    pub weight_decay: f64,
    /// The clipping norm. If the Euclidean norm of the mean gradient, over all matrices, exceeds this value, the
    /// gradient is scaled down until its norm has this value.
    pub clip_norm: f64,
}

impl Settings {
    /// The default settings for AdamW. The original R3MES miner uses the same settings.
    pub const ADAMW: Self = Self {
        method: Method::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
        learning_rate: 1e-4,
        warmup_steps: 0,
        weight_decay: 0.01,
        clip_norm: 1.0,
    };

    /// The default settings for Lion. The betas come from the Lion paper. As the paper advises, the learning rate is
    /// about a third of the one for AdamW, and the weight decay is three times as high.
    pub const LION: Self = Self {
        method: Method::Lion { beta1: 0.9, beta2: 0.99 },
        learning_rate: 3e-5,
        warmup_steps: 0,
        weight_decay: 0.03,
        clip_norm: 1.0,
    };

    /// Returns the learning rate of the step with the number `step`. The first step has the number 1.
    pub fn learning_rate_at(&self, step: u64) -> f64 {
        if step >= self.warmup_steps {
            return self.learning_rate;
        }
        self.learning_rate * (step as f64 / self.warmup_steps as f64)
    }

    /// Checks that every setting is within its permitted range. Within these ranges, no step produces an infinity or
    /// NaN.
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
