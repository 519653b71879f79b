//! Golden digests: a small step and a hundred of them, whose SHA-256 is the same wherever they run.

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
        transformer::{Step, Targets},
    },
    numbers::{lora::LoraAdapter, rng::threefry},
};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// What a backend makes of the conformance model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digests {
    /// Of the loss and the gradient of one chunk, adapter away from zero.
    pub step: [u8; 32],
    /// Of the losses and the adapter of [`RUN_STEPS`] AdamW steps.
    pub run: [u8; 32],
}

/// Steps of a run.
pub const RUN_STEPS: u64 = 100;

/// What every backend must make.
pub const GOLDEN: Digests = Digests {
    step: hex("76b9d36815f1f991442ab830a3f0c1e23f5291073843cc8acc6fbab54f1f990a"),
    run: hex("d748ecab157d53d38c8d43da111e52f7de88f8e662fd82bd95235dada780e4ca"),
};

/// Sizes that are no multiple of a block, a word or a tile.
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
        rope_theta: 10_000,
        norm_epsilon: 1e-5,
        residual_fraction_bits: 16,
    }
}

const RANK: usize = 4;
const SEED: [u8; 32] = *b"r3mes-wgpu conformance model v1.";

/// The number of the step that [`Digests::step`] is of: the adapter has left zero by then.
const STEP: u64 = 1;
/// Its model, and the length of its chunk.
const STEP_CONFIG: ModelConfig = config(2, 37);
const STEP_TOKENS: u32 = 90;

/// Both digests. `sequences` a play changes no bit.
pub async fn digests(backend: &Backend, sequences: usize) -> Result<Digests, Error> {
    Ok(Digests { step: step_digest(backend, sequences).await?, run: run_digest(backend, sequences).await? })
}

/// [`Digests::step`]: two layers, 90 tokens in sequences of 37.
pub async fn step_digest(backend: &Backend, sequences: usize) -> Result<[u8; 32], Error> {
    Ok(digest(&Training::of_the_step(backend, sequences).await?.step(STEP).await?))
}

/// The trace of the step that [`Digests::step`] is of. The steps before it are the scalar references', so that the first
/// entry that differs is of a dispatch whose inputs were right.
pub async fn step_trace(backend: &Backend, sequences: usize) -> Result<Vec<Traced>, Error> {
    let scalar = Backend::Cpu { threads: 1, kernels: cpu::scalar };
    let Training { adapter, .. } = Training::of_the_step(&scalar, sequences).await?;
    let mut training = Training { adapter, ..Training::new(backend, sequences, STEP_CONFIG, STEP_TOKENS).await? };
    training.load().await?;
    Ok(training.trainer.traced_gradient(&training.chunk, &SEED, STEP).await?.1)
}

/// [`Digests::run`]: one layer and 16 tokens in sequences of 9, so that software GPUs end in minutes.
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

/// A training on one chunk.
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
        let step = Step::new(&model, &targets, sequences);
        let executor = backend.executor(&Arc::new(step.recording.clone())).await?;
        let trainer = Trainer::new(step, executor);
        let adapter = LoraAdapter::seeded(RANK, 8, &targets.shapes(&config), SEED)?;
        // periodic text, so that there is something to learn
        let chunk = (0..tokens).map(|i| threefry([1, 2], [i % 23, 0])[0] % config.vocab as u32).collect();
        let settings = Settings { learning_rate: 0.003, ..Settings::ADAMW };
        let optimizer = Optimizer::new(settings, &adapter)?;
        Ok(Self { trainer, adapter, optimizer, chunk })
    }

    /// About to take the step that [`Digests::step`] is of.
    async fn of_the_step(backend: &Backend, sequences: usize) -> Result<Self, Error> {
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

/// SHA-256 of a chunk's loss and gradient, little-endian, in the adapter's order.
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
