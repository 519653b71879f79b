//! A local training session: optimizer steps of one adapter on chunks.

use super::{
    optimizer::{Optimizer, StepReport},
    step::{ChunkGradient, Trainer, nats},
};
use crate::{
    error::Error,
    numbers::lora::{GradientMatrix, LoraAdapter},
};

/// Exponent of accumulated gradients, which are integers of magnitude below 2^62 in units of 2^-40. So a gradient's
/// value must be below 2^22.
pub const JOB_EXPONENT: i32 = -40;

/// An adapter, its optimizer, and the trainer that computes gradients.
pub struct TrainingSession {
    trainer: Trainer,
    adapter: LoraAdapter,
    optimizer: Optimizer,
    dither: [u8; 32],
}

/// The outcome of one step.
#[derive(Clone, Copy, Debug)]
pub struct SessionStep {
    /// Mean loss before the step, in nats per token.
    pub loss: f64,
    /// Number of tokens with a label.
    pub supervised: usize,
    /// Report of the optimizer, or `None` if a value saturated and the step was skipped.
    pub report: Option<StepReport>,
}

impl TrainingSession {
    /// Continues training from an adapter and an optimizer. `dither` keys the stochastic rounding.
    pub fn new(trainer: Trainer, adapter: LoraAdapter, optimizer: Optimizer, dither: [u8; 32]) -> Self {
        Self { trainer, adapter, optimizer, dither }
    }

    /// Takes one optimizer step along the summed gradient of the given chunks. If a value saturates, the step is
    /// skipped.
    pub async fn step(&mut self, chunks: &[&[u32]]) -> Result<SessionStep, Error> {
        self.load().await?;
        let mut sum: Option<ChunkGradient> = None;
        for (i, chunk) in chunks.iter().enumerate() {
            let number = self.optimizer.steps() * chunks.len() as u64 + i as u64;
            let gradient = self.trainer.gradient(chunk, &self.dither, number).await?;
            sum = Some(match sum {
                None => gradient,
                Some(sum) => sum.plus(gradient)?,
            });
        }
        let sum = sum.ok_or(Error::Value { what: "chunks of a step", value: 0 })?;
        let (loss, supervised) = (sum.mean_loss(), sum.supervised);
        let report = match sum.saturated {
            true => None,
            false => Some(self.optimizer.step(&mut self.adapter, &sum.matrices, supervised as u64)?),
        };
        Ok(SessionStep { loss, supervised, report })
    }

    /// Returns the mean loss of the given chunks, in nats per token.
    pub async fn evaluate(&mut self, chunks: &[&[u32]]) -> Result<f64, Error> {
        self.load().await?;
        let (mut loss, mut supervised) = (0, 0);
        for chunk in chunks {
            loss += self.trainer.evaluate(chunk).await?.0;
            supervised += chunk.len() - 1;
        }
        Ok(nats(loss, supervised))
    }

    async fn load(&mut self) -> Result<(), Error> {
        let exponents = vec![JOB_EXPONENT; self.adapter.matrices.len()];
        self.trainer.load(&self.adapter, &exponents).await
    }

    /// Returns the current adapter.
    pub fn adapter(&self) -> &LoraAdapter {
        &self.adapter
    }

    /// Returns the current optimizer.
    pub fn optimizer(&self) -> &Optimizer {
        &self.optimizer
    }
}

impl ChunkGradient {
    /// Returns the sum of two gradients. It has the same bits in either order.
    pub fn plus(mut self, other: Self) -> Result<Self, Error> {
        for (a, b) in self.matrices.iter_mut().zip(&other.matrices) {
            add_matrix(a, b)?;
        }
        self.loss += other.loss;
        self.supervised += other.supervised;
        self.saturated |= other.saturated;
        Ok(self)
    }
}

fn add_matrix(a: &mut GradientMatrix, b: &GradientMatrix) -> Result<(), Error> {
    if (&a.name, a.values.len(), a.exponent) != (&b.name, b.values.len(), b.exponent) {
        return Err(Error::Shape { what: "gradients to add", expected: a.values.len(), found: b.values.len() });
    }
    for (a, b) in a.values.iter_mut().zip(&b.values) {
        *a = a.checked_add(*b).ok_or(Error::Value { what: "summed gradient", value: *a })?;
    }
    Ok(())
}
