//! The worker: computes the artifacts of tasks, for miners and verifiers.

use crate::{
    ARITHMETIC_VERSION,
    compute::{Backend, YieldHook},
    error::Error,
    model::{
        manifest::model_manifest,
        transformer::{RecordedStep, Targets},
        weights::Model,
    },
    protocol::{
        AdapterState, Artifact, CHUNK_TOKENS, Chunk, Gradient, MatrixSpec, ProtocolError, Task, attestation_leaf,
    },
    store::{Cid, Fetch},
    training::step::{ChunkGradient, Trainer},
};
use std::sync::Arc;

/// The reasons for which a task cannot be computed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The task requires another arithmetic version.
    #[error("the task requires arithmetic version {0}, but this program implements version {ARITHMETIC_VERSION}")]
    Version(u32),
    /// The task is for a model that is not loaded.
    #[error("the task is for model {asked}, but the loaded model is {loaded}")]
    Model {
        /// Model root of the task's model.
        asked: Cid,
        /// Model root of the loaded model.
        loaded: Box<Cid>,
    },
    /// The chunk or the adapter is missing, altered or malformed.
    #[error(transparent)]
    Work(#[from] ProtocolError),
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] Error),
}

/// A recorded training step of one model on one backend.
pub struct Worker {
    model: Cid,
    vocab: u32,
    trainer: Trainer,
    /// The CID of the uploaded adapter, and the matrices of the job for whose exponents it was uploaded.
    adapter: Option<(Cid, Vec<MatrixSpec>)>,
}

impl Worker {
    /// Records the step and allocates its memory. One run computes `max_sequences` sequences, or on a hardware GPU as
    /// many as it can (see [`Backend::sequences_per_run`]), but at most as many as a chunk has.
    pub async fn new(
        model: &Model,
        targets: &Targets,
        backend: &Backend,
        max_sequences: usize,
    ) -> Result<Self, WorkerError> {
        let sequences = backend.sequences_per_run(max_sequences).min(CHUNK_TOKENS.div_ceil(model.config.context));
        let step = RecordedStep::new(model, targets, sequences);
        let executor = backend.executor(&Arc::new(step.recording.clone())).await?;
        let manifest = model_manifest(model).map_err(ProtocolError::from)?;
        let vocab = model.config.vocab as u32;
        Ok(Self { model: manifest.cid(), vocab, trainer: Trainer::new(step, executor), adapter: None })
    }

    /// Computes the artifact of a task. The task's adapter and chunk are read from `blocks`.
    pub async fn compute(&mut self, task: &Task, blocks: Fetch<'_>) -> Result<Artifact, WorkerError> {
        artifact(task, self.gradient(task, blocks).await?.as_ref())
    }

    /// Computes the exact gradient of a task, or `None` if a value saturates.
    async fn gradient(&mut self, task: &Task, blocks: Fetch<'_>) -> Result<Option<Gradient>, WorkerError> {
        if task.job.arithmetic_version != ARITHMETIC_VERSION {
            return Err(WorkerError::Version(task.job.arithmetic_version));
        }
        if task.job.model != self.model {
            return Err(WorkerError::Model { asked: task.job.model, loaded: self.model.into() });
        }
        let chunk = Chunk::fetch(&task.chunk, self.vocab, blocks)?;
        if self.adapter.as_ref().is_none_or(|(cid, specs)| *cid != task.adapter || *specs != task.job.matrices) {
            let state = AdapterState::fetch(&task.adapter, blocks)?;
            self.adapter = None;
            let exponents: Vec<_> = task.job.matrices.iter().map(|spec| spec.exponent).collect();
            self.trainer.load(&state.adapter, &exponents).await?;
            self.adapter = Some((task.adapter, task.job.matrices.clone()));
        }
        let found = self.trainer.gradient(chunk.tokens(), &task.key(), 0).await?;
        let ChunkGradient { loss, supervised, matrices, saturated, .. } = found;
        Ok((!saturated).then_some(Gradient { loss, tokens: supervised as u32, matrices }))
    }

    /// Computes as [`Self::compute`] does, and audits one linear, selected by the task's key, with
    /// [`Executor::audit`](crate::compute::Executor::audit).
    ///
    /// The audit detects an optimized kernel that computes wrong results. Without it, a verifier with the same kernel
    /// would confirm them.
    pub async fn audit(&mut self, task: &Task, blocks: Fetch<'_>) -> Result<Artifact, WorkerError> {
        Ok(self.attest(task, &[0; 32], blocks).await?.0)
    }

    /// Computes as [`Self::audit`] does, and also returns the [attestation leaf](attestation_leaf()) of the tile that
    /// `selector` selects, or `None` if the artifact is void.
    pub async fn attest(
        &mut self,
        task: &Task,
        selector: &[u8; 32],
        blocks: Fetch<'_>,
    ) -> Result<(Artifact, Option<[u8; 32]>), WorkerError> {
        let [a, b, c, d, e, f, g, h, ..] = task.key();
        self.trainer.audit(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
        let gradient = self.gradient(task, blocks).await?;
        let leaf = gradient.as_ref().and_then(|gradient| attestation_leaf(&gradient.matrices, selector));
        Ok((artifact(task, gradient.as_ref())?, leaf))
    }

    /// Sets the executor's yield hook, as [`Executor::set_yield_hook`](crate::compute::Executor::set_yield_hook) does.
    pub fn set_yield_hook(&mut self, hook: YieldHook) {
        self.trainer.set_yield_hook(hook);
    }

    /// Marks the adapter as not uploaded. Call this after an error, which may have left it partly written.
    pub fn unload_adapter(&mut self) {
        self.adapter = None;
    }
}

fn artifact(task: &Task, gradient: Option<&Gradient>) -> Result<Artifact, WorkerError> {
    Ok(match gradient {
        Some(gradient) => Artifact::gradient(task, gradient)?,
        None => Artifact::void(task),
    })
}
