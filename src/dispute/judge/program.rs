//! A program: the dispatches of a task by kernel, params and where each buffer's words come from. It follows from the
//! model and what is trained, so its root stands for both.

use super::{
    error::DisputeError,
    tree::Hash,
    word_program::{WordProgram, word_program},
};
use crate::{kernels::Access, store::dag_cbor};
use serde::{Deserialize, Serialize};

const FORMAT: &str = "r3mes/dispatch/1";

/// Where a buffer's words come from, before a dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BufferSource {
    /// Nothing has written it in this play: all 0.
    Zero,
    /// The model: the tensor's root.
    Constant(Hash),
    /// An input of the play: 0 its ids, 1 its labels, 2 its dither.
    SequenceInput(u32),
    /// An input of all sequences: the adapter, the transport keys.
    Shared(u32),
    /// What an earlier dispatch of this play left.
    Step {
        /// Which dispatch.
        entry: u32,
        /// Which of the buffers that it writes.
        slot: u32,
    },
    /// What a dispatch of the play before left; 0 in the first play.
    Carried {
        /// Which dispatch.
        entry: u32,
        /// Which of the buffers that it writes.
        slot: u32,
    },
}

/// A buffer of a dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoundBuffer {
    /// Its length.
    pub words: u64,
    /// Where they come from.
    pub source: BufferSource,
}

/// A dispatch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DispatchEntry {
    /// Its kernel.
    pub kernel: String,
    /// Its params.
    pub params: Vec<u32>,
    /// Its buffers in binding order, the flag left out.
    pub bindings: Vec<BoundBuffer>,
}

impl DispatchEntry {
    /// Its leaf under the program's root.
    pub fn hash(&self) -> Hash {
        Hash::leaf(&dag_cbor::encode(FORMAT, self))
    }

    /// How its words are computed.
    pub fn word_program(&self) -> Result<&'static WordProgram, DisputeError> {
        let found =
            word_program(&self.kernel).filter(|word_program| word_program.kernel.params.len() == self.params.len());
        found.ok_or_else(|| DisputeError::Kernel(self.kernel.clone()))
    }

    /// Words of a buffer that its units own, from the first; none of one that it only reads.
    pub fn owned(&self, binding: usize) -> Result<usize, DisputeError> {
        let kernel = self.word_program()?.kernel;
        let mut bound = kernel.bindings.iter().filter(|binding| !matches!(binding.access, Access::Flag));
        Ok(match bound.nth(binding).map(|binding| &binding.access) {
            Some(Access::Write(words_per_unit)) => words_per_unit(&self.params) * (kernel.units)(&self.params),
            _ => 0,
        })
    }

    /// The bindings that it writes, by slot.
    pub fn written(&self) -> Result<Vec<usize>, DisputeError> {
        let bound =
            self.word_program()?.kernel.bindings.iter().filter(|binding| !matches!(binding.access, Access::Flag));
        let written = bound.enumerate().filter(|(_, binding)| matches!(binding.access, Access::Write(_)));
        Ok(written.map(|(at, _)| at).collect())
    }
}

/// Inputs that each play has of its own.
const SEQUENCE_INPUTS: usize = 3;

/// What both sides agree on: the program, the inputs and the adapter, by their roots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// Root over the dispatches.
    pub program: Hash,
    /// Dispatches of a play.
    pub step: u32,
    /// Dispatches after the last play.
    pub closing: u32,
    /// Sequences of the chunk.
    pub sequences: u32,
    /// Buffers that hold the packed adapter.
    pub shared: u32,
    /// Root over the roots of the task's inputs: of each play its own, then the transport keys.
    pub inputs: Hash,
    /// Root over the roots of the packed adapter's buffers.
    pub adapter: Hash,
}

/// Where the words of a buffer of one dispatch of a trace are committed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: they are 0.
    Zero,
    /// By a root that is known.
    CommittedBuffer(Hash),
    /// By an input of the task.
    Input(usize),
    /// By a buffer of the adapter.
    Adapter(usize),
    /// By a slot of a leaf of the trace.
    Leaf {
        /// Which leaf.
        leaf: usize,
        /// Which slot.
        slot: usize,
    },
}

impl Subject {
    /// Leaves of a trace.
    pub fn leaves(&self) -> usize {
        self.sequences as usize * self.step as usize + self.closing as usize
    }

    /// Entries of the program.
    pub fn entries(&self) -> usize {
        self.step as usize + self.closing as usize
    }

    /// Inputs of the task.
    pub fn input_count(&self) -> usize {
        self.sequences as usize * SEQUENCE_INPUTS + 1
    }

    /// The play of a leaf, after the last one for the closing, and the play's first leaf.
    fn sequence(&self, leaf: usize) -> (usize, usize) {
        let play = (leaf / (self.step as usize).max(1)).min(self.sequences as usize);
        (play, play * self.step as usize)
    }

    /// The entry of a leaf.
    pub fn entry(&self, leaf: usize) -> usize {
        let (play, first) = self.sequence(leaf);
        leaf - first + if play == self.sequences as usize { self.step as usize } else { 0 }
    }

    /// Where a source lies, seen from a leaf.
    pub fn origin(&self, source: BufferSource, leaf: usize) -> Origin {
        let (play, first) = self.sequence(leaf);
        match source {
            BufferSource::Zero => Origin::Zero,
            BufferSource::Constant(root) => Origin::CommittedBuffer(root),
            BufferSource::SequenceInput(at) => Origin::Input(play * SEQUENCE_INPUTS + at as usize),
            BufferSource::Shared(at) if at < self.shared => Origin::Adapter(at as usize),
            BufferSource::Shared(_) => Origin::Input(self.sequences as usize * SEQUENCE_INPUTS),
            BufferSource::Step { entry, slot } => Origin::Leaf { leaf: first + entry as usize, slot: slot as usize },
            BufferSource::Carried { .. } if play == 0 => Origin::Zero,
            BufferSource::Carried { entry, slot } => {
                Origin::Leaf { leaf: first - self.step as usize + entry as usize, slot: slot as usize }
            }
        }
    }
}
