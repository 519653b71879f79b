//! Causal grouped-query attention and the norms around it. The functions add the kernel launches of the forward and of
//! the backward pass to a recording (a list of kernel launches).

use super::{
    config::{Linear, ModelConfig},
    linear::{Batch, DitherStreams, RecordedLinear, RowBuffers, SavedLinear, rows},
    norm::{Norm, SavedNorm},
};
use crate::{
    compute::recording::{BufferId, Recording},
    kernels::{
        INFO, attention, attention_backward_key, attention_backward_query, gradient_quantize, head_gradient_quantize,
        rope, rope_backward,
        shared::{heads::head_words, scores::SCORE_BITS, wide::wide_words},
    },
    numbers::fixed::{Scale, round_even_u64},
};

/// The base-2 logarithm of e. It converts natural logarithms to base-2 logarithms.
const LOG2_E: f64 = std::f64::consts::LOG2_E;

/// The attention block of a decoder layer: a norm, the query, key and value projections, attention, a second norm, and
/// the output projection.
pub struct Attention {
    name: String,
    sizes: Sizes,
    tables: Tables,
    norm: Norm,
    sub_norm: Norm,
    query: RecordedLinear,
    key: RecordedLinear,
    value: RecordedLinear,
    output: RecordedLinear,
}

#[derive(Clone, Copy)]
struct Sizes {
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    width: usize,
    context: usize,
}

/// The buffers with constant tables that the kernels of attention read.
#[derive(Clone, Copy, Debug)]
pub struct Tables {
    /// Position of each token in its sequence, `[tokens]`.
    pub positions: BufferId,
    /// The table for 2^x, followed by the table for log2(x).
    pub exponentials: BufferId,
    /// The rotary table, `[context, head_dim / 2, 2]`: cosine and sine of the angle for each position and pair of
    /// features.
    pub rope: BufferId,
    /// A rotary table with a single row, in which all angles are 0. It is used for the value projection, whose output
    /// is not rotated.
    pub identity: BufferId,
}

/// Buffers that the forward pass writes and the backward pass reads.
pub struct SavedAttention {
    norm: SavedNorm,
    sub_norm: SavedNorm,
    linears: [SavedLinear; 4],
    q: BufferId,
    k: BufferId,
    v: BufferId,
    stats: BufferId,
}

impl SavedAttention {
    /// Marks the two buffers that contain the keys and the values, so that these buffers keep their contents when a run
    /// ends. A later run then need not recompute the keys and values of earlier tokens.
    pub fn keep_keys_and_values(&self, recording: &mut Recording) {
        recording.persist(self.k);
        recording.persist(self.v);
    }
}

impl Attention {
    /// Creates the attention block of a decoder layer. `tables` are the constant tables that its kernels read. `norms`
    /// are its two norms: the first precedes the query, key and value projections, and the second precedes the output
    /// projection. `linears` are its query, key, value and output projections.
    pub fn new(
        name: String,
        config: &ModelConfig,
        tables: Tables,
        norms: [Norm; 2],
        linears: [RecordedLinear; 4],
    ) -> Self {
        let [norm, sub_norm] = norms;
        let [query, key, value, output] = linears;
        let &ModelConfig { heads, kv_heads, head_dim, width, context, .. } = config;
        let sizes = Sizes { heads, kv_heads, head_dim, width, context };
        Self { name, sizes, tables, norm, sub_norm, query, key, value, output }
    }

    /// Returns the factor `2^20 · log2(e) / √head_dim`, as (24-bit mantissa, right shift). Kernels multiply the inner
    /// product of a query and a key by this factor, which gives a score with 20 fraction bits.
    fn score_scale(&self) -> (u32, i32) {
        let scale = Scale::from_f64(LOG2_E).unwrap_or(Scale::ONE).multiply(self.inverse_root());
        let scale = scale.shift(SCORE_BITS as i32);
        (round_even_u64(scale.mantissa.into(), 7) as u32, -(scale.exponent + 7))
    }

