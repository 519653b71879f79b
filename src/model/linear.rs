//! Records the computation of a BitNet linear layer with its LoRA adapter:
//! `y = x · wᵀ · scale + (alpha / rank) · x · aᵀ · bᵀ`, where `w` is the frozen ternary matrix, and a and b are the
//! trained factors.

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

/// Two buffers that together hold quantized rows: the integers, and the row info (scale and sum) of each row.
#[derive(Clone, Copy, Debug)]
pub struct RowBuffers {
    /// The integers of the rows: byte rows (int8), or wide rows (integers of magnitude ≤ 2^14).
    pub data: BufferId,
    /// The row info of each row, which contains the scale and the sum of the row's integers.
    pub info: BufferId,
}

/// The tokens that one run of a recording (a list of kernel launches) processes together, and the buffers that describe
/// these tokens.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// The number of tokens. A buffer of activations has one row for each token.
    pub tokens: usize,
    /// The number of blocks. A block consists of up to 32 consecutive tokens of a sequence. The gradients of these
    /// tokens are summed together.
    pub blocks: usize,
    /// Buffer `[blocks, 2]` that contains, for each block, the index of its first token in the batch and its number of
    /// tokens.
    pub spans: BufferId,
    /// The buffer from which kernels derive the dither (pseudo-random bits for stochastic rounding). It contains the
    /// index of the batch's first token in its chunk, a zero word, and then a key of two words for each tensor that is
    /// rounded with dither.
    pub dither: BufferId,
}

/// A frozen linear layer whose buffers belong to a recording (a list of kernel launches). The layer can have an
/// adapter.
pub struct RecordedLinear {
    name: String,
    in_features: usize,
    out_features: usize,
    weights: BufferId,
    dequant_scale: Scale,
    lora: Option<LoraBuffers>,
    placeholder: BufferId,
}

/// The buffers of the adapter of one linear layer. [`pack`](LoraBuffers::pack) returns the words of all these buffers
/// except the gradients.
#[derive(Clone, Copy, Debug)]
pub struct LoraBuffers {
    rank: usize,
    in_features: usize,
    out_features: usize,
    dequant_scale: Scale,
    a_rows: BufferId,    // wide rows `[rank, in_features]`
    a_columns: BufferId, // wide rows `[in_features, rank]`
    b_rows: BufferId,    // wide rows `[rank, out_features]`
    b_columns: BufferId, // wide rows `[out_features, rank]`
    info: BufferId,      // scales and exponents, at the indices in `info_word`
    /// The gradient of the factor a, `[rank, in_features]` i64. Every run adds to it until the host resets it to zero.
    pub grad_a: BufferId,
    /// The gradient of the factor b, `[rank, out_features]` i64. Every run adds to it until the host resets it to zero.
    pub grad_b: BufferId,
}

/// The layout of the buffer `info` of an adapter, which kernels call `lora_info`. `WORDS` is the number of words in the
/// buffer. The name of every other constant is the name of a value in the buffer, and the constant is the index of the
/// first word of this value.
mod info_word {
    pub(super) const FORWARD_RATIO: u32 = 0;
    pub(super) const BACKWARD_RATIO: u32 = 2;
    pub(super) const SCALE_FOR_B: u32 = 4;
    pub(super) const SCALE_FOR_A: u32 = 6;
    pub(super) const EXPONENT_A: u32 = 8;
    pub(super) const EXPONENT_B: u32 = 9;
    pub(super) const WORDS: usize = 10;
}

/// The buffers that the backward pass of a linear layer needs from the forward pass: the input x, and u = x · aᵀ.
#[derive(Clone, Copy, Debug)]
pub struct SavedLinear {
    x: RowBuffers,
    u: RowBuffers,
}

/// Returns the largest number of bits by which a sum of `terms` terms can be shifted left such that it stays below
/// 2^30. Each term has a magnitude of at most `max`. Returns 0 if the sum can reach 2^30 even without a shift.
fn fraction_bits(max: u64, terms: usize) -> u32 {
    30u32.saturating_sub(bits(max * terms as u64))
}

