//! The dispute context of a job: its program root, and how the inputs of a task follow from its chunk, its task key and
//! its adapter. A ledger that stores the context can derive the subject of every dispute without trusting either party.

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

/// Upper limit for the number of dispatches in a run, of those in the artifact encoding, and of dither streams.
const MAX_COUNT: u32 = 1 << 20;

/// What the disputes about all tasks of a job have in common. The dispute context is a function of the model, the
/// targets, the job's matrices and transport.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DisputeContext {
    /// Program root of the job.
    pub program: Hash,
    /// The number of dispatches in a run, which is the pass over one sequence.
    pub run_dispatches: u32,
    /// The number of dispatches in the artifact encoding, which follows the last run.
    pub encoding_dispatches: u32,
    /// The number of buffers that hold the packed adapter.
    pub adapter_buffers: u32,
    /// The number of tokens in a sequence.
    pub sequence_tokens: u32,
    /// Names of the dither streams, in the order of the streams' indexes.
    pub streams: Vec<String>,
}

/// The token ids, the labels and the dither buffer of a run, as words.
pub(in crate::dispute) type SequenceInputs = [Vec<u32>; 3];

impl DisputeContext {
    /// Returns whether the counts are within the limits of a job.
    pub fn is_possible(&self) -> bool {
        let counts = [self.run_dispatches, self.encoding_dispatches, self.adapter_buffers, self.streams.len() as u32];
        counts.iter().all(|count| *count <= MAX_COUNT)
            && self.run_dispatches > 0
            && self.encoding_dispatches > 0
            && self.sequence_tokens > 0
    }

    /// Returns the subject of disputes about a task, given its chunk's tokens, its key, the job's matrices, and the
    /// layout root of its adapter.
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

    /// Returns the inputs of every run, one for each sequence of the chunk.
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

/// Returns the tensor roots of a task's inputs: those of each run, then that of the transport keys.
pub(in crate::dispute) fn roots(sequences: &[SequenceInputs], keys: &[u32]) -> Vec<Hash> {
    sequences.iter().flatten().map(|words| tensor_root(words)).chain([tensor_root(keys)]).collect()
}

/// Returns the keys of the dither streams that round the matrices for transport, in the order of the matrices.
pub(in crate::dispute) fn transport_keys(matrices: &[MatrixSpec], key: &[u8; 32]) -> Vec<u32> {
    matrices.iter().flat_map(|spec| dither_key(key, 0, &format!("transport.{}", spec.name)).0).collect()
}
