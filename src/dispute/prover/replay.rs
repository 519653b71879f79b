//! Plays a task for its trace: one sequence at a time, one dispatch at a time, on any backend.

use super::{AdapterLayout, ArtifactEncoding, Program};
use crate::{
    compute::{
        Backend, Executor,
        recording::{BufferId, Content, Recording},
    },
    dispute::judge::{
        context::{DisputeContext, SequenceInputs, roots, transport_keys},
        error::DisputeError,
        program::Subject,
        tensor::tensor_root,
        trace::{Trace, TraceLeaf},
        tree::{self, Hash},
    },
    model::{
        transformer::{RecordedStep, Targets},
        weights::Model,
    },
    numbers::lora::LoraAdapter,
    protocol::{AdapterState, CHUNK_TOKENS, Chunk, MatrixSpec, Task, Transport},
    store::Fetch,
};
use std::{collections::BTreeSet, sync::Arc};

/// All that a trace follows from, beside the model.
#[derive(Clone, Debug)]
pub struct TaskInputs {
    /// What is differentiated at.
    pub adapter: LoraAdapter,
    /// The chunk's tokens.
    pub tokens: Vec<u32>,
    /// Of every dither stream.
    pub task_key: [u8; 32],
    /// The job's.
    pub matrices: Vec<MatrixSpec>,
    /// The job's.
    pub transport: Transport,
}

impl TaskInputs {
    /// Of a task whose adapter and chunk are among `blocks`.
    pub fn fetch(task: &Task, vocab: u32, blocks: Fetch) -> Result<Self, DisputeError> {
        let adapter = AdapterState::fetch(&task.adapter, blocks)?.adapter;
        task.job.check_adapter(&adapter)?;
        let tokens = Chunk::fetch(&task.chunk, vocab, blocks)?.tokens().to_vec();
        let (task_key, matrices, transport) = (task.key(), task.job.matrices.clone(), task.job.transport);
        Ok(Self { adapter, tokens, task_key, matrices, transport })
    }
}

/// The buffers of one dispatch before and after it, in binding order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Before.
    pub before: Vec<Vec<u32>>,
    /// After.
    pub after: Vec<Vec<u32>>,
    /// Whether a value left its range in this dispatch.
    pub saturated: bool,
}

/// A task that can be played again and again.
pub struct Replay {
    step: RecordedStep,
    closing: ArtifactEncoding,
    program: Program,
    subject: Subject,
    inputs: Vec<Hash>,
    adapter: Vec<Hash>,
    sequences: Vec<SequenceInputs>,
    /// Words of the packed adapter.
    shared: Vec<(BufferId, Vec<u32>)>,
    keys: Vec<u32>,
    executor: Executor,
    closer: Executor,
    /// Changes a word of what a dispatch left, for tests of liars.
    #[cfg(test)]
    pub(crate) lie: Option<Lie>,
}

/// A word that a liar has changed.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lie {
    pub(crate) leaf: usize,
    pub(crate) slot: usize,
    pub(crate) word: usize,
    pub(crate) xor: u32,
    pub(crate) saturates: bool,
}

impl Replay {
    /// Records the step for one sequence and lays it out on a backend.
    pub async fn new(
        model: &Model,
        targets: &Targets,
        material: &TaskInputs,
        backend: &Backend,
    ) -> Result<Self, DisputeError> {
        let step = RecordedStep::new(model, targets, 1);
        let closing = ArtifactEncoding::new(&material.matrices, material.transport);
        let program = Program::new(&step, &closing);
        let TaskInputs { adapter, tokens, task_key, matrices, .. } = material;
        check_tokens(&step, tokens)?;
        let context = DisputeContext::new(&step, &program);
        let shared = AdapterLayout::new(&step).words(adapter, matrices)?;
        let adapter: Vec<Hash> = shared.iter().map(|(_, words)| tensor_root(words)).collect();
        let (sequences, keys) = (context.sequences(tokens, task_key), transport_keys(matrices, task_key));
        let inputs = roots(&sequences, &keys);
        let subject = context.subject(tokens, task_key, matrices, tree::root(&adapter));
        let executor = backend.executor(&Arc::new(step.recording.clone())).await?;
        let closer = Backend::Cpu { threads: 1, choose: |_| None };
        let closer = closer.executor(&Arc::new(closing.recording.clone())).await?;
        Ok(Self {
            step,
            closing,
            program,
            subject,
            inputs,
            adapter,
            sequences,
            shared,
            keys,
            executor,
            closer,
            #[cfg(test)]
            lie: None,
        })
    }

    /// The dispatches.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// What a dispute over this task is about.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The roots of the task's inputs.
    pub fn inputs(&self) -> &[Hash] {
        &self.inputs
    }

    /// The roots of the packed adapter's buffers.
    pub fn adapter(&self) -> &[Hash] {
        &self.adapter
    }

    /// The name of each adapted linear and the leaves' entries that write its gradients, a then b.
    pub(super) fn gradients(&self) -> Vec<(&str, [BufferId; 2])> {
        self.step.adapted_linears.iter().map(|(name, lora)| (name.as_str(), [lora.grad_a, lora.grad_b])).collect()
    }

