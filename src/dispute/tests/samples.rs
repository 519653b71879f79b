//! Samples for the tests of disputes: a small task whose training step uses every kernel, and provers that run it.

use crate::{
    compute::{Backend, cpu},
    dispute::prover::{Prover, Replay, Tampering, TaskInputs},
    model::{
        config::{Linear, ModelConfig},
        generator::seeded,
        transformer::Targets,
        weights::Model,
    },
    numbers::{lora::LoraAdapter, rng::threefry},
    protocol::{MatrixSpec, Transport},
    simulation::SmallJob,
};
use pollster::block_on;

/// Returns the configuration of a model with one layer, four query heads and two key/value heads. A sequence has 36
/// tokens. Some kernels process tokens in blocks of 32, so the sequence has one full block and one block of 4 tokens.
pub(super) fn config() -> ModelConfig {
    ModelConfig { context: 36, ..SmallJob::CONFIG }
}

pub(super) fn model() -> Model {
    seeded(config(), [7; 32]).unwrap()
}

pub(super) fn targets() -> Targets {
    Targets { rank: 5, linears: vec![Linear::Query, Linear::Value, Linear::Down] }
}

/// Returns element `at` of the pseudorandom sequence with the key `key`.
pub(super) fn random(key: u32, at: usize) -> u32 {
    threefry([key, 5], [at as u32, 0])[0]
}

/// Returns the inputs of a task whose gradients have the given exponent. The chunk has two sequences, of 36 and of 25
/// tokens. No factor of the adapter is zero.
pub(super) fn material(exponent: i32) -> TaskInputs {
    let shapes = targets().shapes(&config());
    let mut adapter = LoraAdapter::seeded(5, 10, &shapes, [3; 32]).unwrap();
    let mut matrices = Vec::new();
    for (at, matrix) in adapter.matrices.iter_mut().enumerate() {
        for (i, value) in matrix.values.iter_mut().enumerate() {
            *value = (random(at as u32, i) as i32) >> 4;
        }
        matrices.push(MatrixSpec::of(matrix, exponent));
    }
    let tokens = (0..61).map(|at| random(99, at) % config().vocab as u32).collect();
    TaskInputs { adapter, tokens, task_key: [11; 32], matrices, transport: Transport::Int8 }
}

pub(super) fn scalar() -> Backend {
    Backend::Cpu { threads: 1, kernels: cpu::scalar }
}

pub(super) fn replay(model: &Model, material: &TaskInputs) -> Replay {
    block_on(Replay::new(model, &targets(), material, &scalar())).unwrap()
}

pub(super) fn prover(model: &Model, material: &TaskInputs, tampering: Option<Tampering>) -> Prover {
    let mut replay = replay(model, material);
    replay.tampering = tampering;
    block_on(Prover::new(replay)).unwrap()
}
