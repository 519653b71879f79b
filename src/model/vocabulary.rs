//! Records the computation of the embedding, the output head and the cross-entropy loss. The embedding table is also
//! the weight matrix of the output head. The table is split into shards (ranges of the vocabulary), each small enough
//! for one buffer binding.

use super::{
    attention::Tables,
    linear::{Batch, DitherStreams, RowBuffers},
    weights::Model,
};
use crate::{
    compute::recording::{BufferId, Recording},
    kernels::{
        INFO,
        cross_entropy::{self, dlogits_words},
        embed, head_backward, head_logits, logits_max, logits_sum, loss_sum,
        shared::scores::SCORE_BITS,
    },
    numbers::{fixed::Scale, ternary::row_words},
};
use std::sync::Arc;

/// The embedding table in a recording (a list of kernel launches). The output head reads the same table.
pub struct Vocabulary {
    width: usize,
    exponent: i32,
    shards: Vec<Shard>,
}

/// A shard of the embedding table: the rows of the tokens with IDs `first..first + vocab`.
struct Shard {
    first: usize,
    vocab: usize,
    embedding: BufferId,
    row_scales: BufferId,
}

impl Vocabulary {
    /// Adds the embedding table to a recording (a list of kernel launches). The table is split into shards, so that for
    /// batches of `tokens` tokens, each buffer of a shard has at most `binding_bytes` bytes. A shard has at least four
    /// tokens, even if its buffers then exceed this limit.
    pub fn new(recording: &mut Recording, model: &Model, tokens: usize, binding_bytes: usize) -> Self {
        let (vocab, width, table) = (model.config.vocab, model.config.width, &model.embedding);
        let rows = shard_rows(width, tokens, binding_bytes);
        let mut shards = Vec::new();
        for first in (0..vocab).step_by(rows) {
            let count = rows.min(vocab - first);
            let words = |from: &Arc<[u32]>, each: usize| match count == vocab {
                true => from.clone(),
                false => from[first * each..(first + count) * each].into(),
            };
            let embedding = recording.constant("embedding", words(&table.words, row_words(width)));
            let row_scales = recording.constant("embedding.row_scales", words(&table.row_scales, 1));
            shards.push(Shard { first, vocab: count, embedding, row_scales });
        }
        Self { width, exponent: table.exponent, shards }
    }

    /// Records the initial value of the residual stream: the embedding of each token in `ids`, as i32 rows whose values
    /// have `fraction_bits` fraction bits. Returns the buffer of these rows.
    pub fn embed(&self, recording: &mut Recording, batch: &Batch, ids: BufferId, fraction_bits: u32) -> BufferId {
        let h = recording.scratch("embedded", batch.tokens * (self.width + INFO));
        for part in &self.shards {
            let params = embed::Params {
                tokens: batch.tokens as u32,
                width: self.width as u32,
                shift: 16 - self.exponent - fraction_bits as i32,
                fraction_bits,
                vocab_offset: part.first as u32,
                vocab: part.vocab as u32,
                ..Default::default()
            };
            let buffers = [ids, part.embedding, part.row_scales, h];
            recording.dispatch("embed", &embed::KERNEL, params.words(), &buffers);
        }
        h
    }

    /// Records the computation of a score for every token of the vocabulary: its logit times log2(e), in Q20 (20
    /// fraction bits). `n` contains the input of the output head, one row for each token of the batch. Returns one
    /// buffer for each shard (range of the vocabulary), with the shape `[tokens of the batch, tokens in the shard]`.
    pub fn scores(&self, recording: &mut Recording, tokens: usize, n: RowBuffers) -> Vec<BufferId> {
        let scale = Scale::from_f64(std::f64::consts::LOG2_E).unwrap_or(Scale::ONE);
        let scale = scale.shift(SCORE_BITS as i32 + self.exponent);
        let mut scores = Vec::new();
        for part in &self.shards {
            let z = recording.scratch("head.z", tokens * part.vocab);
            let params = head_logits::Params {
                tokens: tokens as u32,
                width: self.width as u32,
                vocab: part.vocab as u32,
                score_scale: scale.mantissa,
                score_scale_exponent: scale.exponent,
                ..Default::default()
            };
            let buffers = [n.data, n.info, part.embedding, part.row_scales, z];
            recording.dispatch("head logits", &head_logits::KERNEL, params.words(), &buffers);
            scores.push(z);
        }
        scores
    }

