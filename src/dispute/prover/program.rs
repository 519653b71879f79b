//! The program of a job, derived from the recordings of its model and of the artifact encoding.

use super::ArtifactEncoding;
use crate::{
    compute::recording::{BufferId, Content, Recording},
    dispute::judge::{BoundBuffer, BufferSource, DispatchEntry, Hash, tensor::tensor_root},
    model::transformer::RecordedStep,
};
use std::collections::BTreeMap;

/// The dispatches of a play and those after the last one.
#[derive(Clone, Debug)]
pub struct Program {
    /// Of each play: a sequence's forward and backward pass.
    pub step: Vec<DispatchEntry>,
    /// From the gradients to the outcome.
    pub closing: Vec<DispatchEntry>,
    /// The step's buffers that are inputs of all plays.
    pub shared: Vec<BufferId>,
}

/// The step's buffers that are inputs of all sequences: the packed adapter.
pub(super) fn shared(step: &RecordedStep) -> Vec<BufferId> {
    let writers = last_writers(&step.recording);
    let kept = |id: &BufferId| matches!(step.recording.get(*id).content, Content::Persistent);
    let own = [step.ids, step.labels, step.dither];
    let is_shared = |id: &BufferId| kept(id) && !own.contains(id) && !writers.contains_key(id);
    step.recording.ids().filter(is_shared).collect()
}

impl Program {
    /// Reads a step of one sequence and the closing of its gradients, which are the step's, in order.
    pub fn new(step: &RecordedStep, closing: &ArtifactEncoding) -> Self {
        let own = [step.ids, step.labels, step.dither];
        let (writers, shared) = (last_writers(&step.recording), shared(step));
        let place = |list: &[BufferId], id| list.iter().position(|other| *other == id).map(|at| at as u32);
        let carried = |id| writers.get(&id).map(|&[entry, slot]| BufferSource::Carried { entry, slot });
        let outside = |id| match place(&own, id) {
            Some(at) => BufferSource::SequenceInput(at),
            None => carried(id).or_else(|| place(&shared, id).map(BufferSource::Shared)).unwrap_or(BufferSource::Zero),
        };
        let gradients = step.adapted_linears.iter().flat_map(|(_, lora)| [lora.grad_a, lora.grad_b]).chain([step.loss]);
        let ends: Vec<_> = closing.gradients.iter().copied().chain([closing.loss]).zip(gradients).collect();
        let of_closing = |id| match ends.iter().find(|(closing, _)| *closing == id) {
            Some((_, gradient)) => carried(*gradient).unwrap_or(BufferSource::Zero),
            None => BufferSource::Shared(shared.len() as u32),
        };
        Self { step: entries(&step.recording, outside), closing: entries(&closing.recording, of_closing), shared }
    }

    /// All entries, the step's first.
    pub fn entries(&self) -> impl Iterator<Item = &DispatchEntry> {
        self.step.iter().chain(&self.closing)
    }

    /// The leaves of its tree.
    pub fn hashes(&self) -> Vec<Hash> {
        self.entries().map(DispatchEntry::hash).collect()
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
fn entries(recording: &Recording, outside: impl Fn(BufferId) -> BufferSource) -> Vec<DispatchEntry> {
    let mut constants = BTreeMap::new();
    let mut writers = BTreeMap::<BufferId, [u32; 2]>::new();
    let mut entries = Vec::with_capacity(recording.dispatches().len());
    for (at, dispatch) in recording.dispatches().iter().enumerate() {
        let mut bindings = Vec::with_capacity(dispatch.buffers.len());
        for &id in &dispatch.buffers {
            let buffer = recording.get(id);
            let source = match (&buffer.content, writers.get(&id)) {
                (_, Some(&[entry, slot])) => BufferSource::Step { entry, slot },
                (Content::Constant(words), _) => {
                    BufferSource::Constant(*constants.entry(id).or_insert_with(|| tensor_root(words)))
                }
                (Content::Persistent, _) => outside(id),
                (Content::Scratch, _) => BufferSource::Zero,
            };
            bindings.push(BoundBuffer { words: buffer.words as u64, source });
        }
        for (slot, written) in dispatch.written().enumerate() {
            writers.insert(written.id, [at as u32, slot as u32]);
        }
        entries.push(DispatchEntry {
            kernel: dispatch.kernel.name.to_owned(),
            params: dispatch.params.clone(),
            bindings,
        });
    }
    entries
}
