//! Computes the loss and the LoRA gradient of a chunk, which are sums over all of its sequences.

use crate::{
    compute::{
        Backend, Executor, YieldHook,
        recording::BufferId,
        trace::{Traced, run_traced},
    },
    error::Error,
    kernels::cross_entropy::IGNORE,
    model::transformer::RecordedStep,
    numbers::{
        lora::{GradientMatrix, LoraAdapter},
        rng::dither_key,
    },
};
use std::sync::Arc;

/// The results of one training step: the loss of a chunk, and its gradient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkGradient {
    /// The gradient of each matrix of the adapter, in the adapter's order.
    pub matrices: Vec<GradientMatrix>,
    /// The loss of the chunk, in units of 2^-20 bits of information: the sum of `−log2 p(label)` over all tokens with a
    /// label, where `p(label)` is the probability that the model predicts for the label.
    pub loss: i64,
    /// The number of tokens that have a label and therefore enter the loss.
    pub supervised: usize,
    /// Whether a value left the range of its number format. If so, the gradient is void, and its elements must not be
    /// used.
    pub saturated: bool,
}

impl ChunkGradient {
    /// Returns the mean loss of the tokens that have a label, in nats per token. The value is a float, and serves only
    /// for display.
    pub fn mean_loss(&self) -> f64 {
        nats(self.loss, self.supervised)
    }
}

/// Converts a summed loss to a mean loss in nats per token. `loss` is the sum of the losses of `supervised` tokens, in
/// units of 2^-20 bits of information.
pub fn nats(loss: i64, supervised: usize) -> f64 {
    loss as f64 / f64::from(1 << 20) * std::f64::consts::LN_2 / supervised.max(1) as f64
}

/// Computes the gradients of chunks, by running a recorded training step on an executor.
pub struct Trainer {
    step: RecordedStep,
    executor: Executor,
    exponents: Vec<(i32, i32)>,
    shapes: Vec<(usize, usize)>,
    trace: Option<Vec<Traced>>,
}

impl Trainer {
    /// Prepares a backend to run a recorded training step, and returns the trainer that runs it there.
    pub async fn prepare(step: RecordedStep, backend: &Backend) -> Result<Self, Error> {
        let executor = backend.executor(&Arc::new(step.recording.clone())).await?;
        Ok(Self::new(step, executor))
    }

    /// Builds a trainer from a recorded training step and an executor that runs the step's recording.
    pub fn new(step: RecordedStep, executor: Executor) -> Self {
        Self { step, executor, exponents: Vec::new(), shapes: Vec::new(), trace: None }
    }

    /// Uploads an adapter to the executor. `exponents` contains the exponent of the gradient of each matrix, in the
    /// adapter's order. Returns an error if the adapter does not have the matrices of the recorded step, or if an
    /// exponent is outside ±512.
    pub async fn load(&mut self, adapter: &LoraAdapter, exponents: &[i32]) -> Result<(), Error> {
        let expected = 2 * self.step.adapted_linears.len();
        for (what, found) in [("adapter matrices", adapter.matrices.len()), ("exponents", exponents.len())] {
            if found != expected {
                return Err(Error::Shape { what, expected, found });
            }
        }
        if let Some(&exponent) = exponents.iter().find(|exponent| !(-512..=512).contains(*exponent)) {
            return Err(Error::Value { what: "exponent of a gradient (-512..=512)", value: exponent.into() });
        }
        self.exponents = exponents.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        self.shapes = adapter.matrices.iter().map(|matrix| (matrix.rows, matrix.columns)).collect();
        let mut writes = Vec::new();
        let pairs = adapter.matrices.chunks_exact(2);
        for (((_, buffers), pair), &exponents) in self.step.adapted_linears.iter().zip(pairs).zip(&self.exponents) {
            buffers.check(&pair[0], &pair[1])?;
            writes.extend(buffers.pack(adapter.alpha, &pair[0], &pair[1], exponents));
        }
        self.executor.write_all(&writes).await
    }

    /// Computes the gradient of a chunk's summed loss. The pseudo-random bits of the stochastic rounding are a function
    /// of `task_key` and `step`.
    pub async fn gradient(&mut self, chunk: &[u32], task_key: &[u8; 32], step: u64) -> Result<ChunkGradient, Error> {
        let keys: Vec<_> =
            self.step.streams.names().iter().flat_map(|name| dither_key(task_key, step, name).0).collect();
        let mut outputs: Vec<_> =
            self.step.adapted_linears.iter().flat_map(|(_, lora)| [lora.grad_a, lora.grad_b]).collect();
        outputs.push(self.step.loss);
        let zeros = |id: &BufferId| (*id, vec![0; self.step.recording.get(*id).words]);
        self.executor.write_all(&outputs.iter().map(zeros).collect::<Vec<_>>()).await?;
        let saturated = self.run_chunk(chunk, &keys, self.step.recording.dispatches().len()).await?;
        let mut read = self.executor.read_all(&outputs).await?;
        let loss = read.pop().map_or(0, |words| i64_from_words(&words));
        let (mut matrices, mut read) = (Vec::new(), read.into_iter());
        for ((name, _), exponents) in self.step.adapted_linears.iter().zip(&self.exponents) {
            for (factor, exponent) in [("a", exponents.0), ("b", exponents.1)] {
                let (words, (rows, columns)) = (read.next().unwrap_or_default(), self.shapes[matrices.len()]);
                let values = words.chunks_exact(2).map(i64_from_words).collect();
                matrices.push(GradientMatrix { name: format!("{name}.{factor}"), rows, columns, exponent, values });
            }
        }
        let supervised = chunk.len().saturating_sub(1);
        Ok(ChunkGradient { matrices, loss, supervised, saturated })
    }

