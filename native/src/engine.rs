//! The engine: a task becomes its artifact; and the job that a model's tasks are of.

use anyhow::Result;
use pollster::block_on;
use r3mes_wgpu::{
    ARITHMETIC_VERSION,
    compute::Backend,
    model::{manifest::model_manifest, transformer::Targets, weights::Model},
    numbers::lora::LoraAdapter,
    protocol::{AdapterState, Artifact, Job, MatrixSpec, Task, TaskKind, Transport},
    store::Fetch,
    training::{
        optimizer::{Optimizer, Settings},
        session::JOB_EXPONENT,
        worker::Worker,
    },
};
use std::sync::{Mutex, MutexGuard};

/// Numerator of the adapter's scaling, per rank: the scaling is 2.
const ALPHA_PER_RANK: u32 = 2;

/// A [`Worker`] that several threads may ask, one at a time.
pub(crate) struct Engine(Mutex<Worker>);

impl Engine {
    /// Records the step and allocates it; `sequences` a play changes no bit.
    pub(crate) fn new(model: &Model, targets: &Targets, backend: &Backend, sequences: usize) -> Result<Self> {
        Ok(Self(Mutex::new(block_on(Worker::new(model, targets, backend, sequences))?)))
    }

    /// The artifact of a task whose adapter and chunk are among `blocks`.
    pub(crate) fn compute(&self, task: &Task, blocks: Fetch) -> Result<Artifact> {
        Ok(block_on(self.worker().compute(task, blocks))?)
    }

    fn worker(&self) -> MutexGuard<'_, Worker> {
        self.0.lock().unwrap_or_else(|poisoned| {
            let mut worker = poisoned.into_inner();
            worker.unload_adapter();
            worker
        })
    }
}

/// The job of training all of `targets` on a model, and the adapter that it starts from.
pub(crate) fn job(model: &Model, targets: &Targets, settings: Settings, seed: [u8; 32]) -> Result<(Job, AdapterState)> {
    let alpha = ALPHA_PER_RANK * targets.rank as u32;
    let adapter = LoraAdapter::seeded(targets.rank, alpha, &targets.shapes(&model.config), seed)?;
    let matrices = adapter.matrices.iter().map(|matrix| MatrixSpec {
        name: matrix.name.clone(),
        rows: matrix.rows as u32,
        columns: matrix.columns as u32,
        exponent: JOB_EXPONENT,
    });
    let job = Job {
        arithmetic_version: ARITHMETIC_VERSION,
        model: model_manifest(model)?.cid(),
        rank: targets.rank as u32,
        targets: targets.linears.iter().map(|linear| linear.name().to_owned()).collect(),
        matrices: matrices.collect(),
        kind: TaskKind::Gradient,
        transport: Transport::Int8,
    };
    let optimizer = Optimizer::new(settings, &adapter)?.to_bytes();
    Ok((job, AdapterState { adapter, optimizer }))
}
