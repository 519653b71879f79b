//! Runs a task to obtain its trace: one sequence at a time, one dispatch at a time, on any backend.

use super::{AdapterLayout, ArtifactEncoding, Program};
use crate::{
    compute::{
        Backend, Executor,
        recording::{BufferContent, BufferId, Recording},
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

/// The inputs of a task, which determine its trace together with the model.
#[derive(Clone, Debug)]
pub struct TaskInputs {
    /// The adapter for which the gradient is computed.
    pub adapter: LoraAdapter,
    /// Tokens of the chunk.
    pub tokens: Vec<u32>,
    /// The task key, which keys every dither stream.
    pub task_key: [u8; 32],
    /// Matrices of the job.
    pub matrices: Vec<MatrixSpec>,
    /// Transport of the job.
    pub transport: Transport,
}

impl TaskInputs {
    /// Reads the inputs of a task from blocks.
    pub fn fetch(task: &Task, vocab: u32, blocks: Fetch) -> Result<Self, DisputeError> {
        let adapter = AdapterState::fetch(&task.adapter, blocks)?.adapter;
        task.job.check_adapter(&adapter)?;
        let tokens = Chunk::fetch(&task.chunk, vocab, blocks)?.tokens().to_vec();
        let (task_key, matrices, transport) = (task.key(), task.job.matrices.clone(), task.job.transport);
        Ok(Self { adapter, tokens, task_key, matrices, transport })
    }
}

/// The buffers of one dispatch before and after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Words of the buffers before the dispatch, in binding order.
    pub before: Vec<Vec<u32>>,
    /// Words of the buffers after the dispatch, in binding order.
    pub after: Vec<Vec<u32>>,
    /// Whether a value left its range in this dispatch.
    pub saturated: bool,
}

/// A task that is prepared on a backend and can be run any number of times.
pub struct Replay {
    step: RecordedStep,
    encoding: ArtifactEncoding,
    program: Program,
    subject: Subject,
    inputs: Vec<Hash>,
    adapter: Vec<Hash>,
    sequences: Vec<SequenceInputs>,
    /// Words of the packed adapter's buffers.
    shared: Vec<(BufferId, Vec<u32>)>,
    keys: Vec<u32>,
    executor: Executor,
    encoder: Executor,
    /// If set, a word that is changed after its dispatch, to test dishonest parties.
    #[cfg(test)]
    pub(crate) tampering: Option<Tampering>,
}

/// A word that a dishonest party has changed.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tampering {
    pub(crate) leaf: usize,
    pub(crate) slot: usize,
    pub(crate) word: usize,
    pub(crate) xor: u32,
    pub(crate) saturates: bool,
}

impl Replay {
    /// Records the step for one sequence, and prepares it on a backend.
    pub async fn new(
        model: &Model,
        targets: &Targets,
        inputs: &TaskInputs,
        backend: &Backend,
    ) -> Result<Self, DisputeError> {
        let step = RecordedStep::new(model, targets, 1);
        let encoding = ArtifactEncoding::new(&inputs.matrices, inputs.transport);
        let program = Program::new(&step, &encoding);
        let TaskInputs { adapter, tokens, task_key, matrices, .. } = inputs;
        check_tokens(&step, tokens)?;
        let context = DisputeContext::new(&step, &program);
        let shared = AdapterLayout::new(&step).words(adapter, matrices)?;
        let adapter: Vec<Hash> = shared.iter().map(|(_, words)| tensor_root(words)).collect();
        let (sequences, keys) = (context.sequences(tokens, task_key), transport_keys(matrices, task_key));
        let inputs = roots(&sequences, &keys);
        let subject = context.subject(tokens, task_key, matrices, tree::root(&adapter));
        let executor = backend.executor(&Arc::new(step.recording.clone())).await?;
        let encoder = Backend::Cpu { threads: 1, kernels: |_| None };
        let encoder = encoder.executor(&Arc::new(encoding.recording.clone())).await?;
        Ok(Self {
            step,
            encoding,
            program,
            subject,
            inputs,
            adapter,
            sequences,
            shared,
            keys,
            executor,
            encoder,
            #[cfg(test)]
            tampering: None,
        })
    }

    /// Returns the program of the task's job.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Returns the subject of disputes about this task.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Returns the tensor roots of the task's inputs.
    pub fn inputs(&self) -> &[Hash] {
        &self.inputs
    }

    /// Returns the tensor roots of the packed adapter's buffers.
    pub fn adapter(&self) -> &[Hash] {
        &self.adapter
    }

