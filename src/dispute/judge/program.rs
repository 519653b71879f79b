//! A program: the dispatches of a task, each with its kernel, its params, and the sources of its buffers' words. A
//! program is a function of the model and of what is trained, so its root commits to both.

use super::{
    error::DisputeError,
    tree::Hash,
    word_program::{WordProgram, word_program},
};
use crate::{kernels::Access, store::dag_cbor};
use serde::{Deserialize, Serialize};

const FORMAT: &str = "r3mes/dispatch/1";

/// Where a buffer's words before a dispatch come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BufferSource {
    /// Nothing has written the buffer in this run: all words are 0.
    Zero,
    /// The words are constants of the model and have this tensor root.
    Constant(Hash),
    /// The words are an input of the run: 0 for its token ids, 1 for its labels, 2 for its dither.
    SequenceInput(u32),
    /// The words are an input of all runs: a buffer of the adapter, or the transport keys.
    Shared(u32),
    /// An earlier dispatch of this run wrote the words.
    Step {
        /// Index of the dispatch within its run.
        entry: u32,
        /// Index of the buffer among those that the dispatch writes.
        slot: u32,
    },
    /// A dispatch of the previous run wrote the words; in the first run, all words are 0.
    Carried {
        /// Index of the dispatch within its run.
        entry: u32,
        /// Index of the buffer among those that the dispatch writes.
        slot: u32,
    },
}

/// A buffer that a dispatch reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoundBuffer {
    /// The number of words in the buffer.
    pub words: u64,
    /// Where the words before the dispatch come from.
    pub source: BufferSource,
}

/// A dispatch of a program, as one leaf of the program's tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DispatchEntry {
    /// Name of the dispatched kernel.
    pub kernel: String,
    /// Params of the kernel, as words.
    pub params: Vec<u32>,
    /// The buffers in binding order, without the flag.
    pub bindings: Vec<BoundBuffer>,
}

impl DispatchEntry {
    /// Returns the leaf of the dispatch in the program's tree.
    pub fn hash(&self) -> Hash {
        Hash::leaf(&dag_cbor::encode(FORMAT, self))
    }

    /// Returns the word program of the kernel. Fails if the kernel or the number of params is unknown.
    pub fn word_program(&self) -> Result<&'static WordProgram, DisputeError> {
        let found =
            word_program(&self.kernel).filter(|word_program| word_program.kernel.params.len() == self.params.len());
        found.ok_or_else(|| DisputeError::Kernel(self.kernel.clone()))
    }

    /// Returns how many words at the start of a buffer are owned by the dispatch's work units; 0 for a buffer that the
    /// dispatch only reads.
    pub fn owned(&self, binding: usize) -> Result<usize, DisputeError> {
        let kernel = self.word_program()?.kernel;
        let mut bound = kernel.bindings.iter().filter(|binding| !matches!(binding.access, Access::Flag));
        Ok(match bound.nth(binding).map(|binding| &binding.access) {
            Some(Access::Write(words_per_unit)) => words_per_unit(&self.params) * (kernel.units)(&self.params),
            _ => 0,
        })
    }

    /// Returns the bindings that the dispatch writes, in the order of slots.
    pub fn written(&self) -> Result<Vec<usize>, DisputeError> {
        let bound =
            self.word_program()?.kernel.bindings.iter().filter(|binding| !matches!(binding.access, Access::Flag));
        let written = bound.enumerate().filter(|(_, binding)| matches!(binding.access, Access::Write(_)));
        Ok(written.map(|(at, _)| at).collect())
    }
}

/// The number of inputs of each run.
const SEQUENCE_INPUTS: usize = 3;

/// The subject of a game: the roots and counts on which both sides agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// Program root of the job.
    pub program: Hash,
    /// The number of dispatches in a run.
    pub run_dispatches: u32,
    /// The number of dispatches in the artifact encoding, which follows the last run.
    pub encoding_dispatches: u32,
    /// The number of runs, one for each sequence of the chunk.
    pub sequences: u32,
    /// The number of buffers that hold the packed adapter.
    pub adapter_buffers: u32,
    /// Inputs root: the Merkle root over the tensor roots of each run's inputs and then of the transport keys.
    pub inputs: Hash,
    /// Layout root of the adapter.
    pub adapter: Hash,
}

/// The commitment that fixes the words of a buffer before a dispatch of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// There is no commitment, because all words are 0.
    Zero,
    /// The program states this tensor root.
    Constant(Hash),
    /// An input of the task, by its index.
    Input(usize),
    /// A buffer of the adapter, by its index.
    Adapter(usize),
    /// A leaf of the trace states the tensor root in one of its slots.
    Leaf {
        /// Index of the leaf in the trace.
        leaf: usize,
        /// Index of the slot in the leaf.
        slot: usize,
    },
}

impl Subject {
    /// Returns the number of leaves that a trace of the task has.
    pub fn leaves(&self) -> usize {
        self.sequences as usize * self.run_dispatches as usize + self.encoding_dispatches as usize
    }

    /// Returns the number of dispatches of the program.
    pub fn entries(&self) -> usize {
        self.run_dispatches as usize + self.encoding_dispatches as usize
    }

    /// Returns the number of input tensors that a task has: those of all runs, and the transport keys.
    pub fn input_count(&self) -> usize {
        self.sequences as usize * SEQUENCE_INPUTS + 1
    }

    /// Returns the index of the run to which a leaf belongs, and the index of that run's first leaf. The artifact
    /// encoding counts as one more run.
    fn run(&self, leaf: usize) -> (usize, usize) {
        let run = (leaf / (self.run_dispatches as usize).max(1)).min(self.sequences as usize);
        (run, run * self.run_dispatches as usize)
    }

    /// Returns the index, within the program, of the dispatch to which a leaf belongs.
    pub fn entry(&self, leaf: usize) -> usize {
        let (run, first) = self.run(leaf);
        leaf - first + if run == self.sequences as usize { self.run_dispatches as usize } else { 0 }
    }

    /// Returns the commitment that fixes the words of a source before the dispatch of a leaf.
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
