//! `y = x · wᵀ · scale + (alpha / rank) · x · aᵀ · bᵀ`: a BitNet linear with its LoRA adapter, recorded.

use crate::{
    compute::recording::{BufferContent, BufferId, Recording},
    error::Error,
    kernels::{
        INFO, lora_down, lora_down_backward, lora_fold, lora_gradient_a, lora_gradient_b, lora_up,
        shared::wide::{self, wide_words},
        ternary_matmul, ternary_matmul_backward,
    },
    numbers::{
        fixed::{Scale, WIDE_BITS, bits, round_even, round_even_u64, shift_for},
        lora::{LoraMatrix, MASTER_FRACTION_BITS},
        ternary::Ternary,
    },
};

/// Rows of integers and the buffer of their infos.
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    /// Byte rows or wide rows.
    pub data: BufferId,
    /// Their row infos.
    pub info: BufferId,
}

/// Token rows and blocks that a recording works on.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// Rows.
    pub tokens: usize,
    /// Blocks of up to 32 tokens.
    pub blocks: usize,
    /// `[blocks, 2]`: first token and length of each.
    pub spans: BufferId,
    /// Dither keys.
    pub dither: BufferId,
}

/// A frozen linear in a recording, adapted or not; [`BitLinear`](super::bit_linear::BitLinear) is one by itself.
pub struct RecordedLinear {
    name: String,
    in_features: usize,
    out_features: usize,
    weights: BufferId,
    dequant_scale: Scale,
    lora: Option<LoraBuffers>,
    nothing: BufferId,
}

/// Where the words of one adapted linear live; all but the gradients are written by
/// [`pack`](LoraBuffers::pack).
#[derive(Clone, Copy, Debug)]
pub struct LoraBuffers {
    rank: usize,
    in_features: usize,
    out_features: usize,
    dequant_scale: Scale,
    a_rows: BufferId,    // [rank, in_features] wide
    a_columns: BufferId, // [in_features, rank] wide
    b_rows: BufferId,    // [rank, out_features] wide
    b_columns: BufferId, // [out_features, rank] wide
    info: BufferId,      // the words of `LoraInfo`
    /// `[rank, in_features]` i64, accumulated.
    pub grad_a: BufferId,
    /// `[rank, out_features]` i64, accumulated.
    pub grad_b: BufferId,
}

/// Words of a `lora_info` buffer, by position.
mod at {
    pub(super) const FORWARD_RATIO: u32 = 0;
    pub(super) const BACKWARD_RATIO: u32 = 2;
    pub(super) const SCALE_FOR_B: u32 = 4;
    pub(super) const SCALE_FOR_A: u32 = 6;
    pub(super) const EXPONENT_A: u32 = 8;
    pub(super) const EXPONENT_B: u32 = 9;
    pub(super) const WORDS: usize = 10;
}

/// What a forward pass leaves for the backward pass.
#[derive(Clone, Copy, Debug)]
pub struct Saved {
    x: Rows,
    u: Rows,
}

/// How far a product bounded by `max · terms` may be shifted left within 2^30.
fn fraction_bits(max: u64, terms: usize) -> u32 {
    30u32.saturating_sub(bits(max * terms as u64))
}

impl RecordedLinear {
    /// Adds the weights to a recording, and the adapter's buffers where `rank` > 0.
    pub fn new(recording: &mut Recording, name: String, weights: &Ternary, rank: usize) -> Self {
        let (in_features, out_features) = (weights.columns, weights.rows);
        let mut kept =
            |what: &str, words: usize| recording.buffer(format!("{name}.{what}"), words, BufferContent::Persistent);
        let lora = (rank > 0).then(|| LoraBuffers {
            rank,
            in_features,
            out_features,
            dequant_scale: weights.dequant_scale,
            a_rows: kept("a_rows", rank * wide_words(in_features)),
            a_columns: kept("a_columns", in_features * wide_words(rank)),
            b_rows: kept("b_rows", rank * wide_words(out_features)),
            b_columns: kept("b_columns", out_features * wide_words(rank)),
            info: kept("info", at::WORDS),
            grad_a: kept("grad_a", 2 * rank * in_features),
            grad_b: kept("grad_b", 2 * rank * out_features),
        });
        let nothing = recording.constant(format!("{name}.nothing"), vec![0; INFO]);
        let words = recording.constant(format!("{name}.weights"), weights.words.clone());
        Self { name, in_features, out_features, weights: words, dequant_scale: weights.dequant_scale, lora, nothing }
    }

