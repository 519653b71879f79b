//! The program of a job: a list of all dispatches (kernel launches) of a task, stored as data. It is derived from two
//! recordings: the training step, and the artifact encoding, which computes the gradient root.

use super::ArtifactEncoding;
use crate::{
    compute::recording::{BufferContent, BufferId, Recording},
    dispute::judge::{BoundBuffer, BufferSource, DispatchEntry, Hash, tensor::tensor_root},
    model::transformer::RecordedStep,
};
use std::collections::BTreeMap;

/// The program of a job: the dispatches (kernel launches) that are executed for each sequence of a chunk, and those
/// that follow the last sequence.
#[derive(Clone, Debug)]
pub struct Program {
    /// The dispatches of one run, which is the forward and backward pass over one sequence. Every run executes the same
    /// dispatches.
    pub step: Vec<DispatchEntry>,
    /// The dispatches of the artifact encoding, which compute the gradient root from the gradients after the last run.
    pub encoding: Vec<DispatchEntry>,
    /// IDs of the buffers that are filled only once, before the first run, and that all runs read. They hold the packed
    /// adapter.
    pub shared: Vec<BufferId>,
}

/// Returns the IDs of the buffers that are filled only once for each task, before its first sequence. They hold the
/// packed adapter.
pub(super) fn shared(step: &RecordedStep) -> Vec<BufferId> {
    let writers = last_writers(&step.recording);
    let persistent = |id: &BufferId| matches!(step.recording.get(*id).content, BufferContent::Persistent);
    let own = [step.ids, step.labels, step.dither];
    let is_shared = |id: &BufferId| persistent(id) && !own.contains(id) && !writers.contains_key(id);
    step.recording.ids().filter(is_shared).collect()
}

impl Program {
    /// Returns the program: the dispatches (kernel launches) of `step`, a training step recorded for a single sequence,
    /// and those of `encoding`, which compute the gradient root. `encoding` must read the gradients that `step`
    /// computes, in the same order.
    pub fn new(step: &RecordedStep, encoding: &ArtifactEncoding) -> Self {
        let own = [step.ids, step.labels, step.dither];
        let (writers, shared) = (last_writers(&step.recording), shared(step));
        let place = |list: &[BufferId], id| list.iter().position(|other| *other == id).map(|at| at as u32);
        let carried = |id| writers.get(&id).map(|&[entry, slot]| BufferSource::Carried { entry, slot });
        let outside = |id| match place(&own, id) {
            Some(at) => BufferSource::SequenceInput(at),
            None => carried(id).or_else(|| place(&shared, id).map(BufferSource::Shared)).unwrap_or(BufferSource::Zero),
        };
        let gradients = step.adapted_linears.iter().flat_map(|(_, lora)| [lora.grad_a, lora.grad_b]).chain([step.loss]);
        let ends: Vec<_> = encoding.gradients.iter().copied().chain([encoding.loss]).zip(gradients).collect();
        let encoding_source = |id| match ends.iter().find(|(input, _)| *input == id) {
            Some((_, gradient)) => carried(*gradient).unwrap_or(BufferSource::Zero),
            None => BufferSource::Shared(shared.len() as u32),
        };
        let (step, encoding) = (entries(&step.recording, outside), entries(&encoding.recording, encoding_source));
        Self { step, encoding, shared }
    }

    /// Returns the dispatches of one run (the pass over one sequence), followed by those of the artifact encoding (the
    /// computation of the gradient root).
    pub fn entries(&self) -> impl Iterator<Item = &DispatchEntry> {
        self.step.iter().chain(&self.encoding)
    }

    /// Returns the hash of each dispatch. These hashes are the leaves of the Merkle tree whose root is the program
    /// root.
    pub fn hashes(&self) -> Vec<Hash> {
        self.entries().map(DispatchEntry::hash).collect()
    }
}

/// Returns two indexes for each buffer that is written: the index of the last dispatch that writes the buffer, and the
/// index of the buffer among all buffers that this dispatch writes.
fn last_writers(recording: &Recording) -> BTreeMap<BufferId, [u32; 2]> {
    let mut writers = BTreeMap::new();
    for (entry, dispatch) in recording.dispatches().iter().enumerate() {
        for (slot, written) in dispatch.written().enumerate() {
            writers.insert(written.id, [entry as u32, slot as u32]);
        }
    }
    writers
}

/// Converts the dispatches (kernel launches) of a recording to data. The data states the source of the words in each
/// buffer of a dispatch. If an earlier dispatch of the recording has written the buffer, this dispatch is the source.
/// Otherwise, if the buffer is persistent (it keeps its words between runs), the function `outside` returns the source.
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
                (BufferContent::Constant(words), _) => {
                    BufferSource::Constant(*constants.entry(id).or_insert_with(|| tensor_root(words)))
                }
                (BufferContent::Persistent, _) => outside(id),
                (BufferContent::Scratch, _) => BufferSource::Zero,
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
