//! The dispute context of a training job: what the disputes about all tasks of the job have in common. From this
//! context, together with the chunk, key and adapter of a task, a ledger can derive the subject of a dispute about the
//! task: the facts on which both sides agree. The ledger need not trust either side.

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

/// The largest value of each of four counts in a dispute context: the dispatches of a run, the dispatches of the
/// artifact encoding, the adapter buffers, and the dither streams.
const MAX_COUNT: u32 = 1 << 20;

/// What the disputes about all tasks of a training job have in common. It is a function of the model, the targets (the
/// adapted layers), and the job's matrices and transport format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DisputeContext {
    /// Program root: the Merkle root over the dispatches of a task, which are the same for all tasks of the job.
    pub program: Hash,
    /// The number of dispatches in a run (the forward and backward pass over one sequence).
    pub run_dispatches: u32,
    /// The number of dispatches in the artifact encoding, which follows the last run of a task.
    pub encoding_dispatches: u32,
    /// The number of buffers that hold the adapter, packed as the kernels read it.
    pub adapter_buffers: u32,
    /// The number of tokens in a sequence.
    pub sequence_tokens: u32,
    /// Names of the dither streams (the sources of pseudo-random bits for rounding), in the order of their indexes.
    pub streams: Vec<String>,
}

/// The inputs of a run (the forward and backward pass over one sequence), as words: its token IDs, its labels, and its
/// dither buffer (the keys of the pseudo-random bits for rounding).
pub(in crate::dispute) type SequenceInputs = [Vec<u32>; 3];

impl DisputeContext {
    /// Returns whether the counts of dispatches, adapter buffers and dither streams are at most 2^20, and the counts of
    /// dispatches and tokens at least 1.
    pub fn is_possible(&self) -> bool {
        let counts = [self.run_dispatches, self.encoding_dispatches, self.adapter_buffers, self.streams.len() as u32];
        counts.iter().all(|count| *count <= MAX_COUNT)
            && self.run_dispatches > 0
            && self.encoding_dispatches > 0
            && self.sequence_tokens > 0
    }

    /// Returns the subject of disputes about a task (the facts on which both sides agree). `tokens` holds the token IDs
    /// of the task's chunk, `key` is the task key, and `matrices` describes the matrices of the job. `adapter` is the
    /// layout root, the Merkle root over the buffers that hold the task's adapter.
    pub fn subject(&self, tokens: &[u32], key: &[u8; 32], matrices: &[MatrixSpec], adapter: Hash) -> Subject {
        let sequences = self.sequences(tokens, key);
        let inputs = roots(&sequences, &transport_keys(matrices, key));
        Subject {
            program: self.program,
            run_dispatches: self.run_dispatches,
            encoding_dispatches: self.encoding_dispatches,
            sequences: sequences.len() as u32,
            adapter_buffers: self.adapter_buffers,
            inputs: tree::root(&inputs),
            adapter,
        }
    }

    /// Returns the inputs of every run of a task. There is one run for each sequence of the task's chunk. `tokens`
    /// holds the token IDs of the chunk, and `key` is the task key.
    pub(in crate::dispute) fn sequences(&self, tokens: &[u32], key: &[u8; 32]) -> Vec<SequenceInputs> {
        let context = self.sequence_tokens as usize;
        let keys: Vec<u32> = self.streams.iter().flat_map(|name| dither_key(key, 0, name).0).collect();
        let run = |first: usize| {
            let at = |i: usize| tokens.get(i).copied();
            let ids = (first..first + context).map(|i| at(i).unwrap_or(0)).collect();
            let labels = (first..first + context).map(|i| at(i + 1).unwrap_or(IGNORE)).collect();
            [ids, labels, [&[first as u32, 0], &keys[..]].concat()]
        };
        (0..tokens.len().min(CHUNK_TOKENS)).step_by(context.max(1)).map(run).collect()
    }
}

/// Returns the tensor roots (Merkle roots) of all inputs of a task: first the roots of the three inputs of each run,
/// then the root of `keys`, the keys of the pseudo-random bits with which the gradient is rounded for the artifact.
pub(in crate::dispute) fn roots(sequences: &[SequenceInputs], keys: &[u32]) -> Vec<Hash> {
    sequences.iter().flatten().map(|words| tensor_root(words)).chain([tensor_root(keys)]).collect()
}

/// Returns the keys of the pseudo-random bits with which the matrices are rounded for the artifact: two words for each
/// matrix, in the order of `matrices`. `key` is the task key.
pub(in crate::dispute) fn transport_keys(matrices: &[MatrixSpec], key: &[u8; 32]) -> Vec<u32> {
    matrices.iter().flat_map(|spec| dither_key(key, 0, &format!("transport.{}", spec.name)).0).collect()
}
