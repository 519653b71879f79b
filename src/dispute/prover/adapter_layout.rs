//! How an adapter is laid out as the words that dispatches read.

use super::{ArtifactEncoding, Program, program::shared};
use crate::{
    compute::recording::BufferId,
    dispute::judge::{DisputeContext, DisputeError, Hash, tensor::tensor_root, tree},
    model::{
        linear::LoraBuffers,
        transformer::{RecordedStep, Targets},
        weights::Model,
    },
    numbers::lora::LoraAdapter,
    protocol::{MatrixSpec, Transport},
};

impl DisputeContext {
    /// Of a job, and how its adapters are packed.
    pub fn of(
        model: &Model,
        targets: &Targets,
        matrices: &[MatrixSpec],
        transport: Transport,
    ) -> (Self, AdapterLayout) {
        let step = RecordedStep::new(model, targets, 1);
        let program = Program::new(&step, &ArtifactEncoding::new(matrices, transport));
        (Self::new(&step, &program), AdapterLayout::new(&step))
    }

    pub(super) fn new(step: &RecordedStep, program: &Program) -> Self {
        Self {
            program: tree::root(&program.hashes()),
            step: program.step.len() as u32,
            closing: program.closing.len() as u32,
            adapter: program.shared.len() as u32,
            context: step.context as u32,
            streams: step.streams.names().to_vec(),
        }
    }
}

/// How an adapter is laid out as words that dispatches read.
#[derive(Clone, Debug)]
pub struct AdapterLayout {
    adapted: Vec<(String, LoraBuffers)>,
    /// In the order of the recording.
    buffers: Vec<BufferId>,
}

impl AdapterLayout {
    /// Of all jobs of a model and its targets.
    pub fn of(model: &Model, targets: &Targets) -> Self {
        Self::new(&RecordedStep::new(model, targets, 1))
    }

    pub(super) fn new(step: &RecordedStep) -> Self {
        Self { adapted: step.adapted_linears.clone(), buffers: shared(step) }
    }

    /// Root over the tensors of a packed adapter, whose gradients are the matrices of a job.
    pub fn root(&self, adapter: &LoraAdapter, matrices: &[MatrixSpec]) -> Result<Hash, DisputeError> {
        let words = self.words(adapter, matrices)?;
        Ok(tree::root(&words.iter().map(|(_, words)| tensor_root(words)).collect::<Vec<_>>()))
    }

    /// The words of every buffer, in the order of the recording.
    pub(super) fn words(
        &self,
        adapter: &LoraAdapter,
        matrices: &[MatrixSpec],
    ) -> Result<Vec<(BufferId, Vec<u32>)>, DisputeError> {
        let (factors, expected) = (&adapter.matrices, 2 * self.adapted.len());
        for (what, found) in [("adapter matrices", factors.len()), ("matrices of the job", matrices.len())] {
            if expected != found {
                return Err(crate::error::Error::Shape { what, expected, found }.into());
            }
        }
        let mut packed = Vec::with_capacity(self.buffers.len());
        let pairs = factors.chunks_exact(2).zip(matrices.chunks_exact(2));
        for ((_, buffers), (pair, specs)) in self.adapted.iter().zip(pairs) {
            buffers.check(&pair[0], &pair[1])?;
            packed.extend(buffers.pack(adapter.alpha, &pair[0], &pair[1], (specs[0].exponent, specs[1].exponent)));
        }
        packed.sort_unstable_by_key(|(id, _)| *id);
        match packed.iter().map(|(id, _)| id).eq(&self.buffers) {
            true => Ok(packed),
            false => Err(DisputeError::Root("the packed adapter")),
        }
    }
}