    /// The adapter's buffers.
    pub fn lora(&self) -> Option<&LoraBuffers> {
        self.lora.as_ref()
    }

    /// [`forward_into`](Self::forward_into) new rows.
    pub fn forward(&self, recording: &mut Recording, batch: &Batch, x: Rows) -> (BufferId, Saved) {
        let y = recording.scratch(format!("{}.y", self.name), batch.tokens * (self.out_features + INFO));
        let saved = self.forward_into(recording, batch, x, y);
        (y, saved)
    }

    /// Records i32 rows `y [tokens, out_features]` from byte rows x.
    pub fn forward_into(&self, recording: &mut Recording, batch: &Batch, x: Rows, y: BufferId) -> Saved {
        let name = &self.name;
        let tokens = batch.tokens;
        let rank = self.lora.map_or(0, |lora| lora.rank);
        let u = rows(recording, format!("{name}.u"), tokens, wide_words(rank));
        if let Some(lora) = &self.lora {
            let params = lora_down::Params {
                tokens: tokens as u32,
                in_features: self.in_features as u32,
                rank: rank as u32,
                ..Default::default()
            };
            let buffers = [x.data, lora.a_rows, u.data, u.info];
            recording.dispatch(format!("{name} down"), &lora_down::KERNEL, params.words(), &buffers);
        }
        let params = ternary_matmul::Params {
            tokens: tokens as u32,
            in_features: self.in_features as u32,
            out_features: self.out_features as u32,
            ..Default::default()
        };
        let buffers = [x.data, x.info, self.weights, y];
        recording.dispatch(format!("{name} product"), &ternary_matmul::KERNEL, params.words(), &buffers);
        let fraction_bits = fraction_bits(127, self.in_features);
        self.up(recording, batch, x.info, u, (y, 0, 1), (fraction_bits, at::FORWARD_RATIO));
        Saved { x, u }
    }

    /// Records the gradients of the adapter, and where `dx` names a buffer `[tokens, slots, in_features]`
    /// (id, slot, slots), that of x.
    pub fn backward(
        &self,
        recording: &mut Recording,
        batch: &Batch,
        dy: Rows,
        saved: Saved,
        dx: Option<(BufferId, usize, usize)>,
        streams: &mut Streams,
    ) {
        let name = &self.name;
        let tokens = batch.tokens;
        let rank = self.lora.map_or(0, |lora| lora.rank);
        let v = rows(recording, format!("{name}.v"), tokens, wide_words(rank));
        if let Some(lora) = &self.lora {
            let params = lora_down_backward::Params {
                tokens: tokens as u32,
                out_features: self.out_features as u32,
                rank: rank as u32,
                ..Default::default()
            };
            let buffers = [dy.data, lora.b_rows, v.data, v.info];
            recording.dispatch(format!("{name} down backward"), &lora_down_backward::KERNEL, params.words(), &buffers);
            self.gradients(recording, batch, dy, v, saved, streams);
        }
        if let Some((out, slot, slots)) = dx {
            let params = ternary_matmul_backward::Params {
                tokens: tokens as u32,
                in_features: self.in_features as u32,
                out_features: self.out_features as u32,
                slot: slot as u32,
                slots: slots as u32,
                planes: 2,
                ..Default::default()
            };
            let buffers = [dy.data, dy.info, self.weights, out];
            let label = format!("{name} product backward");
            recording.dispatch(label, &ternary_matmul_backward::KERNEL, params.words(), &buffers);
            let fraction_bits = fraction_bits(1 << WIDE_BITS, self.out_features);
            self.up(recording, batch, dy.info, v, (out, slot, slots), (fraction_bits, at::BACKWARD_RATIO));
        }
    }