    /// The last entry of a play that writes a buffer, and its words.
    pub(super) fn writer(&self, id: BufferId) -> Option<(usize, usize)> {
        let dispatches = self.step.recording.dispatches();
        let entry = dispatches.iter().rposition(|dispatch| dispatch.written().any(|written| written.id == id))?;
        Some((entry, self.step.recording.get(id).words))
    }

    /// The whole trace.
    pub async fn trace(&mut self) -> Result<Trace, DisputeError> {
        Ok(self.run(None).await?.0)
    }

    /// The buffers around the dispatch of one leaf.
    pub async fn snapshot(&mut self, leaf: usize) -> Result<Snapshot, DisputeError> {
        let limit = self.subject.leaves();
        let found = self.run(Some(leaf)).await?.1;
        found.ok_or(DisputeError::Range { what: "leaf", value: leaf as u64, limit: limit as u64 })
    }

    /// Plays up to a wanted leaf, or everything for its trace.
    async fn run(&mut self, wanted: Option<usize>) -> Result<(Trace, Option<Snapshot>), DisputeError> {
        let mut run = Run { wanted, ..Run::default() };
        #[cfg(test)]
        {
            run.lie = self.lie;
        }
        for (id, words) in &self.shared {
            self.executor.write(*id, words).await?;
        }
        let ends: Vec<_> = self.gradients().into_iter().flat_map(|(_, ids)| ids).chain([self.step.loss]).collect();
        for id in &ends {
            let zeros = vec![0; self.step.recording.get(*id).words];
            self.executor.write(*id, &zeros).await?;
        }
        for play in &self.sequences {
            for (id, words) in [self.step.ids, self.step.labels, self.step.dither].into_iter().zip(play) {
                self.executor.write(id, words).await?;
            }
            if let Some(found) = run.run(&mut self.executor, &self.step.recording).await? {
                return Ok((run.trace(), Some(found)));
            }
        }
        self.closer.write(self.closing.keys, &self.keys).await?;
        for (to, from) in self.closing.gradients.iter().chain([&self.closing.loss]).zip(&ends) {
            self.closer.write(*to, &self.executor.read(*from).await?).await?;
        }
        let found = run.run(&mut self.closer, &self.closing.recording).await?;
        Ok((run.trace(), found))
    }
}

/// A play under way.
#[derive(Default)]
struct Run {
    wanted: Option<usize>,
    leaves: Vec<TraceLeaf>,
    /// Leaves so far.
    at: usize,
    saturated: bool,
    #[cfg(test)]
    lie: Option<Lie>,
}

impl Run {
    fn trace(self) -> Trace {
        Trace { leaves: self.leaves }
    }

    /// Plays a recording once; stops after the wanted leaf.
    async fn run(&mut self, executor: &mut Executor, recording: &Recording) -> Result<Option<Snapshot>, DisputeError> {
        let mut begun = BTreeSet::new();
        for (at, dispatch) in recording.dispatches().iter().enumerate() {
            for written in dispatch.written() {
                let scratch = matches!(recording.get(written.id).content, Content::Scratch);
                if scratch && begun.insert(written.id) {
                    executor.write(written.id, &vec![0; recording.get(written.id).words]).await?;
                }
            }
            let wanted = self.wanted == Some(self.at);
            let before = if wanted { executor.read_all(&dispatch.buffers).await? } else { Vec::new() };
            #[cfg_attr(not(test), expect(unused_mut, reason = "tests tamper with it"))]
            let mut saturated = executor.run(at..at + 1).await?;
            #[cfg(test)]
            if let Some(lie) = self.lie.filter(|lie| lie.leaf == self.at) {
                let id = dispatch.written().nth(lie.slot).unwrap().id;
                let mut words = executor.read(id).await?;
                words[lie.word] ^= lie.xor;
                executor.write(id, &words).await?;
                saturated ^= lie.saturates;
            }
            self.saturated |= saturated;
            if wanted {
                let after = executor.read_all(&dispatch.buffers).await?;
                return Ok(Some(Snapshot { before, after, saturated }));
            }
            if self.wanted.is_none() {
                let ids: Vec<_> = dispatch.written().map(|written| written.id).collect();
                let roots = executor.read_all(&ids).await?.iter().map(|words| tensor_root(words)).collect();
                self.leaves.push(TraceLeaf { roots, saturated: self.saturated });
            }
            self.at += 1;
        }
        Ok(None)
    }
}

/// That a chunk's tokens are words of this vocabulary.
fn check_tokens(step: &RecordedStep, tokens: &[u32]) -> Result<(), DisputeError> {
    let token = tokens.iter().find(|id| **id as usize >= step.vocab);
    if let Some(&id) = token {
        return Err(crate::error::Error::Value { what: "token (beyond the vocabulary)", value: id.into() }.into());
    }
    if tokens.is_empty() || tokens.len() > CHUNK_TOKENS {
        return Err(crate::error::Error::Value { what: "tokens of a chunk", value: tokens.len() as i64 }.into());
    }
    Ok(())
}
