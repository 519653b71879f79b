//! Runs a task again to obtain its trace (the hashes of what each dispatch writes). Dispatches are executed one at a
//! time, and every sequence of the chunk is a run of its own. Any backend can execute the runs.

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

/// The inputs of a task. Together with the model, they determine the trace of the task (the hashes of what each
/// dispatch writes).
#[derive(Clone, Debug)]
pub struct TaskInputs {
    /// The LoRA adapter whose gradient the task computes.
    pub adapter: LoraAdapter,
    /// IDs of the tokens in the chunk, at most 2048.
    pub tokens: Vec<u32>,
    /// The task key: the SHA-256 hash of the seed and the miner's address. All pseudorandom bits for rounding (dither)
    /// are derived from this key.
    pub task_key: [u8; 32],
    /// Name, shape and exponent of each gradient matrix, as the job states them.
    pub matrices: Vec<MatrixSpec>,
    /// The integer format (int8 or int16) to which the job's gradients are rounded.
    pub transport: Transport,
}

impl TaskInputs {
    /// Reads the inputs of a task from data blocks. `blocks` is a function that returns the block with a given CID.
    /// Every token ID must be below `vocab`, the size of the model's vocabulary.
    pub fn fetch(task: &Task, vocab: u32, blocks: Fetch) -> Result<Self, DisputeError> {
        let adapter = AdapterState::fetch(&task.adapter, blocks)?.adapter;
        task.job.check_adapter(&adapter)?;
        let tokens = Chunk::fetch(&task.chunk, vocab, blocks)?.tokens().to_vec();
        let (task_key, matrices, transport) = (task.key(), task.job.matrices.clone(), task.job.transport);
        Ok(Self { adapter, tokens, task_key, matrices, transport })
    }
}

/// The contents of a dispatch's buffers before and after the dispatch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Words of each buffer before the dispatch. The buffers are in binding order.
    pub before: Vec<Vec<u32>>,
    /// Words of each buffer after the dispatch. The buffers are in binding order.
    pub after: Vec<Vec<u32>>,
    /// Whether a value left the range of its number format in this dispatch.
    pub saturated: bool,
}

/// A task that has been prepared on a backend, so that it can be run whenever its trace or its buffers are needed.
pub struct Replay {
    step: RecordedStep,
    encoding: ArtifactEncoding,
    program: Program,
    subject: Subject,
    inputs: Vec<Hash>,
    adapter: Vec<Hash>,
    sequences: Vec<SequenceInputs>,
    /// ID and words of each buffer that holds the packed adapter.
    shared: Vec<(BufferId, Vec<u32>)>,
    keys: Vec<u32>,
    executor: Executor,
    encoder: Executor,
    /// In tests, how a dishonest party falsifies the result of one dispatch; `None` for an honest party.
    #[cfg(test)]
    pub(crate) tampering: Option<Tampering>,
}

/// How a dishonest party of a test falsifies the result of one dispatch.
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
    /// Records the training step for a single sequence, and prepares it on a backend. Fails if there are not 1 to 2048
    /// tokens, if a token ID is not in the model's vocabulary, if the adapter does not match the adapted layers, or if
    /// the backend fails.
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

    /// Returns the program of the job, which describes all dispatches of the task as data.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Returns the subject of disputes about this task: the facts on which both sides agree beforehand.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Returns the Merkle roots of the buffers that hold the task's inputs. Each run (the pass over one sequence) has
    /// three such buffers: the token IDs, the labels, and the keys for stochastic rounding in the run. One more buffer,
    /// whose root is the last, holds the keys for rounding the finished gradients for the artifact.
    pub fn inputs(&self) -> &[Hash] {
        &self.inputs
    }

    /// Returns the tensor root (the Merkle root over the tiles) of each buffer that holds the packed adapter.
    pub fn adapter(&self) -> &[Hash] {
        &self.adapter
    }

    /// Returns, for each adapted linear layer, its name and the buffers that hold the gradients of factor `a` and of
    /// factor `b`.
    pub(super) fn gradients(&self) -> Vec<(&str, [BufferId; 2])> {
        self.step.adapted_linears.iter().map(|(name, lora)| (name.as_str(), [lora.grad_a, lora.grad_b])).collect()
    }

    /// Returns two numbers for a buffer: the index of the last dispatch that writes it, among the dispatches of one run
    /// (the pass over one sequence), and its length in words. Returns `None` if no dispatch writes the buffer.
    pub(super) fn writer(&self, id: BufferId) -> Option<(usize, usize)> {
        let dispatches = self.step.recording.dispatches();
        let entry = dispatches.iter().rposition(|dispatch| dispatch.written().any(|written| written.id == id))?;
        Some((entry, self.step.recording.get(id).words))
    }

    /// Runs the task and returns its trace (the hashes of what each dispatch has written).
    pub async fn trace(&mut self) -> Result<Trace, DisputeError> {
        Ok(self.run(None).await?.0)
    }

    /// Runs the task up to and including the dispatch with the index `leaf` among all dispatches of the task. (The
    /// trace has one leaf for each dispatch, at the same index.) Returns the contents of this dispatch's buffers before
    /// and after it.
    pub async fn snapshot(&mut self, leaf: usize) -> Result<Snapshot, DisputeError> {
        let limit = self.subject.leaves();
        let found = self.run(Some(leaf)).await?.1;
        found.ok_or(DisputeError::Range { what: "leaf", value: leaf as u64, limit: limit as u64 })
    }

    /// Runs the task up to and including the dispatch with the index `wanted` among all dispatches of the task, and
    /// returns a snapshot of this dispatch's buffers. If `wanted` is `None`, runs the whole task and returns its trace.
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

/// The state of one execution of the task's dispatches.
#[derive(Default)]
struct ReplayRun {
    wanted: Option<usize>,
    leaves: Vec<TraceLeaf>,
    /// The number of dispatches executed so far, over all runs. It is also the index of the next leaf of the trace,
    /// which has one leaf for each dispatch.
    at: usize,
    saturated: bool,
    #[cfg(test)]
    tampering: Option<Tampering>,
}

impl ReplayRun {
    fn trace(self) -> Trace {
        Trace { leaves: self.leaves }
    }

    /// Executes the dispatches of a recording, and returns `None`. If a snapshot of the buffers of one of these
    /// dispatches is wanted, stops after this dispatch and returns the snapshot instead.
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

/// Returns an error unless the chunk has 1 to 2048 tokens, and all token IDs are in the vocabulary.
fn check_tokens(step: &RecordedStep, tokens: &[u32]) -> Result<(), DisputeError> {
    let token = tokens.iter().find(|id| **id as usize >= step.vocab);
    if let Some(&id) = token {
        return Err(crate::error::Error::Value { what: "token (beyond the vocabulary)", value: id.into() }.into());
    }
    if tokens.is_empty() || tokens.len() > CHUNK_TOKENS {
        return Err(crate::error::Error::Value { what: "number of tokens", value: tokens.len() as i64 }.into());
    }
    Ok(())
}
