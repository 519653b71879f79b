//! Creates the job of a model, which all tasks of a network share, and the adapter that training starts from.

use anyhow::Result;
use r3mes_wgpu::{
    ARITHMETIC_VERSION,
    model::{manifest::model_manifest, transformer::Targets, weights::Model},
    numbers::lora::LoraAdapter,
    protocol::{AdapterState, Job, MatrixSpec, TaskKind, Transport},
    training::{
        optimizer::{Optimizer, Settings},
        session::JOB_EXPONENT,
    },
};

/// The adapter's alpha divided by its rank. It is the factor by which the adapter's output is multiplied.
const ALPHA_PER_RANK: u32 = 2;

/// Returns the job of training an adapter of the linears in `targets` on a model, and the state that the first round
/// starts from: a new adapter, generated from `seed`, and an optimizer with `settings`.
pub(crate) fn create(
    model: &Model,
    targets: &Targets,
    settings: Settings,
    seed: [u8; 32],
) -> Result<(Job, AdapterState)> {
    let alpha = ALPHA_PER_RANK * targets.rank as u32;
    let adapter = LoraAdapter::seeded(targets.rank, alpha, &targets.shapes(&model.config), seed)?;
    let job = Job {
        arithmetic_version: ARITHMETIC_VERSION,
        model: model_manifest(model)?.cid(),
        rank: targets.rank as u32,
        targets: targets.linears.iter().map(|linear| linear.name().to_owned()).collect(),
        matrices: adapter.matrices.iter().map(|matrix| MatrixSpec::of(matrix, JOB_EXPONENT)).collect(),
        kind: TaskKind::Gradient,
        transport: Transport::Int8,
    };
    let optimizer = Optimizer::new(settings, &adapter)?.to_bytes();
    Ok((job, AdapterState { adapter, optimizer }))
}
