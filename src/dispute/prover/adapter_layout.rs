//! The adapter layout: how the factors of a LoRA adapter are packed into the buffers that kernels read.

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
    /// Returns the dispute context of a job (what all disputes about its tasks have in common) and the layout of its
    /// adapters in buffers. `targets` are the rank and the adapted linear layers.
    pub fn for_job(
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
            run_dispatches: program.step.len() as u32,
            encoding_dispatches: program.encoding.len() as u32,
            adapter_buffers: program.shared.len() as u32,
            sequence_tokens: step.context as u32,
            streams: step.streams.names().to_vec(),
        }
    }
}

/// How the factors of a LoRA adapter are packed into the buffers that kernels read. All adapters of a job have the same
/// layout.
#[derive(Clone, Debug)]
pub struct AdapterLayout {
    adapted: Vec<(String, LoraBuffers)>,
    /// IDs of the buffers that hold the packed adapter, in ascending order.
    buffers: Vec<BufferId>,
}

impl AdapterLayout {
    /// Returns the layout of the adapters for a model. `targets` are their rank and the linear layers that they adapt.
    pub fn for_model(model: &Model, targets: &Targets) -> Self {
        Self::new(&RecordedStep::new(model, targets, 1))
    }

    pub(super) fn new(step: &RecordedStep) -> Self {
        Self { adapted: step.adapted_linears.clone(), buffers: shared(step) }
    }

    /// Returns the layout root of an adapter: a Merkle root over the buffers that hold the packed adapter. `matrices`
    /// describes the gradient matrices of the job, whose exponents are packed together with the adapter's factors.
    /// Fails if the number of factors, the number of `matrices` or the shape of a factor does not match the adapted
    /// layers.
    pub fn root(&self, adapter: &LoraAdapter, matrices: &[MatrixSpec]) -> Result<Hash, DisputeError> {
        let words = self.words(adapter, matrices)?;
        Ok(tree::root(&words.iter().map(|(_, words)| tensor_root(words)).collect::<Vec<_>>()))
    }

    /// Returns the ID and the words of each buffer that holds the packed adapter, by ascending ID. `matrices` describes
    /// the gradient matrices of the job, whose exponents are packed too. Fails if the number of factors, the number of
    /// `matrices` or the shape of a factor does not match the adapted layers.
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
