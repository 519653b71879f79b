//! A worker turns tasks of one model into artifacts on one backend: what miners and verifiers do.

use crate::{
    ARITHMETIC_VERSION,
    compute::{Backend, YieldHook},
    error::Error,
    model::{
        manifest::model_manifest,
        transformer::{Step, Targets},
        weights::Model,
    },
    protocol::{AdapterState, Artifact, CHUNK_TOKENS, Chunk, Gradient, MatrixSpec, Task, WorkError, leaf::leaf},
    store::{Cid, Fetch},
    training::step::{ChunkGradient, Trainer},
};
use std::sync::Arc;

/// Why a task was not computed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// A task by other rules than this program's.
    #[error("the task is of arithmetic version {0}, this program of {ARITHMETIC_VERSION}")]
    Version(u32),
    /// A task about a model that is not loaded.
    #[error("the task is about model {asked}, not {loaded}")]
    Model {
        /// The task's.
        asked: Cid,
        /// The worker's.
        loaded: Box<Cid>,
    },
    /// The chunk or the adapter is missing, altered or of another form.
    #[error(transparent)]
    Work(#[from] WorkError),
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] Error),
}

/// A recorded step of one model in one backend's memory.
pub struct Worker {
    model: Cid,
    vocab: u32,
    trainer: Trainer,
    /// What is uploaded: an adapter, and the job's matrices with their exponents.
    adapter: Option<(Cid, Vec<MatrixSpec>)>,
}

impl Worker {
    /// Records the step and allocates it, for [a few sequences](Backend::sequences) a play, and never more than a chunk
    /// has.
    pub async fn new(model: &Model, targets: &Targets, backend: &Backend, few: usize) -> Result<Self, WorkerError> {
        let sequences = backend.sequences_per_run(few).min(CHUNK_TOKENS.div_ceil(model.config.context));
        let step = Step::new(model, targets, sequences);
        let executor = backend.executor(&Arc::new(step.recording.clone())).await?;
        let manifest = model_manifest(model).map_err(WorkError::from)?;
        let vocab = model.config.vocab as u32;
        Ok(Self { model: manifest.cid(), vocab, trainer: Trainer::new(step, executor), adapter: None })
    }

    /// The artifact of a task whose adapter and chunk are among `blocks`.
    pub async fn compute(&mut self, task: &Task, blocks: Fetch<'_>) -> Result<Artifact, WorkerError> {
        artifact(task, self.gradient(task, blocks).await?.as_ref())
    }

    /// The exact gradient of a task; `None` where something saturates.
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

    /// [`Self::compute`], with one linear, drawn by the task's key, audited as
    /// [`Executor::audit`](crate::compute::Executor::audit) says, so that a reference that is wrong is not confirmed by itself.
    pub async fn audit(&mut self, task: &Task, blocks: Fetch<'_>) -> Result<Artifact, WorkerError> {
        Ok(self.attest(task, &[0; 32], blocks).await?.0)
    }

    /// [`Self::audit`], and the [`leaf`] that a selector names; none of a void.
    pub async fn attest(
        &mut self,
        task: &Task,
        selector: &[u8; 32],
        blocks: Fetch<'_>,
    ) -> Result<(Artifact, Option<[u8; 32]>), WorkerError> {
        let [a, b, c, d, e, f, g, h, ..] = task.key();
        self.trainer.audit(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
        let gradient = self.gradient(task, blocks).await?;
        let leaf = gradient.as_ref().and_then(|gradient| leaf(&gradient.matrices, selector));
        Ok((artifact(task, gradient.as_ref())?, leaf))
    }

    /// As [`Executor::set_yield_hook`](crate::compute::Executor::set_yield_hook).
    pub fn set_yield_hook(&mut self, rest: YieldHook) {
        self.trainer.set_yield_hook(rest);
    }

    /// Lets go of what is uploaded, after an error that may have left it half-written.
    pub fn forget(&mut self) {
        self.adapter = None;
    }
}

fn artifact(task: &Task, gradient: Option<&Gradient>) -> Result<Artifact, WorkerError> {
    Ok(match gradient {
        Some(gradient) => Artifact::gradient(task, gradient)?,
        None => Artifact::void(task),
    })
}
