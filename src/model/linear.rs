//! Records a BitNet linear and its LoRA adapter: `y = x · wᵀ · scale + (alpha / rank) · x · aᵀ · bᵀ`.

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

/// Two buffers: integer rows, and the infos of the rows.
#[derive(Clone, Copy, Debug)]
pub struct RowBuffers {
    /// The rows: byte rows or wide rows.
    pub data: BufferId,
    /// One info for each row: the row's scale, and the sum of its integers.
    pub info: BufferId,
}

/// The tokens that one run computes together, and the buffers that describe them.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// Number of tokens; each is one row.
    pub tokens: usize,
    /// Number of blocks of up to 32 tokens.
    pub blocks: usize,
    /// `[blocks, 2]`: first token and length of each block.
    pub spans: BufferId,
    /// The position of the batch's first token in its chunk, a zero word, then a key of two words for each dither
    /// stream.
    pub dither: BufferId,
}

/// A frozen linear in a recording, with or without an adapter.
pub struct RecordedLinear {
    name: String,
    in_features: usize,
    out_features: usize,
    weights: BufferId,
    dequant_scale: Scale,
    lora: Option<LoraBuffers>,
    placeholder: BufferId,
}

/// The buffers of the adapter of one linear. [`pack`](LoraBuffers::pack) returns the words of all but the gradients.
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
    info: BufferId,      // the words that `info_word` lists
    /// Accumulated gradient of a, `[rank, in_features]` i64.
    pub grad_a: BufferId,
    /// Accumulated gradient of b, `[rank, out_features]` i64.
    pub grad_b: BufferId,
}

/// Index of the first word of each entry of the `info` buffer, which kernels bind as `lora_info`.
mod info_word {
    pub(super) const FORWARD_RATIO: u32 = 0;
    pub(super) const BACKWARD_RATIO: u32 = 2;
    pub(super) const SCALE_FOR_B: u32 = 4;
    pub(super) const SCALE_FOR_A: u32 = 6;
    pub(super) const EXPONENT_A: u32 = 8;
    pub(super) const EXPONENT_B: u32 = 9;
    pub(super) const WORDS: usize = 10;
}

/// Buffers of the forward pass that the backward pass reads: the input x and u = x · aᵀ.
#[derive(Clone, Copy, Debug)]
pub struct SavedLinear {
    x: RowBuffers,
    u: RowBuffers,
}

/// Returns by how many bits a sum of `terms` products, each at most `max`, can be shifted left and stay below 2^30.
fn fraction_bits(max: u64, terms: usize) -> u32 {
    30u32.saturating_sub(bits(max * terms as u64))
}

impl RecordedLinear {
    /// Adds the weights to a recording, and the adapter's buffers if `rank` > 0.
    pub fn new(recording: &mut Recording, name: String, weights: &Ternary, rank: usize) -> Self {
        let (in_features, out_features) = (weights.columns, weights.rows);
        let mut persistent =
            |what: &str, words: usize| recording.buffer(format!("{name}.{what}"), words, BufferContent::Persistent);
        let lora = (rank > 0).then(|| LoraBuffers {
            rank,
            in_features,
            out_features,
            dequant_scale: weights.dequant_scale,
            a_rows: persistent("a_rows", rank * wide_words(in_features)),
            a_columns: persistent("a_columns", in_features * wide_words(rank)),
            b_rows: persistent("b_rows", rank * wide_words(out_features)),
            b_columns: persistent("b_columns", out_features * wide_words(rank)),
            info: persistent("info", info_word::WORDS),
            grad_a: persistent("grad_a", 2 * rank * in_features),
            grad_b: persistent("grad_b", 2 * rank * out_features),
        });
        let placeholder = recording.constant(format!("{name}.placeholder"), vec![0; INFO]);
        let words = recording.constant(format!("{name}.weights"), weights.words.clone());
        Self {
            name,
            in_features,
            out_features,
            weights: words,
            dequant_scale: weights.dequant_scale,
            lora,
            placeholder,
        }
    }

    /// Returns the adapter's buffers, or `None` for a linear without an adapter.
    pub fn lora(&self) -> Option<&LoraBuffers> {
        self.lora.as_ref()
    }

    /// Records i32 rows `y [tokens, out_features]` from byte rows x into a new buffer, and returns it.
    pub fn forward(&self, recording: &mut Recording, batch: &Batch, x: RowBuffers) -> (BufferId, SavedLinear) {
        let y = recording.scratch(format!("{}.y", self.name), batch.tokens * (self.out_features + INFO));
        let saved = self.forward_into(recording, batch, x, y);
        (y, saved)
    }

    /// Records i32 rows `y [tokens, out_features]` from byte rows x into the buffer `y`.
    pub fn forward_into(&self, recording: &mut Recording, batch: &Batch, x: RowBuffers, y: BufferId) -> SavedLinear {
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
        self.up(recording, batch, x.info, u, (y, 0, 1), (fraction_bits, info_word::FORWARD_RATIO));
        SavedLinear { x, u }
    }