    /// Returns 1 / √head_dim, as a mantissa and a power of two.
    fn inverse_root(&self) -> Scale {
        Scale::new(self.sizes.head_dim as u64, 0).inverse_sqrt()
    }

    /// Records the forward pass of the attention block. `x` is the residual stream. Returns the buffer of the block's
    /// output, which the caller adds to `x`, and the buffers that the backward pass needs.
    pub fn forward(&self, recording: &mut Recording, batch: &Batch, x: BufferId) -> (BufferId, SavedAttention) {
        let Sizes { heads, kv_heads, head_dim, .. } = self.sizes;
        let (normed, norm) = self.norm.quantize(recording, batch, x);
        let (q, saved_q) = self.query.forward(recording, batch, normed);
        let (k, saved_k) = self.key.forward(recording, batch, normed);
        let (v, saved_v) = self.value.forward(recording, batch, normed);
        let q = self.rotate(recording, batch, "q", q, heads, true);
        let k = self.rotate(recording, batch, "k", k, kv_heads, true);
        let v = self.rotate(recording, batch, "v", v, kv_heads, false);

        let out = recording.scratch(format!("{}.out", self.name), batch.tokens * (heads * head_dim + INFO));
        let stats = recording.scratch(format!("{}.stats", self.name), batch.tokens * heads * attention::STATS);
        let (score_mantissa, score_shift) = self.score_scale();
        let params = attention::Params {
            tokens: batch.tokens as u32,
            heads: heads as u32,
            kv_heads: kv_heads as u32,
            head_dim: head_dim as u32,
            group_inverse: self.group_inverse(),
            score_mantissa,
            score_shift,
            ..Default::default()
        };
        let buffers = [q, k, v, self.tables.positions, self.tables.exponentials, out, stats];
        recording.dispatch(self.name.clone(), &attention::KERNEL, params.words(), &buffers);

        let (normed, sub_norm) = self.sub_norm.quantize(recording, batch, out);
        let (y, saved_o) = self.output.forward(recording, batch, normed);
        (y, SavedAttention { norm, sub_norm, linears: [saved_q, saved_k, saved_v, saved_o], q, k, v, stats })
    }

    /// Records the backward pass, which computes the gradients of the adapters. `dh` is the gradient of the residual
    /// stream after the attention block. `bottom` states whether the block belongs to the first decoder layer.
    ///
    /// Returns the buffer with the gradient of the residual stream before the block. Returns `None` if `bottom` is
    /// true: nothing before the first decoder layer is trained, so this gradient is not needed.
    pub fn backward(
        &self,
        recording: &mut Recording,
        batch: &Batch,
        dh: BufferId,
        saved: SavedAttention,
        streams: &mut DitherStreams,
        bottom: bool,
    ) -> Option<BufferId> {
        let Sizes { heads, kv_heads, head_dim, width, .. } = self.sizes;
        let [saved_q, saved_k, saved_v, saved_o] = saved.linears;
        let dy = quantize_gradient(recording, batch, &self.name, dh, width, streams);
        let dn = recording.scratch(format!("{}.dn", self.name), batch.tokens * (heads * head_dim + INFO));
        self.output.backward(recording, batch, dy, saved_o, Some((dn, 0, 1)), streams);
        let dout = self.sub_norm.backward(recording, batch, (dn, 1), saved.sub_norm, None);

        let (dq, dkv) = self.core_backward(recording, batch, dout, &saved, streams);
        let gradients = [
            self.rotate_backward(recording, batch, "q", dq, (heads, heads, 0), true, streams),
            self.rotate_backward(recording, batch, "k", dkv, (kv_heads, 2 * kv_heads, 0), true, streams),
            self.rotate_backward(recording, batch, "v", dkv, (kv_heads, 2 * kv_heads, kv_heads), false, streams),
        ];
        let dx = (!bottom).then(|| recording.scratch(format!("{}.dx", self.name), batch.tokens * 3 * (width + INFO)));
        let linears = [(&self.query, saved_q), (&self.key, saved_k), (&self.value, saved_v)];
        for (slot, ((linear, saved), dy)) in linears.into_iter().zip(gradients).enumerate() {
            linear.backward(recording, batch, dy, saved, dx.map(|dx| (dx, slot, 3)), streams);
        }
        dx.map(|dx| self.norm.backward(recording, batch, (dx, 3), saved.norm, Some(dh)))
    }