impl RecordedLinear {
    /// Adds the weights of a linear layer to a recording (a list of kernel launches). If `rank` > 0, also adds the
    /// buffers of an adapter of this rank. The names of the buffers and dispatches begin with `name`.
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

    /// Returns the buffers of the adapter, or `None` if the linear layer has no adapter.
    pub fn lora(&self) -> Option<&LoraBuffers> {
        self.lora.as_ref()
    }

    /// Records the forward pass from byte rows (int8) x to i32 rows `y [tokens, out_features]` in a new buffer. Returns
    /// the buffer of y, and the buffers that the backward pass needs.
    pub fn forward(&self, recording: &mut Recording, batch: &Batch, x: RowBuffers) -> (BufferId, SavedLinear) {
        let y = recording.scratch(format!("{}.y", self.name), batch.tokens * (self.out_features + INFO));
        let saved = self.forward_into(recording, batch, x, y);
        (y, saved)
    }

    /// Records the forward pass from byte rows (int8) x to i32 rows `[tokens, out_features]`, which are written to the
    /// existing buffer `y`. Returns the buffers that the backward pass needs.
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

    /// Records the backward pass. Its input `dy` is the gradient of the output, as wide rows (integers of magnitude
    /// ≤ 2^14). The pass computes the gradients of the factors a and b if there is an adapter, and the gradient of the
    /// input x if `dx` is given.
    ///
    /// `dx` is `(buffer, slot, slots)`. The buffer holds i32 rows `[tokens, slots, in_features]`: one gradient of x for
    /// each of the `slots` linear layers that read x. The gradient of this layer has the index `slot`.
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

    /// Records the kernel launch that adds the contribution of the adapter to `out`. Before the launch, `out` holds the
    /// product with the frozen weights. The launch also writes the row info (scale and sum) of the result.
    ///
    /// In the forward pass, `u` is the layer's input times the factor a, and the contribution is `u` times the factor
    /// b. In the backward pass, `u` is the gradient of the output times the factor b, and the contribution is `u` times
    /// the factor a. The contribution is multiplied by a ratio, which converts it to the unit of the product.
    /// `ratio_at` is the index of the ratio in the buffer `lora_info`; the forward and the backward pass have different
    /// ratios.
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

    /// Records the computation of the gradients of the factors a and b from dy (the gradient of the output) and
    /// v = dy · b.
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

/// Adds scratch buffers for `tokens` rows of `words` words each, and for the row info (scale and sum) of each row.
/// Returns the buffers.
pub fn rows(recording: &mut Recording, name: String, tokens: usize, words: usize) -> RowBuffers {
    let info = recording.scratch(format!("{name}.info"), tokens * INFO);
    RowBuffers { data: recording.scratch(name, tokens * words), info }
}

/// The names of the dither streams of a recording, in the order in which they were added. A dither stream contains the
/// dither bits of one tensor. The index of a name is also the index of the stream's key in the dither buffer.
#[derive(Clone, Debug, Default)]
pub struct DitherStreams(Vec<String>);

impl DitherStreams {
    /// Adds the dither stream `name` and returns its index.
    pub fn add(&mut self, name: String) -> u32 {
        self.0.push(name);
        self.0.len() as u32 - 1
    }

    /// Returns the names of all dither streams. The index of a name is the index of the stream.
    pub fn names(&self) -> &[String] {
        &self.0
    }
}

impl LoraBuffers {
    /// Returns an error unless a and b have the shapes of the factors of this linear layer.
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

    /// Returns the words of every buffer of the adapter that the forward and backward passes read.
    ///
    /// These buffers hold the factors a and b, and the ratios, scales and exponents that kernels need to convert
    /// between units. Each factor is rounded to integers of magnitude ≤ 2^14 in units of a power of two. It is stored
    /// twice, row by row and transposed. `exponents` contains two exponents, for a and for b: kernels accumulate the
    /// gradient of each factor in units of 2^(exponent of the factor).
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

/// Rounds a factor `[rank, features]` to integers of magnitude ≤ 2^14. Returns the rounded factor, its transpose, and
/// an exponent `e`. An integer `n` stands for the value `n · 2^e`. The rows of the factor and of its transpose are
/// packed as [wide rows](crate::kernels), in which each integer is stored as two int8 values.
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
