//! A training step as a recording: embedding, layers, tied head and cross-entropy, then all of it backward.

use super::{
    attention::{Attention, Tables},
    config::{Linear, ModelConfig},
    feed_forward::FeedForward,
    linear::{Batch, LoraBuffers, RecordedLinear, Rows, Streams},
    lora::LoraAdapter,
    norm::Norm,
    peft,
    weights::Model,
};
use crate::{
    fixed::Scale,
    kernels::{
        INFO,
        cross_entropy::{self, dlogits_words},
        embed, head_backward, head_logits, logits_max, logits_sum, loss_sum, residual_add,
        shared::{blocks::BLOCK, scores::SCORE_BITS},
    },
    recording::{BufferId, Content, Recording},
    tables,
    ternary::row_words,
};
use std::sync::Arc;

/// Largest buffer that one binding may hold under WebGPU's default limits.
const BINDING_BYTES: usize = 128 << 20;

/// A recorded step and the buffers that its player writes and reads.
pub struct Step {
    /// Everything, forward then backward.
    pub recording: Recording,
    /// Dispatches of the forward pass, loss included.
    pub forward: usize,
    /// Sequences a play.
    pub sequences: usize,
    /// Tokens of a sequence.
    pub context: usize,
    /// Ids are below this.
    pub vocab: usize,
    /// `[tokens]`.
    pub ids: BufferId,
    /// `[tokens]`, [`cross_entropy::IGNORE`] for none.
    pub labels: BufferId,
    /// First token's chunk position, 0, keys of `streams`.
    pub dither: BufferId,
    /// i64 Q20 in bits, accumulated.
    pub loss: BufferId,
    /// Every adapted linear, in canonical order, named as in adapters.
    pub adapted: Vec<(String, LoraBuffers)>,
    /// Names of dither streams.
    pub streams: Streams,
}

/// What is trained: the rank and the linears that have an adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets {
    /// 4..=64.
    pub rank: usize,
    /// Adapted in every layer, in canonical order.
    pub linears: Vec<Linear>,
}

impl Targets {
    /// What an adapter adapts, as the names of its matrices say.
    pub fn of(adapter: &LoraAdapter) -> Self {
        let names = adapter.matrices.iter().filter_map(|matrix| peft::place(&matrix.name));
        let mut linears: Vec<_> = names.map(|(_, linear, _)| linear).collect();
        linears.sort_unstable();
        linears.dedup();
        Self { rank: adapter.rank, linears }
    }

    /// (name, in_features, out_features) of every adapted linear, in canonical order.
    pub fn shapes(&self, config: &ModelConfig) -> Vec<(String, usize, usize)> {
        let of_layer = |i| {
            self.linears.iter().map(move |linear| {
                let (in_features, out_features) = linear.shape(config);
                (format!("layers.{i}.{}", linear.name()), in_features, out_features)
            })
        };
        (0..config.layers).flat_map(of_layer).collect()
    }
}

impl Step {
    /// Records a step of `sequences` sequences.
    pub fn new(model: &Model, targets: &Targets, sequences: usize) -> Self {
        let config = &model.config;
        let mut recording = Recording::default();
        let mut streams = Streams::default();
        let (batch, tables) = inputs(&mut recording, config, sequences);
        let tokens = batch.tokens;
        let ids = recording.buffer("ids", tokens, Content::Kept);
        let labels = recording.buffer("labels", tokens, Content::Kept);
        let loss = recording.buffer("loss", 2, Content::Kept);
        let layers: Vec<_> =
            model.layers.iter().enumerate().map(|(i, _)| layer(&mut recording, model, targets, i)).collect();

        let embedding = Embedded::new(&mut recording, model);
        let mut h = embedding.rows(&mut recording, model, tokens, ids);

        let mut saved = Vec::new();
        for (attention, feed_forward) in &layers {
            let (y, saved_attention) = attention.forward(&mut recording, &batch, &tables, h);
            h = add(&mut recording, config, tokens, h, y);
            let (y, saved_feed_forward) = feed_forward.forward(&mut recording, &batch, h);
            h = add(&mut recording, config, tokens, h, y);
            saved.push((saved_attention, saved_feed_forward));
        }

        let final_norm = Norm::new(&mut recording, "final_norm".into(), &model.final_norm, config);
        let (n, saved_norm) = final_norm.wide(&mut recording, &batch, h);
        let head = Head::new(&mut recording, model, &embedding);
        let dlogits = head.forward(&mut recording, &batch, &tables, n, labels, loss, &mut streams);
        let forward = recording.dispatches().len();
        let dn = head.backward(&mut recording, &batch, &dlogits);
        let mut dh = final_norm.backward(&mut recording, &batch, (dn, 1), saved_norm, None);

        for (i, ((attention, feed_forward), saved)) in layers.iter().zip(saved).enumerate().rev() {
            let (saved_attention, saved_feed_forward) = saved;
            dh = feed_forward.backward(&mut recording, &batch, dh, saved_feed_forward, &mut streams);
            let bottom = i == 0;
            let below = attention.backward(&mut recording, &batch, &tables, dh, saved_attention, &mut streams, bottom);
            dh = below.unwrap_or(dh);
        }

        let adapted = adapted(&layers);
        let dither = batch.dither;
        recording.resize(dither, 2 + 2 * streams.names().len());
        Self {
            recording,
            forward,
            sequences,
            context: config.context,
            vocab: config.vocab,
            ids,
            labels,
            dither,
            loss,
            adapted,
            streams,
        }
    }
}

