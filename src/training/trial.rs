//! Training steps for benchmarks, which measure how long a step takes. By default, the model of these steps is
//! generated from a fixed seed, so that all machines compute the same steps.

use super::{
    optimizer::{Optimizer, Settings},
    session::JOB_EXPONENT,
    step::{ChunkGradient, Trainer},
};
use crate::{
    compute::{Backend, recording::Recording},
    error::Error,
    model::{
        config::{Linear, ModelConfig},
        generator::seeded,
        transformer::{RecordedStep, Targets},
        weights::Model,
    },
    numbers::lora::LoraAdapter,
};
use std::sync::Arc;

/// A model of 51.4 million ternary weights. Authors of other training programs publish timings for models of this
/// shape.
pub const WIDE: ModelConfig = ModelConfig {
    layers: 4,
    width: 1024,
    heads: 16,
    kv_heads: 16,
    head_dim: 64,
    ffn_width: 2816,
    vocab: 512,
    ..ModelConfig::TINY
};

/// A model of 3.2 million ternary weights: one layer, and half the width and half the context of [`WIDE`]. Even a
/// software GPU needs only seconds for one of its training steps.
pub const SMALL: ModelConfig =
    ModelConfig { layers: 1, width: 512, heads: 8, kv_heads: 8, ffn_width: 1408, vocab: 256, context: 64, ..WIDE };

const RANK: usize = 8;
const ALPHA: u32 = 16;
const SEED: [u8; 32] = [42; 32];

/// Everything that the training step of a benchmark needs: a trainer, an adapter of rank 8 on all seven kinds of linear
/// layers, the optimizer AdamW, and a chunk that consists of one sequence.
pub struct Trial {
    trainer: Trainer,
    adapter: LoraAdapter,
    optimizer: Optimizer,
    chunk: Vec<u32>,
    recording: Arc<Recording>,
}

impl Trial {
    /// Generates a model with the given config, and prepares its training step on a backend.
    pub async fn new(config: ModelConfig, backend: &Backend) -> Result<Self, Error> {
        Self::with_model(&seeded(config, SEED)?, backend).await
    }

    /// Prepares the training step of a given model on a backend.
    pub async fn with_model(model: &Model, backend: &Backend) -> Result<Self, Error> {
        let targets = Targets { rank: RANK, linears: Linear::ALL.to_vec() };
        let adapter = LoraAdapter::seeded(RANK, ALPHA, &targets.shapes(&model.config), SEED)?;
        let optimizer = Optimizer::new(Settings::ADAMW, &adapter)?;
        let step = RecordedStep::new(model, &targets, 1);
        let chunk = (0..step.context as u32).map(|i| i * i * 7 % step.vocab as u32).collect();
        let recording = Arc::new(step.recording.clone());
        let executor = backend.executor(&recording).await?;
        Ok(Self { trainer: Trainer::new(step, executor), adapter, optimizer, chunk, recording })
    }

    /// Runs one complete training step: uploads the adapter, computes the gradient of the chunk, and updates the
    /// adapter.
    pub async fn step(&mut self) -> Result<ChunkGradient, Error> {
        self.load().await?;
        let gradient = self.gradient().await?;
        self.update(&gradient)?;
        Ok(gradient)
    }

    /// Runs the first part of a training step, which uploads the adapter to the backend.
    pub async fn load(&mut self) -> Result<(), Error> {
        self.trainer.load(&self.adapter, &vec![JOB_EXPONENT; self.adapter.matrices.len()]).await
    }

    /// Runs the second part of a training step, which computes the gradient of the chunk. In a round, a miner uploads
    /// the adapter once and repeats only this part for each of its chunks.
    pub async fn gradient(&mut self) -> Result<ChunkGradient, Error> {
        self.trainer.gradient(&self.chunk, &SEED, self.optimizer.steps()).await
    }

    /// Runs the last part of a training step, in which the optimizer updates the adapter.
    pub fn update(&mut self, gradient: &ChunkGradient) -> Result<(), Error> {
        self.optimizer.step(&mut self.adapter, &gradient.matrices, gradient.supervised as u64).map(drop)
    }

    /// Returns the number of tokens that one training step processes.
    pub fn tokens(&self) -> usize {
        self.chunk.len()
    }

    /// Returns the recording of the training step, which lists its dispatches.
    pub fn recording(&self) -> &Recording {
        &self.recording
    }
}