    /// Computes the same gradient as [`Self::gradient`], and also returns a digest of the output of each dispatch. This
    /// is slow, because the dispatches run one at a time.
    pub async fn traced_gradient(
        &mut self,
        chunk: &[u32],
        task_key: &[u8; 32],
        step: u64,
    ) -> Result<(ChunkGradient, Vec<Traced>), Error> {
        self.trace = Some(Vec::new());
        let gradient = self.gradient(chunk, task_key, step).await;
        let trace = self.trace.take().unwrap_or_default();
        Ok((gradient?, trace))
    }

    /// Returns the exponent of the gradient of each matrix, in the adapter's order. The exponents were loaded with the
    /// adapter.
    pub(super) fn exponents(&self) -> Vec<i32> {
        self.exponents.iter().flat_map(|pair| [pair.0, pair.1]).collect()
    }

    /// Sets the hook that the executor calls after each slice of work; see [`Executor::set_yield_hook`].
    pub fn set_yield_hook(&mut self, hook: YieldHook) {
        self.executor.set_yield_hook(hook);
    }

    /// Selects one adapted linear layer. In all later runs, the results of this layer's dispatches (kernel launches)
    /// are compared with the results of the reference kernels; see [`Executor::audit`]. The index of the layer is
    /// `number` modulo the number of adapted linear layers. Returns the name of the layer, or `None` if there is no
    /// adapted linear layer.
    pub fn audit(&mut self, number: u64) -> Option<&str> {
        let at = number.checked_rem(self.step.adapted_linears.len() as u64)?;
        let name = self.step.adapted_linears[at as usize].0.as_str();
        let of_linear = |label: &str| label.strip_prefix(name).is_some_and(|rest| rest.starts_with(' '));
        let dispatches = self.step.recording.dispatches().iter().enumerate();
        self.executor.audit(dispatches.filter(|(_, dispatch)| of_linear(&dispatch.label)).map(|(at, _)| at).collect());
        Some(name)
    }

    /// Computes the summed loss of a chunk, in units of 2^-20 bits of information, but no gradient. Also returns
    /// whether a value saturated (left the range of its number format).
    pub async fn evaluate(&mut self, chunk: &[u32]) -> Result<(i64, bool), Error> {
        let keys = vec![0; 2 * self.step.streams.names().len()];
        self.executor.write(self.step.loss, &[0, 0]).await?;
        let saturated = self.run_chunk(chunk, &keys, self.step.forward).await?;
        Ok((i64_from_words(&self.executor.read(self.step.loss).await?), saturated))
    }

    /// Runs the first `dispatches` dispatches (kernel launches) of the recorded step on all sequences of a chunk. One
    /// run computes the fixed number of sequences for which the step was recorded, so a chunk with more sequences takes
    /// several runs. `keys` determine the pseudo-random bits of the rounding. The label of each token is the next token
    /// of the chunk. Returns whether a value left the range of its number format.
    async fn run_chunk(&mut self, chunk: &[u32], keys: &[u32], dispatches: usize) -> Result<bool, Error> {
        if let Some(&id) = chunk.iter().find(|id| **id as usize >= self.step.vocab) {
            return Err(Error::Value { what: "token (beyond the vocabulary)", value: id.into() });
        }
        let tokens = self.step.sequences * self.step.context;
        let filled = chunk.len().next_multiple_of(self.step.context);
        let mut saturated = false;
        for first in (0..chunk.len()).step_by(tokens) {
            let at = |i: usize| chunk.get(i).copied();
            // the last run may compute more sequences than the chunk has left; the surplus ones repeat the first
            // sequence of the chunk, so that they saturate only if the first sequence does
            let source = |i: usize| if i < filled { i } else { i % self.step.context };
            let ids: Vec<_> = (first..first + tokens).map(|i| at(source(i)).unwrap_or(0)).collect();
            let labels: Vec<_> = (first..first + tokens).map(|i| at(i + 1).unwrap_or(IGNORE)).collect();
            let dither = [&[first as u32, 0], keys].concat();
            let writes = [(self.step.ids, ids), (self.step.labels, labels), (self.step.dither, dither)];
            self.executor.write_all(&writes).await?;
            saturated |= match &mut self.trace {
                None => self.executor.run(0..dispatches).await?,
                Some(trace) => run_traced(&mut self.executor, &self.step.recording, 0..dispatches, trace).await?,
            };
        }
        Ok(saturated)
    }
}

/// Converts two words to an i64. The first word contains the low bits.
fn i64_from_words(words: &[u32]) -> i64 {
    (u64::from(words[0]) | u64::from(words[1]) << 32) as i64
}