    /// Records the computation of the logits, the loss, and the gradient of the logits. Returns the buffers with the
    /// gradient of the logits, one for each shard (range of the vocabulary).
    #[expect(clippy::too_many_arguments, reason = "context first, then inputs")]
    pub fn forward(
        &self,
        recording: &mut Recording,
        batch: &Batch,
        tables: &Tables,
        n: RowBuffers,
        labels: BufferId,
        loss: BufferId,
        streams: &mut DitherStreams,
    ) -> Vec<BufferId> {
        let tokens = batch.tokens;
        let max = recording.scratch("head.max", tokens);
        let sum = recording.scratch("head.sum", 2 * tokens);
        let scores = self.scores(recording, tokens, n);
        let shards = || scores.iter().zip(&self.shards).enumerate();
        let params = |shard: usize, vocab: usize| {
            logits_max::Params { tokens: tokens as u32, vocab: vocab as u32, shard: shard as u32, ..Default::default() }
                .words()
        };
        for (shard, (&z, part)) in shards() {
            recording.dispatch("head max", &logits_max::KERNEL, params(shard, part.vocab), &[z, max]);
        }
        for (shard, (&z, part)) in shards() {
            let buffers = [z, max, tables.exponentials, sum];
            recording.dispatch("head sum", &logits_sum::KERNEL, params(shard, part.vocab), &buffers);
        }
        let stream = streams.add("head.dlogits".into());
        let mut gradients = Vec::new();
        for (part, z) in self.shards.iter().zip(scores) {
            let out = recording.scratch("head.dlogits", tokens * dlogits_words(part.vocab));
            let params = cross_entropy::Params {
                tokens: tokens as u32,
                vocab: part.vocab as u32,
                vocab_offset: part.first as u32,
                stream,
                ..Default::default()
            };
            let buffers = [z, max, sum, labels, part.row_scales, tables.exponentials, batch.dither, out];
            recording.dispatch("cross-entropy", &cross_entropy::KERNEL, params.words(), &buffers);
            let params = loss_sum::Params { tokens: tokens as u32, vocab: part.vocab as u32, ..Default::default() };
            recording.dispatch("loss", &loss_sum::KERNEL, params.words(), &[out, loss]);
            gradients.push(out);
        }
        gradients
    }

    /// Records the computation of the gradient of the output head's input, and returns the buffer of this gradient.
    /// `dlogits` holds the gradient of the logits, one buffer for each shard (range of the vocabulary).
    pub fn backward(&self, recording: &mut Recording, batch: &Batch, dlogits: &[BufferId]) -> BufferId {
        let dn = recording.scratch("head.dn", batch.tokens * (self.width + INFO));
        for (shard, (part, &dlogits)) in self.shards.iter().zip(dlogits).enumerate() {
            let params = head_backward::Params {
                tokens: batch.tokens as u32,
                width: self.width as u32,
                vocab: part.vocab as u32,
                shard: shard as u32,
                exponent: self.exponent - 22,
                ..Default::default()
            };
            let buffers = [dlogits, part.embedding, dn];
            recording.dispatch("head backward", &head_backward::KERNEL, params.words(), &buffers);
        }
        dn
    }
}

/// Returns the number of vocabulary tokens in a shard (a range of the vocabulary). The number is the largest multiple
/// of 4 for which the embeddings of the shard fit in one buffer binding and its logits fit in another, but at least 4.
///
/// The number is a multiple of 4 because one call of the random number generator Threefry yields the dither of four
/// logits. The size of the buffer with the gradient of the logits need not be checked. A row of this buffer has 3/4 of
/// a word for each logit, and up to 26 more words. A row of the logits has one word for each logit. So if the shard has
/// more than about a hundred tokens, the buffer of the logits, which is checked, is the larger one.
fn shard_rows(width: usize, tokens: usize, binding_bytes: usize) -> usize {
    let each = (4 * row_words(width)).max(4 * tokens);
    (binding_bytes / each / 4 * 4).max(4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::transformer::BINDING_BYTES;

    #[test]
    fn shards_fit_a_binding_and_start_at_multiples_of_four() {
        for width in 1..=1 << 15 {
            let rows = shard_rows(width, 1, BINDING_BYTES);
            assert!(rows > 0 && rows.is_multiple_of(4) && rows * 4 * row_words(width) <= BINDING_BYTES, "{width}");
        }
        for tokens in (1..=1 << 16).step_by(15) {
            let rows = shard_rows(2560, tokens, BINDING_BYTES);
            let dlogits = 4 * tokens * dlogits_words(rows);
            assert!(rows.is_multiple_of(4) && (4 * tokens * rows).max(dlogits) <= BINDING_BYTES, "{tokens}");
        }
    }
}
