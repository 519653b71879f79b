//! Records a training step: a forward pass, and then a backward pass. The forward pass consists of the embedding, the
//! decoder layers, the output head (whose weights are the embedding table) and the cross-entropy loss.

use super::{
    attention::{Attention, Tables},
    config::{Linear, ModelConfig},
    feed_forward::FeedForward,
    linear::{Batch, DitherStreams, LoraBuffers, RecordedLinear},
    norm::Norm,
    peft,
    vocabulary::Vocabulary,
    weights::Model,
};
use crate::{
    compute::recording::{BufferContent, BufferId, Recording},
    kernels::{INFO, residual_add, shared::blocks::BLOCK},
    numbers::{lora::LoraAdapter, tables},
};

/// The largest storage buffer binding that WebGPU's default limits allow, in bytes.
pub const BINDING_BYTES: usize = 128 << 20;

/// A training step as a recording (a list of kernel launches), and the buffers that the host writes and reads.
pub struct RecordedStep {
    /// The dispatches of the forward pass, and then those of the backward pass.
    pub recording: Recording,
    /// The number of dispatches in the forward pass, which includes the loss.
    pub forward: usize,
    /// The number of sequences that one run of the recording processes together.
    pub sequences: usize,
    /// The number of tokens in a sequence.
    pub context: usize,
    /// The number of tokens in the vocabulary. All token IDs are below it.
    pub vocab: usize,
    /// Buffer `[tokens]` that contains the ID of each input token.
    pub ids: BufferId,
    /// Buffer `[tokens]` that contains the label of each input token: the ID of the token that should follow, or
    /// [`IGNORE`](crate::kernels::cross_entropy::IGNORE) if the token has no label.
    pub labels: BufferId,
    /// The buffer from which kernels derive the dither (pseudo-random bits for stochastic rounding). It contains the
    /// index of the batch's first token in its chunk, a zero word, and then a key of two words for each tensor that is
    /// rounded with dither. The field `streams` lists the names of these tensors.
    pub dither: BufferId,
    /// Buffer that contains the cross-entropy loss, as an i64 in units of 2^-20 bits of information. Every run adds to
    /// it until the host resets it to zero.
    pub loss: BufferId,
    /// The name of each adapted linear layer, such as `layers.0.attention.q`, and the buffers of its adapter. The
    /// layers are in canonical order.
    pub adapted_linears: Vec<(String, LoraBuffers)>,
    /// The names of the tensors that are rounded with dither (pseudo-random bits). From each name the host derives a
    /// key, and writes it to the buffer `dither`.
    pub streams: DitherStreams,
}

/// A description of the adapter that is trained: its rank, and the linear layers that it adapts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets {
    /// The LoRA rank, which is in 4..=64.
    pub rank: usize,
    /// The linear layers that have an adapter in every decoder layer, in canonical order.
    pub linears: Vec<Linear>,
}

impl Targets {
    /// Returns the rank of an adapter, and the linear layers that it adapts. The linear layers follow from the names of
    /// its matrices, such as `layers.0.attention.q.a`.
    pub fn from_adapter(adapter: &LoraAdapter) -> Self {
        let names = adapter.matrices.iter().filter_map(|matrix| peft::parse_matrix_name(&matrix.name));
        let mut linears: Vec<_> = names.map(|(_, linear, _)| linear).collect();
        linears.sort_unstable();
        linears.dedup();
        Self { rank: adapter.rank, linears }
    }

    /// Returns the name, `in_features` and `out_features` of every adapted linear layer in a model with this config, in
    /// canonical order.
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

impl RecordedStep {
    /// Records a training step that processes `sequences` sequences together. `targets` describes the adapter.
    pub fn new(model: &Model, targets: &Targets, sequences: usize) -> Self {
        Self::sharded(model, targets, sequences, BINDING_BYTES)
    }

