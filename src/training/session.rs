//! A local training session, which trains one adapter on chunks of tokens without a network.

use super::{
    optimizer::{Optimizer, StepReport},
    saturation::Saturation,
    step::{ChunkGradient, Trainer, nats},
};
use crate::{
    error::Error,
    numbers::lora::{GradientMatrix, LoraAdapter},
};

/// The exponent of accumulated gradients: their elements are stored as integers in units of 2^-40. The magnitude of
/// these integers must be below 2^62, so elements of magnitude 2^22 or more cannot be stored.
pub const JOB_EXPONENT: i32 = -40;

/// A training session: an adapter, its optimizer, and the trainer that computes the adapter's gradients.
pub struct TrainingSession {
    trainer: Trainer,
    adapter: LoraAdapter,
    optimizer: Optimizer,
    dither: [u8; 32],
}

/// The results of one step of a training session.
#[derive(Clone, Copy, Debug)]
pub struct SessionStep {
    /// The mean loss of the step's chunks before the adapter was updated, in nats per token.
    pub loss: f64,
    /// The number of tokens that have a label and therefore enter the loss.
    pub supervised: usize,
    /// The optimizer's report about the step. `None` if a value saturated; in this case, the adapter was not updated.
    pub report: Option<StepReport>,
}

impl TrainingSession {
    /// Starts a session that continues the training of `adapter` with `optimizer`. The key `dither` determines the
    /// pseudo-random bits of the stochastic rounding.
    pub fn new(trainer: Trainer, adapter: LoraAdapter, optimizer: Optimizer, dither: [u8; 32]) -> Self {
        Self { trainer, adapter, optimizer, dither }
    }

    /// Takes one optimizer step with the mean gradient of the given chunks. If a value saturates (leaves the range of
    /// its number format), the adapter is not updated. Returns an error if `chunks` is empty.
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

    /// Finds out in which kernel launch a value first leaves the range of its number format during a step with the
    /// given chunks, and whether the cause is the model or the adapter. Returns `None` if no value leaves its range.
    pub async fn explain_saturation(&mut self, chunks: &[&[u32]]) -> Result<Option<Saturation>, Error> {
        self.load().await?;
        for (i, chunk) in chunks.iter().enumerate() {
            let number = self.optimizer.steps() * chunks.len() as u64 + i as u64;
            let found = self.trainer.explain_saturation(&self.adapter, chunk, &self.dither, number).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Returns the mean loss of the given chunks with the current adapter, in nats per token. Returns `None` if a value
    /// saturates (leaves the range of its number format), because the loss is then meaningless.
    pub async fn evaluate(&mut self, chunks: &[&[u32]]) -> Result<Option<f64>, Error> {
        self.load().await?;
        let (mut loss, mut supervised) = (0, 0);
        for chunk in chunks {
            let (summed, saturated) = self.trainer.evaluate(chunk).await?;
            if saturated {
                return Ok(None);
            }
            loss += summed;
            supervised += chunk.len() - 1;
        }
        Ok(Some(nats(loss, supervised)))
    }

    async fn load(&mut self) -> Result<(), Error> {
        let exponents = vec![JOB_EXPONENT; self.adapter.matrices.len()];
        self.trainer.load(&self.adapter, &exponents).await
    }

    /// Returns the adapter, as trained so far.
    pub fn adapter(&self) -> &LoraAdapter {
        &self.adapter
    }

    /// Returns the optimizer, with its state after the steps so far.
    pub fn optimizer(&self) -> &Optimizer {
        &self.optimizer
    }
}

impl ChunkGradient {
    /// Returns the sum of two gradients. The order of the two does not affect the sum. Returns an error if two matrices
    /// to be added differ in name, number of elements or exponent, or if a sum exceeds the range of i64.
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