/// The adapted linears of some layers, in canonical order, named as in adapters.
pub(super) fn adapted(layers: &[(Attention, FeedForward)]) -> Vec<(String, LoraBuffers)> {
    let of_layer = |(i, (attention, feed_forward)): (usize, &(Attention, FeedForward))| {
        let linears = attention.linears().into_iter().chain(feed_forward.linears());
        let named = linears.into_iter().filter_map(move |(linear, recorded)| {
            recorded.lora().map(|lora| (format!("layers.{i}.{}", linear.name()), *lora))
        });
        named.collect::<Vec<_>>()
    };
    layers.iter().enumerate().flat_map(of_layer).collect()
}

pub(super) fn inputs(recording: &mut Recording, config: &ModelConfig, sequences: usize) -> (Batch, Tables) {
    let (context, tokens) = (config.context, sequences * config.context);
    let positions: Vec<u32> = (0..sequences).flat_map(|_| 0..context as u32).collect();
    let spans: Vec<u32> = (0..sequences)
        .flat_map(|sequence| (0..context).step_by(BLOCK).map(move |at| (sequence * context + at, context - at)))
        .flat_map(|(first, left)| [first as u32, left.min(BLOCK) as u32])
        .collect();
    let batch = Batch {
        tokens,
        blocks: spans.len() / 2,
        spans: recording.constant("spans", spans),
        dither: recording.buffer("dither", 2, Content::Kept),
    };
    let exponentials = [tables::exp2_table(), tables::log2_table()].concat();
    let tables = Tables {
        positions: recording.constant("positions", positions),
        exponentials: recording.constant("tables", exponentials),
        rope: recording.constant("rope", tables::rope_table(context, config.head_dim, config.rope_theta)),
        identity: recording.constant("no rope", tables::identity_rope(config.head_dim)),
    };
    (batch, tables)
}

pub(super) fn layer(recording: &mut Recording, model: &Model, targets: &Targets, i: usize) -> (Attention, FeedForward) {
    let (config, weights) = (&model.config, &model.layers[i]);
    let mut linear = |linear: Linear| {
        let name = format!("layers.{i}.{}", linear.name());
        let rank = if targets.linears.contains(&linear) { targets.rank } else { 0 };
        RecordedLinear::new(recording, name, &weights.linears[linear as usize], rank)
    };
    let attention = [Linear::Query, Linear::Key, Linear::Value, Linear::Output].map(&mut linear);
    let feed_forward = [Linear::Gate, Linear::Up, Linear::Down].map(&mut linear);
    let mut norm = |name, gain| Norm::new(recording, format!("layers.{i}.{name}"), gain, config);
    let attention_norms =
        [norm("attention_norm", &weights.attention_norm), norm("attention_sub_norm", &weights.attention_sub_norm)];
    let ffn_norms = [norm("ffn_norm", &weights.ffn_norm), norm("ffn_sub_norm", &weights.ffn_sub_norm)];
    (
        Attention::new(format!("layers.{i}.attention"), config, attention_norms, attention),
        FeedForward::new(format!("layers.{i}.feed_forward"), config, ffn_norms, feed_forward),
    )
}

pub(super) fn add(
    recording: &mut Recording,
    config: &ModelConfig,
    tokens: usize,
    h: BufferId,
    y: BufferId,
) -> BufferId {
    let out = recording.scratch("residual", tokens * (config.width + INFO));
    let params = residual_add::Params {
        tokens: tokens as u32,
        width: config.width as u32,
        fraction_bits: config.residual_fraction_bits,
        ..Default::default()
    };
    recording.dispatch("residual", &residual_add::KERNEL, params.words(), &[h, y, out]);
    out
}