    /// Returns the name of each adapted linear layer, and the buffers of its gradients: factor `a`, then factor `b`.
    pub(super) fn gradients(&self) -> Vec<(&str, [BufferId; 2])> {
        self.step.adapted_linears.iter().map(|(name, lora)| (name.as_str(), [lora.grad_a, lora.grad_b])).collect()
    }

    /// Returns the index of the last dispatch of a run that writes a buffer, and the number of words in the buffer.
    pub(super) fn writer(&self, id: BufferId) -> Option<(usize, usize)> {
        let dispatches = self.step.recording.dispatches();
        let entry = dispatches.iter().rposition(|dispatch| dispatch.written().any(|written| written.id == id))?;
        Some((entry, self.step.recording.get(id).words))
    }

    /// Runs the task and returns its trace.
    pub async fn trace(&mut self) -> Result<Trace, DisputeError> {
        Ok(self.run(None).await?.0)
    }

    /// Runs the task up to a leaf and returns the buffers before and after its dispatch.
    pub async fn snapshot(&mut self, leaf: usize) -> Result<Snapshot, DisputeError> {
        let limit = self.subject.leaves();
        let found = self.run(Some(leaf)).await?.1;
        found.ok_or(DisputeError::Range { what: "leaf", value: leaf as u64, limit: limit as u64 })
    }

    /// Runs the task up to the leaf `wanted`, or the whole task for its trace.
    async fn run(&mut self, wanted: Option<usize>) -> Result<(Trace, Option<Snapshot>), DisputeError> {
        let mut run = ReplayRun { wanted, ..ReplayRun::default() };
        #[cfg(test)]
        {
            run.tampering = self.tampering;
        }
        for (id, words) in &self.shared {
            self.executor.write(*id, words).await?;
        }
        let ends: Vec<_> = self.gradients().into_iter().flat_map(|(_, ids)| ids).chain([self.step.loss]).collect();
        for id in &ends {
            let zeros = vec![0; self.step.recording.get(*id).words];
            self.executor.write(*id, &zeros).await?;
        }
        for inputs in &self.sequences {
            for (id, words) in [self.step.ids, self.step.labels, self.step.dither].into_iter().zip(inputs) {
                self.executor.write(id, words).await?;
            }
            if let Some(found) = run.run(&mut self.executor, &self.step.recording).await? {
                return Ok((run.trace(), Some(found)));
            }
        }
        self.encoder.write(self.encoding.keys, &self.keys).await?;
        for (to, from) in self.encoding.gradients.iter().chain([&self.encoding.loss]).zip(&ends) {
            self.encoder.write(*to, &self.executor.read(*from).await?).await?;
        }
        let found = run.run(&mut self.encoder, &self.encoding.recording).await?;
        Ok((run.trace(), found))
    }
}

/// The progress of executing all dispatches of a task.
#[derive(Default)]
struct ReplayRun {
    wanted: Option<usize>,
    leaves: Vec<TraceLeaf>,
    /// The number of dispatches that have run so far.
    at: usize,
    saturated: bool,
    #[cfg(test)]
    tampering: Option<Tampering>,
}

impl ReplayRun {
    fn trace(self) -> Trace {
        Trace { leaves: self.leaves }
    }

    /// Runs a recording once, up to the wanted leaf if there is one.
    async fn run(&mut self, executor: &mut Executor, recording: &Recording) -> Result<Option<Snapshot>, DisputeError> {
        let mut begun = BTreeSet::new();
        for (at, dispatch) in recording.dispatches().iter().enumerate() {
            for written in dispatch.written() {
                let scratch = matches!(recording.get(written.id).content, BufferContent::Scratch);
                if scratch && begun.insert(written.id) {
                    executor.write(written.id, &vec![0; recording.get(written.id).words]).await?;
                }
            }
            let wanted = self.wanted == Some(self.at);
            let before = if wanted { executor.read_all(&dispatch.buffers).await? } else { Vec::new() };
            #[cfg_attr(not(test), expect(unused_mut, reason = "tests change it"))]
            let mut saturated = executor.run(at..at + 1).await?;
            #[cfg(test)]
            if let Some(tampering) = self.tampering.filter(|tampering| tampering.leaf == self.at) {
                let id = dispatch.written().nth(tampering.slot).unwrap().id;
                let mut words = executor.read(id).await?;
                words[tampering.word] ^= tampering.xor;
                executor.write(id, &words).await?;
                saturated ^= tampering.saturates;
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

/// Checks that a chunk's tokens are within the vocabulary, and that there are 1 to 2048 of them.
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
