//! Golden digests, which every backend must reproduce: the SHA-256 of the result of one small training step, and that
//! of the result of a run of a hundred steps.

use super::{
    optimizer::{Optimizer, Settings},
    session::JOB_EXPONENT,
    step::{ChunkGradient, Trainer},
};
use crate::{
    compute::{Backend, cpu, trace::Traced},
    error::Error,
    model::{
        config::{Linear, ModelConfig},
        generator::seeded,
        transformer::{RecordedStep, Targets},
    },
    numbers::{lora::LoraAdapter, rng::threefry},
};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// The digests that one backend computes for the conformance model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digests {
    /// Digest of the loss and the gradient of one chunk, for an adapter whose factors are not zero.
    pub step: [u8; 32],
    /// Digest of the losses of [`RUN_STEPS`] AdamW steps and of the resulting adapter.
    pub run: [u8; 32],
}

/// The number of steps in the run whose digest is [`Digests::run`].
pub const RUN_STEPS: u64 = 100;

/// The digests that every backend must reproduce.
pub const GOLDEN: Digests = Digests {
    step: hex("76b9d36815f1f991442ab830a3f0c1e23f5291073843cc8acc6fbab54f1f990a"),
    run: hex("d748ecab157d53d38c8d43da111e52f7de88f8e662fd82bd95235dada780e4ca"),
};

/// Returns a model config whose sizes are not multiples of a block, a word or a tile.
const fn config(layers: usize, context: usize) -> ModelConfig {
    ModelConfig {
        layers,
        width: 36,
        heads: 4,
        kv_heads: 2,
        head_dim: 10,
        ffn_width: 70,
        vocab: 40,
        context,
        ..ModelConfig::TINY
    }
}

const RANK: usize = 4;
const SEED: [u8; 32] = *b"r3mes-wgpu conformance model v1.";

/// Index of the step whose digest is [`Digests::step`]. The step before it changes b from its initial zeros.
const STEP: u64 = 1;
/// The model of the step whose digest is [`Digests::step`]; `STEP_TOKENS` is the length of its chunk.
const STEP_CONFIG: ModelConfig = config(2, 37);
const STEP_TOKENS: u32 = 90;

/// Computes both digests, with `sequences` sequences in each run. The number of sequences does not affect the result.
pub async fn digests(backend: &Backend, sequences: usize) -> Result<Digests, Error> {
    Ok(Digests { step: step_digest(backend, sequences).await?, run: run_digest(backend, sequences).await? })
}

/// Computes [`Digests::step`] with a model of two layers and a chunk of 90 tokens in sequences of 37.
pub async fn step_digest(backend: &Backend, sequences: usize) -> Result<[u8; 32], Error> {
    Ok(digest(&Training::before_golden_step(backend, sequences).await?.step(STEP).await?))
}

/// Returns the trace of the step whose digest is [`Digests::step`].
///
/// The steps before it run on the reference kernels, so the first entry that differs from another backend's trace
/// belongs to a dispatch with correct inputs.
pub async fn step_trace(backend: &Backend, sequences: usize) -> Result<Vec<Traced>, Error> {
    let scalar = Backend::Cpu { threads: 1, kernels: cpu::scalar };
    let Training { adapter, .. } = Training::before_golden_step(&scalar, sequences).await?;
    let mut training = Training { adapter, ..Training::new(backend, sequences, STEP_CONFIG, STEP_TOKENS).await? };
    training.load().await?;
    Ok(training.trainer.traced_gradient(&training.chunk, &SEED, STEP).await?.1)
}

/// Computes [`Digests::run`] with a model of one layer and a chunk of 16 tokens in sequences of 9. They are so small
/// that a software GPU needs only minutes.
pub async fn run_digest(backend: &Backend, sequences: usize) -> Result<[u8; 32], Error> {
    let mut training = Training::new(backend, sequences, config(1, 9), 16).await?;
    let mut hash = Sha256::new();
    for number in 0..RUN_STEPS {
        hash.update(training.step(number).await?.loss.to_le_bytes());
    }
    for matrix in &training.adapter.matrices {
        matrix.values.iter().for_each(|value| hash.update(value.to_le_bytes()));
    }
    Ok(hash.finalize().into())
}

/// A training run on one chunk.
struct Training {
    trainer: Trainer,
    adapter: LoraAdapter,
    optimizer: Optimizer,
    chunk: Vec<u32>,
}

impl Training {
    async fn new(backend: &Backend, sequences: usize, config: ModelConfig, tokens: u32) -> Result<Self, Error> {
        let config = config.check()?;
        let targets = Targets { rank: RANK, linears: Linear::ALL.to_vec() };
        let model = seeded(config.clone(), SEED)?;
        let step = RecordedStep::new(&model, &targets, sequences);
        let executor = backend.executor(&Arc::new(step.recording.clone())).await?;
        let trainer = Trainer::new(step, executor);
        let adapter = LoraAdapter::seeded(RANK, 8, &targets.shapes(&config), SEED)?;
        // a periodic text, so that training reduces the loss
        let chunk = (0..tokens).map(|i| threefry([1, 2], [i % 23, 0])[0] % config.vocab as u32).collect();
        let settings = Settings { learning_rate: 0.003, ..Settings::ADAMW };
        let optimizer = Optimizer::new(settings, &adapter)?;
        Ok(Self { trainer, adapter, optimizer, chunk })
    }

    /// Returns a run that has completed all steps before the one whose digest is [`Digests::step`].
    async fn before_golden_step(backend: &Backend, sequences: usize) -> Result<Self, Error> {
        let mut training = Self::new(backend, sequences, STEP_CONFIG, STEP_TOKENS).await?;
        for number in 0..STEP {
            training.step(number).await?;
        }
        Ok(training)
    }

    async fn load(&mut self) -> Result<(), Error> {
        let exponents = vec![JOB_EXPONENT; self.adapter.matrices.len()];
        self.trainer.load(&self.adapter, &exponents).await
    }

    async fn step(&mut self, number: u64) -> Result<ChunkGradient, Error> {
        self.load().await?;
        let gradient = self.trainer.gradient(&self.chunk, &SEED, number).await?;
        self.optimizer.step(&mut self.adapter, &gradient.matrices, gradient.supervised as u64)?;
        Ok(gradient)
    }
}

/// Returns the SHA-256 of a chunk's loss, its saturation flag and its gradient, little-endian, in the adapter's order.
pub fn digest(gradient: &ChunkGradient) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(gradient.loss.to_le_bytes());
    hash.update([u8::from(gradient.saturated)]);
    for matrix in &gradient.matrices {
        matrix.values.iter().for_each(|value| hash.update(value.to_le_bytes()));
    }
    hash.finalize().into()
}

const fn hex(text: &str) -> [u8; 32] {
    let (text, mut bytes, mut at) = (text.as_bytes(), [0; 32], 0);
    while at < 64 {
        let digit = if text[at] < b'a' { text[at] - b'0' } else { text[at] - b'a' + 10 };
        bytes[at / 2] = bytes[at / 2] << 4 | digit;
        at += 1;
    }
    bytes
}
