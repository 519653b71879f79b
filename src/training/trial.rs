//! A trial: training steps of a seeded model, the same everywhere, for benches to time.

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

/// 50.9 M ternary weights: the shape that other trainers publish figures of.
pub const WIDE: ModelConfig = ModelConfig {
    layers: 4,
    width: 1024,
    heads: 16,
    kv_heads: 16,
    head_dim: 64,
    ffn_width: 2816,
    vocab: 512,
    context: 128,
    rope_theta: 10_000,
    norm_epsilon: 1e-5,
    residual_fraction_bits: 16,
};

/// One layer of half the width and half the context, 3.2 M ternary weights: what a GPU in software steps through in
/// seconds.
pub const SMALL: ModelConfig =
    ModelConfig { layers: 1, width: 512, heads: 8, kv_heads: 8, ffn_width: 1408, vocab: 256, context: 64, ..WIDE };

const RANK: usize = 8;
const ALPHA: u32 = 16;
const SEED: [u8; 32] = [42; 32];

/// A model, an adapter of rank 8 on all seven linears, AdamW, and one chunk of one sequence.
pub struct Trial {
    trainer: Trainer,
    adapter: LoraAdapter,
    optimizer: Optimizer,
    chunk: Vec<u32>,
    recording: Arc<Recording>,
}

impl Trial {
    /// Draws the model and lays it out in the backend's memory.
    pub async fn new(config: ModelConfig, backend: &Backend) -> Result<Self, Error> {
        Self::with_model(&seeded(config, SEED)?, backend).await
    }

    /// Of a model at hand.
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

    /// One whole step: adapter in, gradient out, optimizer.
    pub async fn step(&mut self) -> Result<ChunkGradient, Error> {
        self.load().await?;
        let gradient = self.gradient().await?;
        self.update(&gradient)?;
        Ok(gradient)
    }

    /// The first part of a step: the adapter goes into the backend's memory.
    pub async fn load(&mut self) -> Result<(), Error> {
        self.trainer.load(&self.adapter, &vec![JOB_EXPONENT; self.adapter.matrices.len()]).await
    }

    /// The second, all that is done for each chunk of a round: tokens in, gradient out.
    pub async fn gradient(&mut self) -> Result<ChunkGradient, Error> {
        self.trainer.gradient(&self.chunk, &SEED, self.optimizer.steps()).await
    }

    /// The last: the optimizer changes the adapter.
    pub fn update(&mut self, gradient: &ChunkGradient) -> Result<(), Error> {
        self.optimizer.step(&mut self.adapter, &gradient.matrices, gradient.supervised as u64).map(drop)
    }

    /// Tokens of a step.
    pub fn tokens(&self) -> usize {
        self.chunk.len()
    }

    /// What a step plays.
    pub fn recording(&self) -> &Recording {
        &self.recording
    }
}