    /// Returns ⌈2^16 / group⌉, where group = heads / kv_heads is the number of query heads that share a key head.
    /// Kernels multiply the index of a query head by this number and shift the product right by 16 bits, which gives
    /// the index of the key head.
    fn group_inverse(&self) -> u32 {
        (1u32 << 16).div_ceil((self.sizes.heads / self.sizes.kv_heads) as u32)
    }

    /// Returns the rotary table by which head rows (one row for each token and head) are rotated. If `turned` is true,
    /// the angles depend on the position of the token; otherwise, all angles are 0.
    fn angles(&self, turned: bool) -> BufferId {
        if turned { self.tables.rope } else { self.tables.identity }
    }

    /// Records the conversion of a projection's output `y` to head rows (one row for each token and head), and returns
    /// their buffer. If `turned` is true, each row is rotated by angles that depend on the position of its token.
    fn rotate(
        &self,
        recording: &mut Recording,
        batch: &Batch,
        what: &str,
        y: BufferId,
        heads: usize,
        turned: bool,
    ) -> BufferId {
        let head_dim = self.sizes.head_dim;
        let out = recording.scratch(format!("{}.{what}", self.name), batch.tokens * heads * head_words(head_dim));
        let params = rope::Params {
            tokens: batch.tokens as u32,
            heads: heads as u32,
            head_dim: head_dim as u32,
            position_stride: turned.into(),
            ..Default::default()
        };
        let buffers = [y, self.tables.positions, self.angles(turned), out];
        recording.dispatch(format!("{} rope {what}", self.name), &rope::KERNEL, params.words(), &buffers);
        out
    }

    /// Records the backward pass of [`rotate`](Self::rotate), which converts a projection's output to head rows (one
    /// row for each token and head). Returns the buffers with the gradient of the projection's output, rounded to
    /// integers of magnitude ≤ 2^14.
    ///
    /// `dheads` contains the gradients of `head_stride` head rows for each token. The pass reads only `heads` of them:
    /// those with the indexes `head_offset..head_offset + heads`.
    #[expect(clippy::too_many_arguments, reason = "context first, then inputs")]
    fn rotate_backward(
        &self,
        recording: &mut Recording,
        batch: &Batch,
        what: &str,
        dheads: BufferId,
        (heads, head_stride, head_offset): (usize, usize, usize),
        turned: bool,
        streams: &mut DitherStreams,
    ) -> RowBuffers {
        let head_dim = self.sizes.head_dim;
        let name = format!("{}.d{what}", self.name);
        let dy = rows(recording, name.clone(), batch.tokens, wide_words(heads * head_dim));
        let params = rope_backward::Params {
            tokens: batch.tokens as u32,
            heads: heads as u32,
            head_dim: head_dim as u32,
            position_stride: turned.into(),
            head_stride: head_stride as u32,
            head_offset: head_offset as u32,
            stream: streams.add(name),
            ..Default::default()
        };
        let buffers = [dheads, self.tables.positions, self.angles(turned), batch.dither, dy.data, dy.info];
        let label = format!("{} rope {what} backward", self.name);
        recording.dispatch(label, &rope_backward::KERNEL, params.words(), &buffers);
        dy
    }