    /// The adapter's share, forward (factor b) or backward (factor a), and the product's row infos.
    fn up(
        &self,
        recording: &mut Recording,
        batch: &Batch,
        x_info: BufferId,
        u: Rows,
        (out, slot, slots): (BufferId, usize, usize),
        (fraction_bits, ratio_at): (u32, u32),
    ) {
        let forward = ratio_at == at::FORWARD_RATIO;
        let scale = self.dequant_scale.shift(-(fraction_bits as i32));
        let params = lora_up::Params {
            tokens: batch.tokens as u32,
            width: if forward { self.out_features } else { self.in_features } as u32,
            rank: self.lora.map_or(0, |lora| lora.rank as u32),
            slot: slot as u32,
            slots: slots as u32,
            fraction_bits,
            ratio_at,
            product_scale: scale.mantissa,
            product_scale_exponent: scale.exponent,
            ..Default::default()
        };
        let (factor, info) = match &self.lora {
            Some(lora) => (if forward { lora.b_columns } else { lora.a_columns }, lora.info),
            None => (self.nothing, self.nothing),
        };
        let (u, u_info) = if self.lora.is_some() { (u.data, u.info) } else { (self.nothing, self.nothing) };
        let label = format!("{} up{}", self.name, if forward { "" } else { " backward" });
        recording.dispatch(label, &lora_up::KERNEL, params.words(), &[x_info, u, u_info, factor, info, out]);
    }

    fn gradients(
        &self,
        recording: &mut Recording,
        batch: &Batch,
        dy: Rows,
        v: Rows,
        saved: Saved,
        streams: &mut Streams,
    ) {
        let (Some(lora), name) = (&self.lora, &self.name) else { return };
        let (blocks, rank) = (batch.blocks as u32, lora.rank as u32);
        let mut fold = |recording: &mut Recording, what: &str, u: Rows, scale_at| {
            let out = recording.scratch(format!("{name}.folded_{what}"), batch.blocks * lora.rank * lora_fold::FOLD);
            let stream = streams.add(format!("{name}.fold_{what}"));
            let params = lora_fold::Params { blocks, rank, scale_at, stream, ..Default::default() };
            let buffers = [u.data, u.info, saved.x.info, dy.info, batch.spans, lora.info, batch.dither, out];
            recording.dispatch(format!("{name} fold {what}"), &lora_fold::KERNEL, params.words(), &buffers);
            out
        };
        let folded_a = fold(recording, "a", v, at::SCALE_FOR_A);
        let folded_b = fold(recording, "b", saved.u, at::SCALE_FOR_B);
        let params = lora_gradient_a::Params {
            blocks,
            in_features: self.in_features as u32,
            rank,
            exponent_at: at::EXPONENT_A,
            ..Default::default()
        };
        let buffers = [saved.x.data, folded_a, batch.spans, lora.info, lora.grad_a];
        recording.dispatch(format!("{name} grad a"), &lora_gradient_a::KERNEL, params.words(), &buffers);
        let params = lora_gradient_b::Params {
            blocks,
            out_features: self.out_features as u32,
            rank,
            exponent_at: at::EXPONENT_B,
            ..Default::default()
        };
        let buffers = [dy.data, folded_b, batch.spans, lora.info, lora.grad_b];
        recording.dispatch(format!("{name} grad b"), &lora_gradient_b::KERNEL, params.words(), &buffers);
    }
}

/// New scratch rows with infos.
pub fn rows(recording: &mut Recording, name: String, tokens: usize, words: usize) -> Rows {
    let info = recording.scratch(format!("{name}.info"), tokens * INFO);
    Rows { data: recording.scratch(name, tokens * words), info }
}

