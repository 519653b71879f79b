//! Golden digests, which every backend must reproduce. One is the SHA-256 hash of the results of a small training step,
//! and the other covers a training run of a hundred steps.

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

/// The digests of the results that one backend computes for two small test models. They are equal to [`GOLDEN`] if the
/// backend computes correctly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digests {
    /// The digest of one training step: the SHA-256 hash of the loss, the saturation flag and the gradient of one
    /// chunk. In this step, both LoRA factors of the adapter (a and b) are nonzero.
    pub step: [u8; 32],
    /// The digest of a training run: the SHA-256 hash of the losses of [`RUN_STEPS`] steps with the optimizer AdamW,
    /// and of the adapter after these steps.
    pub run: [u8; 32],
}

/// The number of training steps whose results the digest [`Digests::run`] covers.
pub const RUN_STEPS: u64 = 100;

/// The digests that every backend must reproduce.
pub const GOLDEN: Digests = Digests {
    step: hex("76b9d36815f1f991442ab830a3f0c1e23f5291073843cc8acc6fbab54f1f990a"),
    run: hex("d748ecab157d53d38c8d43da111e52f7de88f8e662fd82bd95235dada780e4ca"),
};

/// Returns the config of a small model. Its sizes are not multiples of the sizes of blocks, words and tiles, so that
/// kernels must also handle incomplete blocks, words and tiles.
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

/// The index, counted from 0, of the training step whose digest is [`Digests::step`]. It is not step 0, because in step
/// 0 the factors b of the adapter are still zero, and the gradients of the factors a are therefore zero, too. Step 0
/// sets the factors b to values other than zero.
const STEP: u64 = 1;
/// The config of the model with which [`Digests::step`] is computed: two layers, and a context of 37 tokens.
const STEP_CONFIG: ModelConfig = config(2, 37);
/// The number of tokens in the chunk with which [`Digests::step`] is computed.
const STEP_TOKENS: u32 = 90;

/// Computes both digests. The backend computes `sequences` sequences at a time. This number does not affect the
/// digests.
pub async fn digests(backend: &Backend, sequences: usize) -> Result<Digests, Error> {
    Ok(Digests { step: step_digest(backend, sequences).await?, run: run_digest(backend, sequences).await? })
}

/// Computes the digest [`Digests::step`]. The model has two layers. The chunk has 90 tokens, and is divided into
/// sequences of at most 37 tokens.
pub async fn step_digest(backend: &Backend, sequences: usize) -> Result<[u8; 32], Error> {
    Ok(digest(&Training::before_golden_step(backend, sequences).await?.step(STEP).await?))
}

/// Returns the trace of the training step whose digest is [`Digests::step`]: for each dispatch (kernel launch), a
/// digest of its output.
///
/// All earlier steps run on the reference kernels, so the traced step has the same input on every backend. Suppose that
/// the traces of two backends differ. The first dispatch with different digests then had the same, correct input on
/// both backends, so one of them has computed this dispatch wrongly.
pub async fn step_trace(backend: &Backend, sequences: usize) -> Result<Vec<Traced>, Error> {
    let scalar = Backend::Cpu { threads: 1, kernels: cpu::scalar };
    let Training { adapter, .. } = Training::before_golden_step(&scalar, sequences).await?;
    let mut training = Training { adapter, ..Training::new(backend, sequences, STEP_CONFIG, STEP_TOKENS).await? };
    training.load().await?;
    Ok(training.trainer.traced_gradient(&training.chunk, &SEED, STEP).await?.1)
}

/// Computes the digest [`Digests::run`]. The model has one layer. The chunk has 16 tokens, and is divided into
/// sequences of at most 9 tokens. These sizes are so small that a software GPU needs only minutes.
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

/// A training run, in which every step uses the same chunk.
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
        let trainer = Trainer::prepare(step, backend).await?;
        let adapter = LoraAdapter::seeded(RANK, 8, &targets.shapes(&config), SEED)?;
        // a periodic text, so that training reduces the loss
        let chunk = (0..tokens).map(|i| threefry([1, 2], [i % 23, 0])[0] % config.vocab as u32).collect();
        let settings = Settings { learning_rate: 0.003, ..Settings::ADAMW };
        let optimizer = Optimizer::new(settings, &adapter)?;
        Ok(Self { trainer, adapter, optimizer, chunk })
    }

    /// Returns a training run that has taken all steps before the one whose digest is [`Digests::step`].
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

/// Returns the SHA-256 hash of a chunk's loss, its saturation flag and its gradient. The matrices of the gradient are
/// in the adapter's order, and all integers are little-endian.
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
