//! A decoder: the forward pass alone, a few tokens at a time; what was read stays as keys and values.
//!
//! Kernels of the forward pass have a unit a token and see only tokens before it. So the recording of a whole window is
//! played for the new tokens' units alone, and every bit is that of the whole pass.

use super::{
    config::ModelConfig,
    norm::Norm,
    transformer::{BINDING_BYTES, Targets, adapted, add, inputs, layer},
    vocabulary::Vocabulary,
    weights::Model,
};
use crate::{
    compute::{
        Backend, Executor,
        recording::{BufferContent, BufferId, Recording},
    },
    error::Error,
    numbers::lora::LoraAdapter,
};
use std::sync::Arc;

/// A model, with an adapter or without, that has read some tokens.
pub struct Decoder {
    executor: Executor,
    recording: Arc<Recording>,
    ids: BufferId,
    /// `[window, shard's vocabulary]` each.
    scores: Vec<BufferId>,
    vocab: usize,
    /// What was read, then zeros, `[window]`.
    window: Vec<u32>,
    read: usize,
}

impl Decoder {
    /// Lays out `model` for up to `window` tokens, at most its context.
    pub async fn new(
        model: &Model,
        adapter: Option<&LoraAdapter>,
        window: usize,
        backend: &Backend,
    ) -> Result<Self, Error> {
        let window = window.clamp(1, model.config.context);
        let targets = adapter.map_or(Targets { rank: 0, linears: Vec::new() }, Targets::of);
        if let Some(adapter) = adapter {
            adapter.check_shapes(&targets.shapes(&model.config))?;
        }
        let config = ModelConfig { context: window, ..model.config.clone() };
        let mut recording = Recording::default();
        let (batch, tables) = inputs(&mut recording, &config, 1);
        let ids = recording.buffer("ids", window, BufferContent::Persistent);
        let layers: Vec<_> = (0..config.layers).map(|i| layer(&mut recording, model, &targets, i)).collect();

        let vocabulary = Vocabulary::new(&mut recording, model, window, BINDING_BYTES);
        let mut h = vocabulary.embed(&mut recording, &batch, ids, config.residual_fraction_bits);
        for (attention, feed_forward) in &layers {
            let (y, saved) = attention.forward(&mut recording, &batch, &tables, h);
            saved.keep_keys_and_values(&mut recording);
            h = add(&mut recording, &config, window, h, y);
            let (y, _) = feed_forward.forward(&mut recording, &batch, h);
            h = add(&mut recording, &config, window, h, y);
        }
        let final_norm = Norm::new(&mut recording, "final_norm".into(), &model.final_norm, &config);
        let (n, _) = final_norm.wide(&mut recording, &batch, h);
        let scores = vocabulary.scores(&mut recording, window, n);

        let recording = Arc::new(recording);
        let mut executor = backend.executor(&recording).await?;
        if let Some(adapter) = adapter {
            let mut writes = Vec::new();
            for ((_, buffers), pair) in adapted(&layers).iter().zip(adapter.matrices.chunks_exact(2)) {
                writes.extend(buffers.pack(adapter.alpha, &pair[0], &pair[1], (0, 0)));
            }
            executor.write_all(&writes).await?;
        }
        Ok(Self { executor, recording, ids, scores, vocab: config.vocab, window: vec![0; window], read: 0 })
    }

    /// Tokens that may still be read.
    pub fn room(&self) -> usize {
        self.window.len() - self.read
    }

    /// The tokens read so far.
    pub fn tokens(&self) -> &[u32] {
        &self.window[..self.read]
    }

    /// Forgets all that was read.
    pub fn forget(&mut self) {
        self.read = 0;
    }

    /// Reads at least one token, at most [`Self::room`], and returns what may come next: a score for each token of the
    /// vocabulary, the logarithm to base 2 of its probability but for a constant, Q20.
    pub async fn read(&mut self, tokens: &[u32]) -> Result<Vec<i32>, Error> {
        let (first, end) = (self.read, self.read + tokens.len());
        if tokens.is_empty() || end > self.window.len() {
            return Err(Error::Shape { what: "tokens to read", expected: self.room(), found: tokens.len() });
        }
        if let Some(&id) = tokens.iter().find(|id| **id as usize >= self.vocab) {
            return Err(Error::Value { what: "token (beyond the vocabulary)", value: id.into() });
        }
        self.window[first..end].copy_from_slice(tokens);
        self.executor.write(self.ids, &self.window).await?;
        // from the start of a group of units: the tokens before that were read are read again, those after say nothing
        let first = first & !(self.executor.unit_alignment() - 1);
        self.executor.run_units(0..self.recording.dispatches().len(), first..end).await?;
        self.read = end;
        let mut next = Vec::with_capacity(self.vocab);
        for shard in &self.scores {
            let rows = self.executor.read(*shard).await?;
            let vocab = rows.len() / self.window.len();
            next.extend(rows[(end - 1) * vocab..end * vocab].iter().map(|score| *score as i32));
        }
        Ok(next)
    }
}
