//! Golden digests: a small step and a hundred of them, whose SHA-256 is the same wherever they run.

use super::{
    optimizer::{Optimizer, Settings},
    session::JOB_EXPONENT,
    step::{ChunkGradient, Trainer},
};
use crate::{
    backend::Backend,
    error::Error,
    model::{
        config::{Linear, ModelConfig},
        generator::seeded,
        lora::LoraAdapter,
        transformer::{Step, Targets},
    },
    rng::threefry,
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
    step: hex("0000000000000000000000000000000000000000000000000000000000000000"),
    run: hex("0000000000000000000000000000000000000000000000000000000000000000"),
};

/// Sizes that are no multiple of a block, a word or a tile.
fn config() -> ModelConfig {
    ModelConfig {
        layers: 2,
        width: 36,
        heads: 4,
        kv_heads: 2,
        head_dim: 10,
        ffn_width: 70,
        vocab: 40,
        context: 37,
        rope_theta: 10_000,
        norm_epsilon: 1e-5,
        residual_fraction_bits: 16,
    }
}

const RANK: usize = 4;
const SEED: [u8; 32] = *b"r3mes-wgpu conformance model v1.";

/// Runs the step and the run. `sequences` a play changes no bit.
pub async fn digests(backend: &Backend, sequences: usize) -> Result<Digests, Error> {
    let config = config().check()?;
    let targets = Targets { rank: RANK, linears: Linear::ALL.to_vec() };
    let model = seeded(config.clone(), SEED)?;
    let step = Step::new(&model, &targets, sequences);
    let shapes = targets.shapes(&config);
    let player = backend.player(&Arc::new(step.recording.clone())).await?;
    let mut trainer = Trainer::new(step, player);
    let mut adapter = LoraAdapter::seeded(RANK, 8, &shapes, SEED)?;
    let exponents = vec![JOB_EXPONENT; adapter.matrices.len()];
    // periodic text, so that there is something to learn
    let chunk: Vec<u32> = (0..90).map(|i| threefry([1, 2], [i % 23, 0])[0] % config.vocab as u32).collect();

    let settings = Settings { learning_rate: 0.003, ..Settings::ADAMW };
    let mut optimizer = Optimizer::new(settings, &adapter)?;
    let mut run = Sha256::new();
    let mut first = None;
    for number in 0..RUN_STEPS {
        trainer.load(&adapter, &exponents).await?;
        let gradient = trainer.gradient(&chunk, &SEED, number).await?;
        run.update(gradient.loss.to_le_bytes());
        optimizer.step(&mut adapter, &gradient.matrices, gradient.supervised as u64)?;
        if number == 1 {
            first = Some(digest(&gradient));
        }
    }
    for matrix in &adapter.matrices {
        matrix.values.iter().for_each(|value| run.update(value.to_le_bytes()));
    }
    Ok(Digests { step: first.unwrap_or_default(), run: run.finalize().into() })
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