    /// Records the gradients of the adapter, and the gradient of x if `dx` is given.
    ///
    /// `dx` is (buffer, slot, slots): the gradient is written to that slot of a buffer `[tokens, slots, in_features]`.
    pub fn backward(
        &self,
        recording: &mut Recording,
        batch: &Batch,
        dy: RowBuffers,
        saved: SavedLinear,
        dx: Option<(BufferId, usize, usize)>,
        streams: &mut DitherStreams,
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
            self.up(recording, batch, dy.info, v, (out, slot, slots), (fraction_bits, info_word::BACKWARD_RATIO));
        }
    }

    /// Records the adapter's contribution to the product, and the infos of the product's rows. The contribution comes
    /// from the factor b in the forward pass and from the factor a in the backward pass; `ratio_at` states which pass
    /// it is.
    fn up(
        &self,
        recording: &mut Recording,
        batch: &Batch,
        x_info: BufferId,
        u: RowBuffers,
        (out, slot, slots): (BufferId, usize, usize),
        (fraction_bits, ratio_at): (u32, u32),
    ) {
        let forward = ratio_at == info_word::FORWARD_RATIO;
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
            None => (self.placeholder, self.placeholder),
        };
        let (u, u_info) = if self.lora.is_some() { (u.data, u.info) } else { (self.placeholder, self.placeholder) };
        let label = format!("{} up{}", self.name, if forward { "" } else { " backward" });
        recording.dispatch(label, &lora_up::KERNEL, params.words(), &[x_info, u, u_info, factor, info, out]);
    }

    /// Records the gradients of both factors from dy and v = dy · b.
    fn gradients(
        &self,
        recording: &mut Recording,
        batch: &Batch,
        dy: RowBuffers,
        v: RowBuffers,
        saved: SavedLinear,
        streams: &mut DitherStreams,
    ) {
        let (Some(lora), name) = (&self.lora, &self.name) else { return };
        let (blocks, rank) = (batch.blocks as u32, lora.rank as u32);
        let mut fold = |recording: &mut Recording, what: &str, u: RowBuffers, scale_at| {
            let out = recording.scratch(format!("{name}.folded_{what}"), batch.blocks * lora.rank * lora_fold::FOLD);
            let stream = streams.add(format!("{name}.fold_{what}"));
            let params = lora_fold::Params { blocks, rank, scale_at, stream, ..Default::default() };
            let buffers = [u.data, u.info, saved.x.info, dy.info, batch.spans, lora.info, batch.dither, out];
            recording.dispatch(format!("{name} fold {what}"), &lora_fold::KERNEL, params.words(), &buffers);
            out
        };
        let folded_a = fold(recording, "a", v, info_word::SCALE_FOR_A);
        let folded_b = fold(recording, "b", saved.u, info_word::SCALE_FOR_B);
        let params = lora_gradient_a::Params {
            blocks,
            in_features: self.in_features as u32,
            rank,
            exponent_at: info_word::EXPONENT_A,
            ..Default::default()
        };
        let buffers = [saved.x.data, folded_a, batch.spans, lora.info, lora.grad_a];
        recording.dispatch(format!("{name} grad a"), &lora_gradient_a::KERNEL, params.words(), &buffers);
        let params = lora_gradient_b::Params {
            blocks,
            out_features: self.out_features as u32,
            rank,
            exponent_at: info_word::EXPONENT_B,
            ..Default::default()
        };
        let buffers = [dy.data, folded_b, batch.spans, lora.info, lora.grad_b];
        recording.dispatch(format!("{name} grad b"), &lora_gradient_b::KERNEL, params.words(), &buffers);
    }
}

/// Adds scratch buffers for `tokens` rows of `words` words and for their infos.
pub fn rows(recording: &mut Recording, name: String, tokens: usize, words: usize) -> RowBuffers {
    let info = recording.scratch(format!("{name}.info"), tokens * INFO);
    RowBuffers { data: recording.scratch(name, tokens * words), info }
}

/// The names of a recording's dither streams, in the order of use. A stream's index selects its key in the dither
/// buffer.
#[derive(Clone, Debug, Default)]
pub struct DitherStreams(Vec<String>);

impl DitherStreams {
    /// Adds a stream and returns its index.
    pub fn add(&mut self, name: String) -> u32 {
        self.0.push(name);
        self.0.len() as u32 - 1
    }

    /// Returns the names of all streams, by index.
    pub fn names(&self) -> &[String] {
        &self.0
    }
}

impl LoraBuffers {
    /// Returns an error unless both factors have the shapes of this linear.
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

    /// Returns the words of every buffer that the forward and backward passes read.
    ///
    /// These are both factors, and the scales that relate them to the backbone. Each factor is rounded to wide values
    /// with one power of two as scale, and is stored twice: row by row and column by column. `exponents` are the job's
    /// exponents of the gradients of a and b.
    pub fn pack(&self, alpha: u32, a: &LoraMatrix, b: &LoraMatrix, exponents: (i32, i32)) -> Vec<(BufferId, Vec<u32>)> {
        let (a_rows, a_columns, a_exponent) = pack_factor(&a.values, self.rank, self.in_features);
        let (b_rows, b_columns, b_exponent) = pack_factor(&b.values, self.rank, self.out_features);
        let scaling = Scale::new(alpha.into(), 0).multiply(Scale::new(self.rank as u64, 0).reciprocal());
        let ratio = |fraction_bits: u32| {
            let ratio = scaling.multiply(self.dequant_scale.reciprocal());
            let ratio = ratio.shift(a_exponent + b_exponent + fraction_bits as i32);
            [round_even_u64(ratio.mantissa.into(), 7) as u32, -(ratio.exponent + 7) as u32]
        };
        let mut info = Vec::with_capacity(info_word::WORDS);
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

/// Returns wide rows of a factor `[rank, features]`, wide rows of its transpose, and the exponent that they share.
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
