//! The worker, which computes the artifacts of tasks. Miners use it to compute gradients, and verifiers to recompute
//! them.

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
    training::{
        saturation::Saturation,
        step::{ChunkGradient, Trainer},
    },
};

/// Error returned when a task cannot be computed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The task requires an arithmetic version that this program does not implement. The field is the required version.
    #[error("the task requires arithmetic version {0}, but this program implements version {ARITHMETIC_VERSION}")]
    Version(u32),
    /// The task is for a model other than the loaded one.
    #[error("the task is for model {asked}, but the loaded model is {loaded}")]
    Model {
        /// The model root of the task, which is the CID of the required model's manifest.
        asked: Cid,
        /// The model root of the loaded model, which is the CID of its manifest.
        loaded: Box<Cid>,
    },
    /// The chunk or the adapter of the task is missing, altered or malformed.
    #[error(transparent)]
    Work(#[from] ProtocolError),
    /// The backend failed while it computed the task.
    #[error(transparent)]
    Backend(#[from] Error),
}

/// Computes tasks for one model on one backend, by running a recorded training step.
pub struct Worker {
    model: Cid,
    vocab: u32,
    trainer: Trainer,
    /// The CID of the uploaded adapter, and the specs (name, shape and exponent) of the job's gradient matrices. Their
    /// exponents were uploaded with the adapter. `None` if no adapter is uploaded.
    adapter: Option<(Cid, Vec<MatrixSpec>)>,
}

impl Worker {
    /// Records the training step of a model, and allocates the memory for it. One run computes at most `max_sequences`
    /// sequences of a chunk. On a hardware GPU, this limit does not apply, and one run computes all sequences of a
    /// chunk (see [`Backend::sequences_per_run`]).
    pub async fn new(
        model: &Model,
        targets: &Targets,
        backend: &Backend,
        max_sequences: usize,
    ) -> Result<Self, WorkerError> {
        let sequences = backend.sequences_per_run(max_sequences).min(CHUNK_TOKENS.div_ceil(model.config.context));
        let step = RecordedStep::new(model, targets, sequences);
        let trainer = Trainer::prepare(step, backend).await?;
        let manifest = model_manifest(model).map_err(ProtocolError::from)?;
        let vocab = model.config.vocab as u32;
        Ok(Self { model: manifest.cid(), vocab, trainer, adapter: None })
    }

    /// Computes the artifact of a task. The function `blocks` returns the data blocks of the task's adapter and chunk.
    pub async fn compute(&mut self, task: &Task, blocks: Fetch<'_>) -> Result<Artifact, WorkerError> {
        artifact(task, self.gradient(task, blocks).await?.as_ref())
    }

    /// Computes the exact gradient of a task. Returns `None` if a value saturates (leaves the range of its number
    /// format).
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

    /// Finds out where a value first leaves the range of its number format when the gradient of a task is computed, and
    /// whether the cause is the model or the adapter. Returns `None` if no value leaves its range.
    pub async fn explain_saturation(
        &mut self,
        task: &Task,
        blocks: Fetch<'_>,
    ) -> Result<Option<Saturation>, WorkerError> {
        if self.gradient(task, blocks).await?.is_some() {
            return Ok(None);
        }
        let adapter = AdapterState::fetch(&task.adapter, blocks)?.adapter;
        let chunk = Chunk::fetch(&task.chunk, self.vocab, blocks)?;
        Ok(self.trainer.explain_saturation(&adapter, chunk.tokens(), &task.key(), 0).await?)
    }

    /// Computes the artifact of a task, and audits one linear layer, which the task key selects. The audit compares the
    /// results of the layer's dispatches with those of the reference kernels; see
    /// [`Executor::audit`](crate::compute::Executor::audit).
    ///
    /// The audit detects an optimized kernel that computes wrong results. Without an audit, a verifier that uses the
    /// same kernel would confirm the wrong results.
    pub async fn audit(&mut self, task: &Task, blocks: Fetch<'_>) -> Result<Artifact, WorkerError> {
        Ok(self.attest(task, &[0; 32], blocks).await?.0)
    }

    /// Computes the artifact of a task, and compares the results of one linear layer with those of the reference
    /// kernels, like [`Self::audit`]. Also returns the attestation leaf: the hash of one tile of the exact gradient.
    /// `selector` determines which tile is hashed (see [`attestation_leaf()`]). The leaf is `None` if a value saturates
    /// (leaves the range of its number format).
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

    /// Sets the hook that the executor calls after each slice of work; see
    /// [`Executor::set_yield_hook`](crate::compute::Executor::set_yield_hook).
    pub fn set_yield_hook(&mut self, hook: YieldHook) {
        self.trainer.set_yield_hook(hook);
    }

    /// Marks the adapter as not uploaded, so that the next task uploads it again. Call this after an error, which may
    /// have left the adapter partly written.
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
