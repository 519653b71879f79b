//! A program: all dispatches of a task. Each dispatch states its kernel, its parameters, and where the words of its
//! buffers come from. The model and the list of trained matrices determine the program, so the Merkle root over its
//! dispatches commits to both.

use super::{
    error::DisputeError,
    tree::Hash,
    word_program::{WordProgram, word_program},
};
use crate::{kernels::Access, store::dag_cbor};
use serde::{Deserialize, Serialize};

const FORMAT: &str = "r3mes/dispatch/1";

/// The source of the words that a buffer holds before a dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BufferSource {
    /// All words of the buffer are 0, because no earlier dispatch of the run has written it.
    Zero,
    /// The buffer holds a constant of the model. The hash is the constant's tensor root (the Merkle root over its
    /// words).
    Constant(Hash),
    /// The buffer holds an input of the run. The number states which input: 0 is the token IDs, 1 the labels, and 2 the
    /// dither buffer (the keys of the pseudo-random bits for rounding).
    SequenceInput(u32),
    /// The buffer holds an input that all runs share. An index below the number of adapter buffers stands for an
    /// adapter buffer, and any other index for the transport keys (the keys of the pseudo-random bits with which the
    /// gradient is rounded for the artifact).
    Shared(u32),
    /// The buffer was last written by an earlier dispatch of the same run.
    Step {
        /// Index, within the run, of the earlier dispatch that wrote the buffer.
        entry: u32,
        /// Index of the buffer among all buffers that the earlier dispatch writes.
        slot: u32,
    },
    /// The buffer was last written by a dispatch of the previous run. In the first run, all words of the buffer are 0.
    Carried {
        /// Index, within the previous run, of the dispatch that wrote the buffer.
        entry: u32,
        /// Index of the buffer among all buffers that the dispatch of the previous run writes.
        slot: u32,
    },
}

/// A buffer that a dispatch reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoundBuffer {
    /// The number of words in the buffer.
    pub words: u64,
    /// The source of the words that the buffer holds before the dispatch.
    pub source: BufferSource,
}

/// A dispatch of a program, which is one leaf of the program's Merkle tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DispatchEntry {
    /// Name of the kernel that is launched.
    pub kernel: String,
    /// The parameters of the kernel, as 32-bit words.
    pub params: Vec<u32>,
    /// The buffers that the dispatch binds to the kernel, in binding order. The saturation flag is not among them.
    pub bindings: Vec<BoundBuffer>,
}

impl DispatchEntry {
    /// Returns the hash of the dispatch, which is its leaf in the program's Merkle tree.
    pub fn hash(&self) -> Hash {
        Hash::leaf(&dag_cbor::encode(FORMAT, self))
    }

    /// Returns the word program of the dispatch's kernel, with which the judge recomputes output words. Fails if the
    /// kernel is unknown or the number of parameters is wrong.
    pub fn word_program(&self) -> Result<&'static WordProgram, DisputeError> {
        let found =
            word_program(&self.kernel).filter(|word_program| word_program.kernel.params.len() == self.params.len());
        found.ok_or_else(|| DisputeError::Kernel(self.kernel.clone()))
    }

    /// Returns the number of words that the dispatch writes at the start of the buffer with index `binding`; 0 for a
    /// buffer that the dispatch only reads. Fails if the kernel is unknown or the number of parameters is wrong.
    pub fn owned(&self, binding: usize) -> Result<usize, DisputeError> {
        let kernel = self.word_program()?.kernel;
        let mut bound = kernel.bindings.iter().filter(|binding| !matches!(binding.access, Access::Flag));
        Ok(match bound.nth(binding).map(|binding| &binding.access) {
            Some(Access::Write(words_per_unit)) => words_per_unit(&self.params) * (kernel.units)(&self.params),
            _ => 0,
        })
    }

    /// Returns the index, in binding order, of each buffer that the dispatch writes. The indexes are in ascending
    /// order.
    pub fn written(&self) -> Result<Vec<usize>, DisputeError> {
        let bound =
            self.word_program()?.kernel.bindings.iter().filter(|binding| !matches!(binding.access, Access::Flag));
        let written = bound.enumerate().filter(|(_, binding)| matches!(binding.access, Access::Write(_)));
        Ok(written.map(|(at, _)| at).collect())
    }
}

/// The number of inputs of each run: its token IDs, its labels, and its dither buffer (the keys of the pseudo-random
/// bits for rounding).
const SEQUENCE_INPUTS: usize = 3;

