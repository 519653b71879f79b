//! Creates the job of a network (what all its tasks share, such as the model and the LoRA rank) and the adapter from
//! which training starts.

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

/// The LoRA alpha divided by the LoRA rank. The adapter's output is multiplied by this factor.
const ALPHA_PER_RANK: u32 = 2;

/// Returns the job of training an adapter for the linear layers in `targets`, and the state from which the first round
/// starts. The state consists of a new adapter, generated from `seed`, and of an optimizer with `settings`.
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
