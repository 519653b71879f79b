//! A program: the dispatches of a task by kernel, params and where each buffer's words come from. It follows from the
//! model and what is trained, so its root stands for both.

use super::{
    closing::Closing,
    error::DisputeError,
    tape::{Tape, tape},
    tensor::tensor_root,
    tree::Hash,
};
use crate::{
    kernels::Access,
    model::transformer::Step,
    recording::{BufferId, Content, Recording},
    store::dag_cbor,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const FORMAT: &str = "r3mes/dispatch/1";

/// Where a buffer's words come from, before a dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// Nothing has written it in this play: all 0.
    Zero,
    /// The model: the tensor's root.
    Constant(Hash),
    /// An input of the play: 0 its ids, 1 its labels, 2 its dither.
    Play(u32),
    /// An input of all plays: the adapter, the transport keys.
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
pub struct Bound {
    /// Its length.
    pub words: u64,
    /// Where they come from.
    pub source: Source,
}

/// A dispatch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its kernel.
    pub kernel: String,
    /// Its params.
    pub params: Vec<u32>,
    /// Its buffers in binding order, the flag left out.
    pub bindings: Vec<Bound>,
}

impl Entry {
    /// Its leaf under the program's root.
    pub fn hash(&self) -> Hash {
        Hash::leaf(&dag_cbor::encode(FORMAT, self))
    }

    /// How its words are computed.
    pub fn tape(&self) -> Result<&'static Tape, DisputeError> {
        let found = tape(&self.kernel).filter(|tape| tape.kernel.params.len() == self.params.len());
        found.ok_or_else(|| DisputeError::Kernel(self.kernel.clone()))
    }

    /// Words of a buffer that its units own, from the first; none of one that it only reads.
    pub fn owned(&self, binding: usize) -> Result<usize, DisputeError> {
        let kernel = self.tape()?.kernel;
        let mut bound = kernel.bindings.iter().filter(|binding| !matches!(binding.access, Access::Flag));
        Ok(match bound.nth(binding).map(|binding| &binding.access) {
            Some(Access::Write(words_per_unit)) => words_per_unit(&self.params) * (kernel.units)(&self.params),
            _ => 0,
        })
    }

    /// The bindings that it writes, by slot.
    pub fn written(&self) -> Result<Vec<usize>, DisputeError> {
        let bound = self.tape()?.kernel.bindings.iter().filter(|binding| !matches!(binding.access, Access::Flag));
        let written = bound.enumerate().filter(|(_, binding)| matches!(binding.access, Access::Write(_)));
        Ok(written.map(|(at, _)| at).collect())
    }
}

/// The dispatches of a play and those after the last one.
#[derive(Clone, Debug)]
pub struct Program {
    /// Of each play: a sequence's forward and backward pass.
    pub step: Vec<Entry>,
    /// From the gradients to the outcome.
    pub closing: Vec<Entry>,
    /// The step's buffers that are inputs of all plays.
    pub shared: Vec<BufferId>,
}

/// The step's buffers that are inputs of all plays: the packed adapter.
pub(super) fn shared(step: &Step) -> Vec<BufferId> {
    let writers = last_writers(&step.recording);
    let kept = |id: &BufferId| matches!(step.recording.get(*id).content, Content::Kept);
    let own = [step.ids, step.labels, step.dither];
    let is_shared = |id: &BufferId| kept(id) && !own.contains(id) && !writers.contains_key(id);
    step.recording.ids().filter(is_shared).collect()
}

impl Program {
    /// Reads a step of one sequence and the closing of its gradients, which are the step's, in order.
    pub fn new(step: &Step, closing: &Closing) -> Self {
        let own = [step.ids, step.labels, step.dither];
        let (writers, shared) = (last_writers(&step.recording), shared(step));
        let place = |list: &[BufferId], id| list.iter().position(|other| *other == id).map(|at| at as u32);
        let carried = |id| writers.get(&id).map(|&[entry, slot]| Source::Carried { entry, slot });
        let outside = |id| match place(&own, id) {
            Some(at) => Source::Play(at),
            None => carried(id).or_else(|| place(&shared, id).map(Source::Shared)).unwrap_or(Source::Zero),
        };
        let gradients = step.adapted.iter().flat_map(|(_, lora)| [lora.grad_a, lora.grad_b]).chain([step.loss]);
        let ends: Vec<_> = closing.gradients.iter().copied().chain([closing.loss]).zip(gradients).collect();
        let of_closing = |id| match ends.iter().find(|(closing, _)| *closing == id) {
            Some((_, gradient)) => carried(*gradient).unwrap_or(Source::Zero),
            None => Source::Shared(shared.len() as u32),
        };
        Self { step: entries(&step.recording, outside), closing: entries(&closing.recording, of_closing), shared }
    }