/// The subject of a game: the Merkle roots and the counts on which both sides agree beforehand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// Program root: the Merkle root over the dispatches of the task.
    pub program: Hash,
    /// The number of dispatches in a run (the forward and backward pass over one sequence).
    pub run_dispatches: u32,
    /// The number of dispatches in the artifact encoding, which follows the last run of the task.
    pub encoding_dispatches: u32,
    /// The number of runs of the task: one for each sequence of the chunk.
    pub sequences: u32,
    /// The number of buffers that hold the adapter, packed as the kernels read it.
    pub adapter_buffers: u32,
    /// Inputs root: the Merkle root over the tensor roots of all inputs. The inputs of each run come first. The
    /// transport keys come last: the keys of the pseudo-random bits with which the gradient is rounded for the
    /// artifact.
    pub inputs: Hash,
    /// Layout root: the Merkle root over the tensor roots of the buffers that hold the packed adapter.
    pub adapter: Hash,
}

/// Where the judge finds the tensor root of a buffer. The tensor root is the Merkle root over the words that the buffer
/// holds before a dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// No tensor root is needed, because all words of the buffer are 0.
    Zero,
    /// The buffer is a constant of the program. The program states its tensor root, which is this hash.
    Constant(Hash),
    /// The buffer is one of the task's input tensors. The inputs root commits to the tensor roots of all input tensors.
    /// The number is the index of the buffer among the input tensors.
    Input(usize),
    /// The buffer is one of the buffers that hold the adapter. The layout root commits to the tensor roots of all
    /// adapter buffers. The number is the index of the buffer among the adapter buffers.
    Adapter(usize),
    /// An earlier leaf of the trace states the tensor root.
    Leaf {
        /// Index of the earlier leaf in the trace.
        leaf: usize,
        /// Index of the tensor root among the tensor roots in the earlier leaf.
        slot: usize,
    },
}

impl Subject {
    /// Returns the number of leaves in a trace of the task: one for each dispatch of each run, and one for each
    /// dispatch of the artifact encoding.
    pub fn leaves(&self) -> usize {
        self.sequences as usize * self.run_dispatches as usize + self.encoding_dispatches as usize
    }

    /// Returns the number of dispatches in the program: those of one run, and those of the artifact encoding.
    pub fn entries(&self) -> usize {
        self.run_dispatches as usize + self.encoding_dispatches as usize
    }

    /// Returns the number of input tensors of the task: three for each run, and one for the transport keys (the keys of
    /// the pseudo-random bits with which the gradient is rounded for the artifact).
    pub fn input_count(&self) -> usize {
        self.sequences as usize * SEQUENCE_INPUTS + 1
    }

    /// Returns the index of the run that contains the trace leaf with index `leaf`, and the index of the first leaf of
    /// that run. The artifact encoding counts as one more run.
    fn run(&self, leaf: usize) -> (usize, usize) {
        let run = (leaf / (self.run_dispatches as usize).max(1)).min(self.sequences as usize);
        (run, run * self.run_dispatches as usize)
    }

    /// Returns the index of the dispatch to which the trace leaf with index `leaf` belongs. It is an index into the
    /// dispatches of the program.
    pub fn entry(&self, leaf: usize) -> usize {
        let (run, first) = self.run(leaf);
        leaf - first + if run == self.sequences as usize { self.run_dispatches as usize } else { 0 }
    }

    /// Returns where the judge finds the tensor root (the Merkle root over the words) of a buffer as it is before a
    /// dispatch runs. `source` says where these words come from, for example from an earlier dispatch. `leaf` is the
    /// index of the dispatch's leaf in the trace.
    pub fn origin(&self, source: BufferSource, leaf: usize) -> Origin {
        let (run, first) = self.run(leaf);
        match source {
            BufferSource::Zero => Origin::Zero,
            BufferSource::Constant(root) => Origin::Constant(root),
            BufferSource::SequenceInput(at) => Origin::Input(run * SEQUENCE_INPUTS + at as usize),
            BufferSource::Shared(at) if at < self.adapter_buffers => Origin::Adapter(at as usize),
            BufferSource::Shared(_) => Origin::Input(self.sequences as usize * SEQUENCE_INPUTS),
            BufferSource::Step { entry, slot } => Origin::Leaf { leaf: first + entry as usize, slot: slot as usize },
            BufferSource::Carried { .. } if run == 0 => Origin::Zero,
            BufferSource::Carried { entry, slot } => {
                Origin::Leaf { leaf: first - self.run_dispatches as usize + entry as usize, slot: slot as usize }
            }
        }
    }
}
