//! Text generation: the model reads a few tokens at a time and keeps the keys and values of earlier tokens in a cache.
//! The window is the sequence of all tokens for which the cache has room.
//!
//! The list of kernel launches is made once, for the whole window. In the forward pass, each kernel has one work unit
//! (an independent part of the computation) for each token. The work unit of a token reads only the data of this token
//! and of earlier tokens. Therefore a run can compute only the work units of the new tokens, and its results have the
//! same bits as those of a run over the whole window.

use super::{
    config::ModelConfig,
    norm::Norm,
    transformer::{BINDING_BYTES, Targets, adapted_linears, record_inputs, record_layer, record_residual_add},
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
use std::{ops::Range, sync::Arc};

/// A model on a backend, with or without an adapter, and the tokens that it has read.
pub struct Decoder {
    executor: Executor,
    recording: Arc<Recording>,
    ids: BufferId,
    /// The buffers of the scores, one buffer for each shard (part) of the vocabulary. A row of a buffer belongs to one
    /// position of the window, and contains the score of each token of the shard as the next token.
    scores: Vec<BufferId>,
    vocab: usize,
    /// The tokens read so far, followed by unused entries. The length is always the largest number of tokens that can
    /// be read.
    window: Vec<u32>,
    /// The number of tokens read so far.
    read: usize,
}

impl Decoder {
    /// Records the forward pass of `model`, and uploads the weights of the model to `backend`. The decoder can then
    /// take at most `window` tokens of input. If `window` exceeds the context length of the model, it is reduced to the
    /// context length.
    pub async fn new(
        model: &Model,
        adapter: Option<&LoraAdapter>,
        window: usize,
        backend: &Backend,
    ) -> Result<Self, Error> {
        let window = window.clamp(1, model.config.context);
        let targets = adapter.map_or(Targets { rank: 0, linears: Vec::new() }, Targets::from_adapter);
        if let Some(adapter) = adapter {
            adapter.check_shapes(&targets.shapes(&model.config))?;
        }
        let config = ModelConfig { context: window, ..model.config.clone() };
        let mut recording = Recording::default();
        let (batch, tables) = record_inputs(&mut recording, &config, 1);
        let ids = recording.buffer("ids", window, BufferContent::Persistent);
        let layers: Vec<_> =
            (0..config.layers).map(|i| record_layer(&mut recording, model, &targets, tables, i)).collect();

        let vocabulary = Vocabulary::new(&mut recording, model, window, BINDING_BYTES);
        let mut h = vocabulary.embed(&mut recording, &batch, ids, config.residual_fraction_bits);
        for (attention, feed_forward) in &layers {
            let (y, saved) = attention.forward(&mut recording, &batch, h);
            saved.keep_keys_and_values(&mut recording);
            h = record_residual_add(&mut recording, &config, window, h, y);
            let (y, _) = feed_forward.forward(&mut recording, &batch, h);
            h = record_residual_add(&mut recording, &config, window, h, y);
        }
        let final_norm = Norm::new(&mut recording, "final_norm".into(), &model.final_norm, &config);
        let (n, _) = final_norm.wide(&mut recording, &batch, h);
        let scores = vocabulary.scores(&mut recording, window, n);

        let recording = Arc::new(recording);
        let mut executor = backend.executor(&recording).await?;
        if let Some(adapter) = adapter {
            let mut writes = Vec::new();
            for ((_, buffers), pair) in adapted_linears(&layers).iter().zip(adapter.matrices.chunks_exact(2)) {
                writes.extend(buffers.pack(adapter.alpha, &pair[0], &pair[1], (0, 0)));
            }
            executor.write_all(&writes).await?;
        }
        Ok(Self { executor, recording, ids, scores, vocab: config.vocab, window: vec![0; window], read: 0 })
    }

    /// Returns how many more tokens can be read before the window is full.
    pub fn remaining(&self) -> usize {
        self.window.len() - self.read
    }

    /// Returns the tokens read so far.
    pub fn tokens(&self) -> &[u32] {
        &self.window[..self.read]
    }

    /// Empties the window, so that a new text can be read.
    pub fn reset(&mut self) {
        self.read = 0;
    }

    /// Reads the next tokens of a text, at least one and at most [`Self::remaining`]. Returns a score for each token of
    /// the vocabulary.
    ///
    /// The score of a token is the base-2 logarithm, in Q20 (20 fraction bits), of the probability that it comes next,
    /// plus a constant that is the same for all tokens.
    ///
    /// Returns [`Error::Saturated`] if a value leaves its range, because the scores are then meaningless. The error
    /// contains the label of the kernel launch that computed the value.
    pub async fn read(&mut self, tokens: &[u32]) -> Result<Vec<i32>, Error> {
        let (first, end) = (self.read, self.read + tokens.len());
        if tokens.is_empty() || end > self.window.len() {
            return Err(Error::Shape { what: "tokens to read", expected: self.remaining(), found: tokens.len() });
        }
        if let Some(&id) = tokens.iter().find(|id| **id as usize >= self.vocab) {
            return Err(Error::Value { what: "token (beyond the vocabulary)", value: id.into() });
        }
        self.window[first..end].copy_from_slice(tokens);
        self.executor.write(self.ids, &self.window).await?;
        // runs start at a multiple of the unit alignment: a few earlier tokens are computed again, with the same result
        let first = first & !(self.executor.unit_alignment() - 1);
        if self.executor.run_units(0..self.recording.dispatches().len(), first..end).await? {
            return Err(Error::Saturated { what: self.first_saturation(first..end).await? });
        }
        self.read = end;
        let mut next = Vec::with_capacity(self.vocab);
        for shard in &self.scores {
            let rows = self.executor.read(*shard).await?;
            let vocab = rows.len() / self.window.len();
            next.extend(rows[(end - 1) * vocab..end * vocab].iter().map(|score| *score as i32));
        }
        Ok(next)
    }

    /// Runs the dispatches (kernel launches) again one by one, and returns the label of the first dispatch in which a
    /// value leaves its range. `units` are the indexes of the tokens for which the dispatches are run.
    async fn first_saturation(&mut self, units: Range<usize>) -> Result<String, Error> {
        for (at, dispatch) in self.recording.dispatches().iter().enumerate() {
            if self.executor.run_units(at..at + 1, units.clone()).await? {
                return Ok(dispatch.label.clone());
            }
        }
        Ok("the forward pass".into())
    }
}