    /// All entries, the step's first.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.step.iter().chain(&self.closing)
    }

    /// The leaves of its tree.
    pub fn hashes(&self) -> Vec<Hash> {
        self.entries().map(Entry::hash).collect()
    }
}

/// The last dispatch and slot that write each buffer.
fn last_writers(recording: &Recording) -> BTreeMap<BufferId, [u32; 2]> {
    let mut writers = BTreeMap::new();
    for (entry, dispatch) in recording.dispatches().iter().enumerate() {
        for (slot, written) in dispatch.written().enumerate() {
            writers.insert(written.id, [entry as u32, slot as u32]);
        }
    }
    writers
}

/// The entries of a recording; kept buffers that nothing wrote yet come from `outside`.
fn entries(recording: &Recording, outside: impl Fn(BufferId) -> Source) -> Vec<Entry> {
    let mut constants = BTreeMap::new();
    let mut writers = BTreeMap::<BufferId, [u32; 2]>::new();
    let mut entries = Vec::with_capacity(recording.dispatches().len());
    for (at, dispatch) in recording.dispatches().iter().enumerate() {
        let mut bindings = Vec::with_capacity(dispatch.buffers.len());
        for &id in &dispatch.buffers {
            let buffer = recording.get(id);
            let source = match (&buffer.content, writers.get(&id)) {
                (_, Some(&[entry, slot])) => Source::Step { entry, slot },
                (Content::Constant(words), _) => {
                    Source::Constant(*constants.entry(id).or_insert_with(|| tensor_root(words)))
                }
                (Content::Kept, _) => outside(id),
                (Content::Scratch, _) => Source::Zero,
            };
            bindings.push(Bound { words: buffer.words as u64, source });
        }
        for (slot, written) in dispatch.written().enumerate() {
            writers.insert(written.id, [at as u32, slot as u32]);
        }
        entries.push(Entry { kernel: dispatch.kernel.name.to_owned(), params: dispatch.params.clone(), bindings });
    }
    entries
}

/// Inputs that each play has of its own.
const PLAY_INPUTS: usize = 3;

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
    pub plays: u32,
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
    Known(Hash),
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
        self.plays as usize * self.step as usize + self.closing as usize
    }

    /// Entries of the program.
    pub fn entries(&self) -> usize {
        self.step as usize + self.closing as usize
    }

    /// Inputs of the task.
    pub fn input_count(&self) -> usize {
        self.plays as usize * PLAY_INPUTS + 1
    }

    /// The play of a leaf, after the last one for the closing, and the play's first leaf.
    fn play(&self, leaf: usize) -> (usize, usize) {
        let play = (leaf / (self.step as usize).max(1)).min(self.plays as usize);
        (play, play * self.step as usize)
    }

    /// The entry of a leaf.
    pub fn entry(&self, leaf: usize) -> usize {
        let (play, first) = self.play(leaf);
        leaf - first + if play == self.plays as usize { self.step as usize } else { 0 }
    }

    /// Where a source lies, seen from a leaf.
    pub fn origin(&self, source: Source, leaf: usize) -> Origin {
        let (play, first) = self.play(leaf);
        match source {
            Source::Zero => Origin::Zero,
            Source::Constant(root) => Origin::Known(root),
            Source::Play(at) => Origin::Input(play * PLAY_INPUTS + at as usize),
            Source::Shared(at) if at < self.shared => Origin::Adapter(at as usize),
            Source::Shared(_) => Origin::Input(self.plays as usize * PLAY_INPUTS),
            Source::Step { entry, slot } => Origin::Leaf { leaf: first + entry as usize, slot: slot as usize },
            Source::Carried { .. } if play == 0 => Origin::Zero,
            Source::Carried { entry, slot } => {
                Origin::Leaf { leaf: first - self.step as usize + entry as usize, slot: slot as usize }
            }
        }
    }
}