    /// Records a training step that processes `sequences` sequences together. The vocabulary is split into shards, so
    /// that each buffer of a shard has at most `binding_bytes` bytes. A shard has at least four tokens, even if its
    /// buffers then exceed this limit. The number of shards does not affect any result.
    pub fn sharded(model: &Model, targets: &Targets, sequences: usize, binding_bytes: usize) -> Self {
        let config = &model.config;
        let mut recording = Recording::default();
        let mut streams = DitherStreams::default();
        let (batch, tables) = record_inputs(&mut recording, config, sequences);
        let tokens = batch.tokens;
        let ids = recording.buffer("ids", tokens, BufferContent::Persistent);
        let labels = recording.buffer("labels", tokens, BufferContent::Persistent);
        let loss = recording.buffer("loss", 2, BufferContent::Persistent);
        let layers: Vec<_> =
            (0..config.layers).map(|i| record_layer(&mut recording, model, targets, tables, i)).collect();

        let vocabulary = Vocabulary::new(&mut recording, model, tokens, binding_bytes);
        let mut h = vocabulary.embed(&mut recording, &batch, ids, config.residual_fraction_bits);

        let mut saved = Vec::new();
        for (attention, feed_forward) in &layers {
            let (y, saved_attention) = attention.forward(&mut recording, &batch, h);
            h = record_residual_add(&mut recording, config, tokens, h, y);
            let (y, saved_feed_forward) = feed_forward.forward(&mut recording, &batch, h);
            h = record_residual_add(&mut recording, config, tokens, h, y);
            saved.push((saved_attention, saved_feed_forward));
        }

        let final_norm = Norm::new(&mut recording, "final_norm".into(), &model.final_norm, config);
        let (n, saved_norm) = final_norm.wide(&mut recording, &batch, h);
        let dlogits = vocabulary.forward(&mut recording, &batch, &tables, n, labels, loss, &mut streams);
        let forward = recording.dispatches().len();
        let dn = vocabulary.backward(&mut recording, &batch, &dlogits);
        let mut dh = final_norm.backward(&mut recording, &batch, (dn, 1), saved_norm, None);

        for (i, ((attention, feed_forward), saved)) in layers.iter().zip(saved).enumerate().rev() {
            let (saved_attention, saved_feed_forward) = saved;
            dh = feed_forward.backward(&mut recording, &batch, dh, saved_feed_forward, &mut streams);
            let bottom = i == 0;
            let below = attention.backward(&mut recording, &batch, dh, saved_attention, &mut streams, bottom);
            dh = below.unwrap_or(dh);
        }

        let adapted_linears = adapted_linears(&layers);
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
            adapted_linears,
            streams,
        }
    }
}

/// Returns the name of each adapted linear layer, such as `layers.0.attention.q`, and the buffers of its adapter. The
/// layers are in canonical order.
pub(super) fn adapted_linears(layers: &[(Attention, FeedForward)]) -> Vec<(String, LoraBuffers)> {
    let of_layer = |(i, (attention, feed_forward)): (usize, &(Attention, FeedForward))| {
        let linears = attention.linears().into_iter().chain(feed_forward.linears());
        let named = linears.into_iter().filter_map(move |(linear, recorded)| {
            recorded.lora().map(|lora| (format!("layers.{i}.{}", linear.name()), *lora))
        });
        named.collect::<Vec<_>>()
    };
    layers.iter().enumerate().flat_map(of_layer).collect()
}

/// Adds to a recording the buffers that both the forward pass and the backward pass read: the positions of the tokens,
/// the spans (the first token and the length of each block of tokens), the dither keys, and the constant tables of
/// attention.
pub(super) fn record_inputs(recording: &mut Recording, config: &ModelConfig, sequences: usize) -> (Batch, Tables) {
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
        dither: recording.buffer("dither", 2, BufferContent::Persistent),
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

/// Adds to a recording the weights of the decoder layer with index `i`, and the adapters of the linear layers in
/// `targets`. The layer's attention reads the constant tables `tables`.
pub(super) fn record_layer(
    recording: &mut Recording,
    model: &Model,
    targets: &Targets,
    tables: Tables,
    i: usize,
) -> (Attention, FeedForward) {
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
        Attention::new(format!("layers.{i}.attention"), config, tables, attention_norms, attention),
        FeedForward::new(format!("layers.{i}.feed_forward"), config, ffn_norms, feed_forward),
    )
}

/// Records the addition of y, the output of a block, to the residual stream h. Returns the buffer of the sum.
pub(super) fn record_residual_add(
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