/// The embedding in a recording.
pub(super) struct Embedded {
    words: BufferId,
    row_scales: BufferId,
}

impl Embedded {
    pub(super) fn new(recording: &mut Recording, model: &Model) -> Self {
        let words = recording.constant("embedding", model.embedding.words.clone());
        Self { words, row_scales: recording.constant("embedding.row_scales", model.embedding.row_scales.clone()) }
    }

    /// Records the residual's first rows.
    pub(super) fn rows(&self, recording: &mut Recording, model: &Model, tokens: usize, ids: BufferId) -> BufferId {
        let config = &model.config;
        let h = recording.scratch("embedded", tokens * (config.width + INFO));
        let params = embed::Params {
            tokens: tokens as u32,
            width: config.width as u32,
            shift: 16 - model.embedding.exponent - config.residual_fraction_bits as i32,
            fraction_bits: config.residual_fraction_bits,
            ..Default::default()
        };
        recording.dispatch("embed", &embed::KERNEL, params.words(), &[ids, self.words, self.row_scales, h]);
        h
    }
}

/// The tied head: embeddings in shards that one binding can hold.
pub(super) struct Head {
    width: usize,
    exponent: i32,
    shards: Vec<Shard>,
}

struct Shard {
    first: usize,
    vocab: usize,
    embedding: BufferId,
    row_scales: BufferId,
}

impl Head {
    pub(super) fn new(recording: &mut Recording, model: &Model, embedded: &Embedded) -> Self {
        let (vocab, width) = (model.config.vocab, model.config.width);
        let rows = shard_rows(width);
        let mut shards = Vec::new();
        for first in (0..vocab).step_by(rows) {
            let count = rows.min(vocab - first);
            if count == vocab {
                shards.push(Shard { first, vocab, embedding: embedded.words, row_scales: embedded.row_scales });
                continue;
            }
            let words =
                |from: &Arc<[u32]>, each: usize| -> Arc<[u32]> { from[first * each..(first + count) * each].into() };
            let embedding = recording.constant("embedding.shard", words(&model.embedding.words, row_words(width)));
            let row_scales = recording.constant("embedding.shard.row_scales", words(&model.embedding.row_scales, 1));
            shards.push(Shard { first, vocab: count, embedding, row_scales });
        }
        Self { width, exponent: model.embedding.exponent, shards }
    }

    /// Records the scores of every token, Q20 in base 2, a buffer `[tokens, shard's vocabulary]` a shard.
    pub(super) fn scores(&self, recording: &mut Recording, tokens: usize, n: Rows) -> Vec<BufferId> {
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

    #[expect(clippy::too_many_arguments, reason = "context first, then inputs")]
    fn forward(
        &self,
        recording: &mut Recording,
        batch: &Batch,
        tables: &Tables,
        n: Rows,
        labels: BufferId,
        loss: BufferId,
        streams: &mut Streams,
    ) -> Vec<BufferId> {
        let tokens = batch.tokens;
        let max = recording.scratch("head.max", tokens);
        let sum = recording.scratch("head.sum", 2 * tokens);
        let scores = self.scores(recording, tokens, n);
        for (shard, (part, &z)) in self.shards.iter().zip(&scores).enumerate() {
            let params = logits_max::Params {
                tokens: tokens as u32,
                vocab: part.vocab as u32,
                shard: shard as u32,
                ..Default::default()
            };
            recording.dispatch("head max", &logits_max::KERNEL, params.words(), &[z, max]);
        }
        for (shard, (part, &z)) in self.shards.iter().zip(&scores).enumerate() {
            let params = logits_sum::Params {
                tokens: tokens as u32,
                vocab: part.vocab as u32,
                shard: shard as u32,
                ..Default::default()
            };
            let buffers = [z, max, tables.exponentials, sum];
            recording.dispatch("head sum", &logits_sum::KERNEL, params.words(), &buffers);
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

    fn backward(&self, recording: &mut Recording, batch: &Batch, dlogits: &[BufferId]) -> BufferId {
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

/// Embeddings of a shard: what a binding holds, in fours, because four logits share a call of the dither.
fn shard_rows(width: usize) -> usize {
    BINDING_BYTES / (16 * row_words(width)) * 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_fit_a_binding_and_start_at_fours() {
        for width in 1..=1 << 15 {
            let rows = shard_rows(width);
            assert!(rows > 0 && rows.is_multiple_of(4) && rows * 4 * row_words(width) <= BINDING_BYTES, "{width}");
        }
    }
}
