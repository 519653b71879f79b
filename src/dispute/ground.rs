//! What must be agreed before anything is in doubt: a job's program, and how a task's inputs follow from chunk, key and
//! adapter. A ledger that keeps it knows what a dispute is about without a word of the two sides.

use super::{
    closing::Closing,
    error::DisputeError,
    program::{Program, Subject, shared},
    tensor::tensor_root,
    tree::{self, Hash},
};
use crate::{
    kernels::cross_entropy::IGNORE,
    model::{
        linear::LoraBuffers,
        lora::LoraAdapter,
        transformer::{Step, Targets},
        weights::Model,
    },
    recording::BufferId,
    rng::dither_key,
    work::{CHUNK_TOKENS, MatrixSpec, Transport},
};
use serde::{Deserialize, Serialize};

/// Most dispatches of a play or of the closing, and most dither streams.
const MAX_COUNT: u32 = 1 << 20;

/// What all tasks of a job have in common, as roots and numbers. It follows from model, targets, matrices and transport.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ground {
    /// Root over the dispatches.
    pub program: Hash,
    /// Dispatches of a play.
    pub step: u32,
    /// Dispatches after the last play.
    pub closing: u32,
    /// Buffers that hold the packed adapter.
    pub adapter: u32,
    /// Tokens of a sequence.
    pub context: u32,
    /// Names of the dither streams, by number.
    pub streams: Vec<String>,
}

/// Ids, labels and dither of a play, as words.
pub(super) type PlayInputs = [Vec<u32>; 3];

impl Ground {
    /// Of a job, and how its adapters are packed.
    pub fn of(model: &Model, targets: &Targets, matrices: &[MatrixSpec], transport: Transport) -> (Self, Packing) {
        let step = Step::new(model, targets, 1);
        let program = Program::new(&step, &Closing::new(matrices, transport));
        (Self::new(&step, &program), Packing::new(&step))
    }

    pub(super) fn new(step: &Step, program: &Program) -> Self {
        Self {
            program: tree::root(&program.hashes()),
            step: program.step.len() as u32,
            closing: program.closing.len() as u32,
            adapter: program.shared.len() as u32,
            context: step.context as u32,
            streams: step.streams.names().to_vec(),
        }
    }

    /// Whether its numbers are ones that a job can have.
    pub fn is_possible(&self) -> bool {
        let counts = [self.step, self.closing, self.adapter, self.streams.len() as u32];
        counts.iter().all(|count| *count <= MAX_COUNT) && self.step > 0 && self.closing > 0 && self.context > 0
    }

    /// What a dispute over a task is about: a chunk's tokens, by the task's key, at the adapter of a [`Packing::root`].
    pub fn subject(&self, tokens: &[u32], key: &[u8; 32], matrices: &[MatrixSpec], adapter: Hash) -> Subject {
        let plays = self.plays(tokens, key);
        let inputs = roots(&plays, &transport_keys(matrices, key));
        Subject {
            program: self.program,
            step: self.step,
            closing: self.closing,
            plays: plays.len() as u32,
            shared: self.adapter,
            inputs: tree::root(&inputs),
            adapter,
        }
    }

    /// The inputs of every sequence.
    pub(super) fn plays(&self, tokens: &[u32], key: &[u8; 32]) -> Vec<PlayInputs> {
        let context = self.context as usize;
        let keys: Vec<u32> = self.streams.iter().flat_map(|name| dither_key(key, 0, name).0).collect();
        let play = |first: usize| {
            let at = |i: usize| tokens.get(i).copied();
            let ids = (first..first + context).map(|i| at(i).unwrap_or(0)).collect();
            let labels = (first..first + context).map(|i| at(i + 1).unwrap_or(IGNORE)).collect();
            [ids, labels, [&[first as u32, 0], &keys[..]].concat()]
        };
        (0..tokens.len().min(CHUNK_TOKENS)).step_by(context.max(1)).map(play).collect()
    }
}

/// The roots of a task's inputs: of each play its own, then the transport keys.
pub(super) fn roots(plays: &[PlayInputs], keys: &[u32]) -> Vec<Hash> {
    plays.iter().flatten().map(|words| tensor_root(words)).chain([tensor_root(keys)]).collect()
}

/// The keys of the transport streams, by matrix.
pub(super) fn transport_keys(matrices: &[MatrixSpec], key: &[u8; 32]) -> Vec<u32> {
    matrices.iter().flat_map(|spec| dither_key(key, 0, &format!("transport.{}", spec.name)).0).collect()
}

/// How an adapter is laid out as words that dispatches read.
#[derive(Clone, Debug)]
pub struct Packing {
    adapted: Vec<(String, LoraBuffers)>,
    /// In the order of the recording.
    buffers: Vec<BufferId>,
}

impl Packing {
    /// Of all jobs of a model and its targets.
    pub fn of(model: &Model, targets: &Targets) -> Self {
        Self::new(&Step::new(model, targets, 1))
    }

    pub(super) fn new(step: &Step) -> Self {
        Self { adapted: step.adapted.clone(), buffers: shared(step) }
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
