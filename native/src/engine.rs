//! The engine: a task becomes its artifact, a round's sum the next adapter.

use super::node;
use anyhow::{Context, Result, ensure};
use pollster::block_on;
use r3mes_wgpu::ARITHMETIC_VERSION;
use r3mes_wgpu::backend::Backend;
use r3mes_wgpu::model::{
    lora::LoraAdapter,
    transformer::{Step, Targets},
    weights::Model,
};
use r3mes_wgpu::store::{Cid, Fetch};
use r3mes_wgpu::training::{
    optimizer::{Optimizer, Settings},
    session::JOB_EXPONENT,
    step::Trainer,
};
use r3mes_wgpu::work::{
    AdapterState, Aggregate, Artifact, Chunk, Gradient, Job, Kind, MatrixSpec, Task, Transport, model_manifest,
};
use std::sync::{Arc, Mutex};

/// Numerator of the adapter's scaling, per rank: the scaling is 2.
const ALPHA_PER_RANK: u32 = 2;

/// Computes tasks of one model on one backend.
pub(crate) struct Engine {
    model: Cid,
    vocab: u32,
    trainer: Mutex<Loaded>,
}

struct Loaded {
    trainer: Trainer,
    /// What is uploaded: an adapter, and the job's matrices with their exponents.
    adapter: Option<(Cid, Vec<MatrixSpec>)>,
}

impl Engine {
    /// Records the step and allocates it; `sequences` a play changes no bit.
    pub(crate) fn new(model: &Model, targets: &Targets, backend: &Backend, sequences: usize) -> Result<Self> {
        let step = Step::new(model, targets, sequences);
        let player = block_on(backend.player(&Arc::new(step.recording.clone())))?;
        let trainer = Trainer::new(step, player);
        let trainer = Mutex::new(Loaded { trainer, adapter: None });
        Ok(Self { model: model_manifest(model)?.cid(), vocab: model.config.vocab as u32, trainer })
    }

    /// The artifact of a task whose adapter and chunk are among `blocks`.
    pub(crate) fn compute(&self, task: &Task, blocks: Fetch) -> Result<Artifact> {
        self.gradient(task, blocks, None)
    }

    /// [`Self::compute`], with the linear of that number audited: where the backend is the CPU, the scalar twins
    /// compute it too.
    fn gradient(&self, task: &Task, blocks: Fetch, audited: Option<u64>) -> Result<Artifact> {
        ensure!(
            task.job.arithmetic_version == ARITHMETIC_VERSION,
            "the task is of arithmetic version {}, this program of {ARITHMETIC_VERSION}",
            task.job.arithmetic_version
        );
        ensure!(task.job.model == self.model, "the task is about model {}, not {}", task.job.model, self.model);
        let chunk = Chunk::fetch(&task.chunk, self.vocab, blocks).context("the task's chunk")?;
        let mut loaded = self.trainer.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Loaded { trainer, adapter } = &mut *loaded;
        if adapter.as_ref().is_none_or(|(cid, specs)| *cid != task.adapter || *specs != task.job.matrices) {
            let state = AdapterState::fetch(&task.adapter, blocks).context("the task's adapter")?;
            *adapter = None;
            let exponents: Vec<_> = task.job.matrices.iter().map(|spec| spec.exponent).collect();
            block_on(trainer.load(&state.adapter, &exponents))?;
            *adapter = Some((task.adapter, task.job.matrices.clone()));
        }
        if let Some(number) = audited {
            trainer.audit(number);
        }
        let found = block_on(trainer.gradient(chunk.tokens(), &task.key(), 0))?;
        if found.saturated {
            return Ok(Artifact::void(task));
        }
        let gradient = Gradient { loss: found.loss, tokens: found.supervised as u32, matrices: found.matrices };
        Ok(Artifact::gradient(task, &gradient)?)
    }
}

impl node::Engine for Engine {
    /// Audits one linear, drawn by the task's key, so that a fast twin that is wrong is not confirmed by itself.
    fn recompute(&self, task: &Task, blocks: Fetch) -> Result<Artifact> {
        let [a, b, c, d, e, f, g, h, ..] = task.key();
        self.gradient(task, blocks, Some(u64::from_le_bytes([a, b, c, d, e, f, g, h])))
    }

    fn step(&self, state: &AdapterState, sum: &Aggregate) -> Result<AdapterState> {
        let mut optimizer = Optimizer::from_bytes(&state.optimizer)?;
        let mut adapter = state.adapter.clone();
        optimizer.step(&mut adapter, &sum.matrices, sum.tokens)?;
        Ok(AdapterState { adapter, optimizer: optimizer.to_bytes() })
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
        kind: Kind::Gradient,
        transport: Transport::Int8,
    };
    let optimizer = Optimizer::new(settings, &adapter)?.to_bytes();
    Ok((job, AdapterState { adapter, optimizer }))
}
