//! What must be agreed before anything is in doubt: a job's program, and how a task's inputs follow from chunk, key and
//! adapter. A ledger that keeps it knows what a dispute is about without a word of the two sides.

use super::{
    program::Subject,
    tensor::tensor_root,
    tree::{self, Hash},
};
use crate::{
    kernels::cross_entropy::IGNORE,
    numbers::rng::dither_key,
    protocol::{CHUNK_TOKENS, MatrixSpec},
};
use serde::{Deserialize, Serialize};

/// Most dispatches of a play or of the closing, and most dither streams.
const MAX_COUNT: u32 = 1 << 20;

/// What all tasks of a job have in common, as roots and numbers. It follows from model, targets, matrices and transport.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DisputeContext {
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
pub(in crate::dispute) type SequenceInputs = [Vec<u32>; 3];

impl DisputeContext {
    /// Whether its numbers are ones that a job can have.
    pub fn is_possible(&self) -> bool {
        let counts = [self.step, self.closing, self.adapter, self.streams.len() as u32];
        counts.iter().all(|count| *count <= MAX_COUNT) && self.step > 0 && self.closing > 0 && self.context > 0
    }

    /// What a dispute over a task is about: a chunk's tokens, by the task's key, at the adapter of a [`AdapterLayout::root`].
    pub fn subject(&self, tokens: &[u32], key: &[u8; 32], matrices: &[MatrixSpec], adapter: Hash) -> Subject {
        let sequences = self.sequences(tokens, key);
        let inputs = roots(&sequences, &transport_keys(matrices, key));
        Subject {
            program: self.program,
            step: self.step,
            closing: self.closing,
            sequences: sequences.len() as u32,
            shared: self.adapter,
            inputs: tree::root(&inputs),
            adapter,
        }
    }

    /// The inputs of every sequence.
    pub(in crate::dispute) fn sequences(&self, tokens: &[u32], key: &[u8; 32]) -> Vec<SequenceInputs> {
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
pub(in crate::dispute) fn roots(sequences: &[SequenceInputs], keys: &[u32]) -> Vec<Hash> {
    sequences.iter().flatten().map(|words| tensor_root(words)).chain([tensor_root(keys)]).collect()
}

/// The keys of the transport streams, by matrix.
pub(in crate::dispute) fn transport_keys(matrices: &[MatrixSpec], key: &[u8; 32]) -> Vec<u32> {
    matrices.iter().flat_map(|spec| dither_key(key, 0, &format!("transport.{}", spec.name)).0).collect()
}