/// Names of dither streams, numbered in the order of use.
#[derive(Clone, Debug, Default)]
pub struct Streams(Vec<String>);

impl Streams {
    /// The number of a new stream.
    pub fn add(&mut self, name: String) -> u32 {
        self.0.push(name);
        self.0.len() as u32 - 1
    }

    /// All names, by number.
    pub fn names(&self) -> &[String] {
        &self.0
    }
}

impl LoraBuffers {
    /// Checks that two factors fit this linear.
    pub fn check(&self, a: &LoraMatrix, b: &LoraMatrix) -> Result<(), Error> {
        for (matrix, columns) in [(a, self.in_features), (b, self.out_features)] {
            for (what, expected, found) in [
                ("rank", self.rank, matrix.rows),
                ("features of an adapter matrix", columns, matrix.columns),
                ("adapter matrix", self.rank * columns, matrix.values.len()),
            ] {
                if expected != found {
                    return Err(Error::Shape { what, expected, found });
                }
            }
        }
        Ok(())
    }

    /// The words of every buffer that the forward and backward passes read: both factors rounded to
    /// wide values under one power of two each, in both orders, and the scales that join them to the
    /// backbone. `exponents` are the job's, of grad a and grad b.
    pub fn pack(&self, alpha: u32, a: &LoraMatrix, b: &LoraMatrix, exponents: (i32, i32)) -> Vec<(BufferId, Vec<u32>)> {
        let (a_rows, a_columns, a_exponent) = pack_factor(&a.values, self.rank, self.in_features);
        let (b_rows, b_columns, b_exponent) = pack_factor(&b.values, self.rank, self.out_features);
        let scaling = Scale::new(alpha.into(), 0).multiply(Scale::new(self.rank as u64, 0).reciprocal());
        let ratio = |fraction_bits: u32| {
            let ratio = scaling.multiply(self.dequant_scale.reciprocal());
            let ratio = ratio.shift(a_exponent + b_exponent + fraction_bits as i32);
            [round_even_u64(ratio.mantissa.into(), 7) as u32, -(ratio.exponent + 7) as u32]
        };
        let mut info = Vec::with_capacity(at::WORDS);
        info.extend(ratio(fraction_bits(127, self.in_features)));
        info.extend(ratio(fraction_bits(1 << WIDE_BITS, self.out_features)));
        info.extend(scaling.shift(a_exponent).words());
        info.extend(scaling.shift(b_exponent).words());
        info.extend([exponents.0 as u32, exponents.1 as u32]);
        vec![
            (self.a_rows, a_rows),
            (self.a_columns, a_columns),
            (self.b_rows, b_rows),
            (self.b_columns, b_columns),
            (self.info, info),
        ]
    }
}

/// Wide rows of a factor `[rank, features]`, of its transpose, and the power of two they share.
fn pack_factor(values: &[i32], rank: usize, features: usize) -> (Vec<u32>, Vec<u32>, i32) {
    let max = values.iter().map(|value| value.unsigned_abs()).max().unwrap_or(0);
    let shift = shift_for(max.into(), WIDE_BITS);
    let mut by_row = vec![0; rank * wide_words(features)];
    let mut by_column = vec![0; features * wide_words(rank)];
    for (i, &value) in values.iter().enumerate() {
        let (row, column) = (i / features, i % features);
        let value = round_even(value.into(), shift) as i32;
        let row_bytes = &mut by_row[row * wide_words(features)..][..wide_words(features)];
        wide::set(bytemuck::cast_slice_mut(row_bytes), column, value);
        let column_bytes = &mut by_column[column * wide_words(rank)..][..wide_words(rank)];
        wide::set(bytemuck::cast_slice_mut(column_bytes), row, value);
    }
    (by_row, by_column, shift as i32 - MASTER_FRACTION_BITS as i32)
}