    /// Records the backward pass of attention without the projections. `dout` is the gradient of the attention output,
    /// which the output projection reads. Returns two buffers: the gradient of the queries, `[tokens, heads]` rows, and
    /// the gradients of the keys and the values, `[tokens, 2, kv_heads]` rows. Each row has `head_dim` i32 values.
    fn core_backward(
        &self,
        recording: &mut Recording,
        batch: &Batch,
        dout: BufferId,
        saved: &SavedAttention,
        streams: &mut DitherStreams,
    ) -> (BufferId, BufferId) {
        let Sizes { heads, kv_heads, head_dim, context, .. } = self.sizes;
        let (name, tokens) = (&self.name, batch.tokens);
        let quantized = recording.scratch(format!("{name}.dout"), tokens * heads * head_words(head_dim));
        let params = head_gradient_quantize::Params {
            tokens: tokens as u32,
            heads: heads as u32,
            head_dim: head_dim as u32,
            stream: streams.add(format!("{name}.dout")),
            ..Default::default()
        };
        let label = format!("{name} output gradient");
        let buffers = [dout, batch.dither, quantized];
        recording.dispatch(label, &head_gradient_quantize::KERNEL, params.words(), &buffers);

        let (score_mantissa, score_shift) = self.score_scale();
        let root = self.inverse_root();
        let dq = recording.scratch(format!("{name}.dq"), tokens * heads * (head_dim + INFO));
        let params = attention_backward_query::Params {
            tokens: tokens as u32,
            heads: heads as u32,
            kv_heads: kv_heads as u32,
            head_dim: head_dim as u32,
            group_inverse: self.group_inverse(),
            score_mantissa,
            score_shift,
            inverse_root: root.mantissa,
            inverse_root_exponent: root.exponent,
            stream: streams.add(format!("{name}.ds_query")),
            ..Default::default()
        };
        let &SavedAttention { q, k, v, stats, .. } = saved;
        let buffers = [q, k, v, quantized, self.tables.exponentials, batch.dither, stats, dq];
        let label = format!("{name} backward by query");
        recording.dispatch(label, &attention_backward_query::KERNEL, params.words(), &buffers);

        let dkv = recording.scratch(format!("{name}.dkv"), tokens * 2 * kv_heads * (head_dim + INFO));
        let params = attention_backward_key::Params {
            tokens: tokens as u32,
            context: context as u32,
            heads: heads as u32,
            kv_heads: kv_heads as u32,
            head_dim: head_dim as u32,
            group: (heads / kv_heads) as u32,
            score_mantissa,
            score_shift,
            inverse_root: root.mantissa,
            inverse_root_exponent: root.exponent,
            key_stream: streams.add(format!("{name}.ds_key")),
            value_stream: streams.add(format!("{name}.p_value")),
            ..Default::default()
        };
        let buffers = [q, k, v, quantized, stats, self.tables.exponentials, batch.dither, dkv];
        let label = format!("{name} backward by key");
        recording.dispatch(label, &attention_backward_key::KERNEL, params.words(), &buffers);
        (dq, dkv)
    }

    /// Returns the block's four linear layers with their names, in the order query, key, value, output.
    pub fn linears(&self) -> [(Linear, &RecordedLinear); 4] {
        [
            (Linear::Query, &self.query),
            (Linear::Key, &self.key),
            (Linear::Value, &self.value),
            (Linear::Output, &self.output),
        ]
    }
}

/// Records the launch of the kernel that rounds `gradient`, the gradient of the residual stream, to integers of
/// magnitude ≤ 2^14. Returns the buffers of the rounded gradient, which has one row for each token.
pub fn quantize_gradient(
    recording: &mut Recording,
    batch: &Batch,
    name: &str,
    gradient: BufferId,
    width: usize,
    streams: &mut DitherStreams,
) -> RowBuffers {
    let name = format!("{name}.dy");
    let dy = rows(recording, name.clone(), batch.tokens, wide_words(width));
    let params = gradient_quantize::Params {
        tokens: batch.tokens as u32,
        width: width as u32,
        stream: streams.add(name.clone()),
        ..Default::default()
    };
    let buffers = [gradient, batch.dither, dy.data, dy.info];
    recording.dispatch(name, &gradient_quantize::KERNEL, params.words(), &buffers);
    dy
}
