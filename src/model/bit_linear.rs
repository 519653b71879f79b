//! A single BitNet linear layer with its LoRA adapter: `y = x · wᵀ · scale + (alpha / rank) · x · aᵀ · bᵀ`, where `w`
//! are the ternary weights, and `a` and `b` are the factors of the adapter.
//!
//! Inputs and outputs are f32; everything between them is computed in integers. The input x is rounded to int8,
//! relative to the largest magnitude of each token, as in BitNet b1.58. The gradient dy of the output is rounded to
//! integers of magnitude ≤ 2^14. The scale of these integers is a power of two for each token. The results have the
//! same bits on every backend. The backward pass treats rounding as the identity (straight-through estimator).

use super::{
    float_conversion::{absmax, byte_rows, check_finite, i64_to_f32, rows_to_f32, transpose, wide_rows},
    linear::{Batch, DitherStreams, LoraBuffers, RecordedLinear, RowBuffers, SavedLinear},
};
use crate::{
    compute::{
        Backend, Executor,
        recording::{BufferContent, BufferId, Recording},
    },
    error::Error,
    kernels::{
        INFO,
        shared::{blocks::BLOCK, wide::wide_words},
    },
    numbers::{
        fixed::Scale,
        lora::{LoraAdapter, LoraMatrix, MASTER_FRACTION_BITS},
        rng::{dither_key, threefry},
        ternary::{Ternary, row_words},
    },
};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// How f32 weights are rounded to trits, that is, to −1, 0 or 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ternarize {
    /// Rounds a weight w to `clamp(round(w / mean |w|), −1, 1)`. The dequantization scale is `mean |w|` (Ma et al.,
    /// *The Era of 1-bit LLMs*, 2024).
    AbsMean,
    /// Rounds a weight w to its sign, or to 0 if |w| is below the threshold. The dequantization scale is 1.
    Sign {
        /// The smallest |w| that is not rounded to 0. The threshold must be at least 0.
        threshold: f32,
    },
}

/// The largest number of weights that [`BitLinear::seeded`] generates. As f32, they take 1 GiB.
const MAX_SEEDED_WEIGHTS: usize = 1 << 28;

/// A linear layer: frozen ternary weights `[out_features, in_features]`, and a LoRA adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BitLinear {
    backbone: Ternary,
    adapter: LoraAdapter,
}

/// The gradients of one backward pass, as f32.
#[derive(Clone, Debug, PartialEq)]
pub struct BitLinearGradients {
    /// Gradient of the adapter's factor a, `[rank, in_features]`.
    pub a: Vec<f32>,
    /// Gradient of the adapter's factor b, `[out_features, rank]`.
    pub b: Vec<f32>,
    /// Gradient of the layer's input x, `[tokens, in_features]`.
    pub x: Vec<f32>,
}

impl BitLinear {
    /// Creates a layer from f32 weights `[out_features, in_features]`. The adapter's factor a is generated from the
    /// seed, approximately normal with mean 0 and standard deviation 0.01. The factor b is 0.
    ///
    /// Returns an error if a length disagrees with the shape, a weight is not finite, or the rank is outside 4..=64.
    pub fn new(
        weights: &[f32],
        in_features: usize,
        out_features: usize,
        ternarize: Ternarize,
        (lora_rank, lora_alpha): (usize, u32),
        seed: [u8; 32],
    ) -> Result<Self, Error> {
        check_finite("weights", weights, in_features.saturating_mul(out_features))?;
        let mean = weights.iter().map(|&weight| f64::from(weight.abs())).sum::<f64>() / weights.len().max(1) as f64;
        let trit = |&weight: &f32| match ternarize {
            Ternarize::AbsMean if mean == 0.0 => 0,
            Ternarize::AbsMean => (f64::from(weight) / mean).round_ties_even().clamp(-1.0, 1.0) as i8,
            Ternarize::Sign { threshold } if weight.abs() < threshold || weight == 0.0 => 0,
            Ternarize::Sign { .. } => weight.signum() as i8,
        };
        let trits: Vec<i8> = weights.iter().map(trit).collect();
        let dequant_scale = match ternarize {
            Ternarize::AbsMean => Scale::from_f64(mean).filter(|scale| scale.mantissa > 0).unwrap_or(Scale::ONE),
            Ternarize::Sign { .. } => Scale::ONE,
        };
        let backbone = Ternary::pack(out_features, in_features, &trits, dequant_scale)?;
        let shape = ["linear".to_owned()].map(|name| (name, in_features, out_features));
        let adapter = LoraAdapter::seeded(lora_rank, lora_alpha, &shape, seed)?;
        Ok(Self { backbone, adapter })
    }

    /// Creates a layer with generated weights. The weights are derived from the seed, uniform between −1 and 1, and
    /// rounded to trits by [`Ternarize::Sign`] with a threshold of 0.1. The adapter is generated from the same seed, as
    /// in [`new`](Self::new). `lora` is (rank, alpha).
    pub fn seeded(in_features: usize, out_features: usize, lora: (usize, u32), seed: [u8; 32]) -> Result<Self, Error> {
        let count = in_features.checked_mul(out_features).filter(|count| *count <= MAX_SEEDED_WEIGHTS);
        let count = count.ok_or(Error::Value { what: "in_features of a seeded layer", value: in_features as i64 })?;
        let key = dither_key(&seed, 0, "weights").0;
        let weight = |at: u32| threefry(key, [at, 0])[0] as i32 as f32 / i32::MAX as f32;
        let weights: Vec<f32> = (0..count as u32).map(weight).collect();
        Self::new(&weights, in_features, out_features, Ternarize::Sign { threshold: 0.1 }, lora, seed)
    }

    /// Returns the frozen ternary weights and their dequantization scale.
    pub fn backbone(&self) -> &Ternary {
        &self.backbone
    }

    /// Returns the SHA-256 of the frozen weights, that is, of their shape, their dequantization scale and their packed
    /// trits, as little-endian words in this order.
    pub fn backbone_digest(&self) -> [u8; 32] {
        let shape = [self.backbone.rows as u32, self.backbone.columns as u32];
        let words =
            shape.into_iter().chain(self.backbone.dequant_scale.words()).chain(self.backbone.words.iter().copied());
        words.fold(Sha256::new(), |hash, word| hash.chain_update(word.to_le_bytes())).finalize().into()
    }

    /// Returns the adapter's factor a `[rank, in_features]`, its factor b `[out_features, rank]`, and alpha.
    pub fn lora_parameters(&self) -> (Vec<f32>, Vec<f32>, f32) {
        let [a, b] = self.factors();
        let real = |&value: &i32| (f64::from(value) * master_unit()) as f32;
        let b: Vec<f32> = b.values.iter().map(real).collect();
        (a.values.iter().map(real).collect(), transpose(&b, self.backbone.rows), self.adapter.alpha as f32)
    }

    /// Sets the adapter's factors `a [rank, in_features]` and `b [out_features, rank]`. Their values are rounded to
    /// Q3.28, which has 28 fraction bits.
    ///
    /// Returns an error and changes nothing if a factor has the wrong length, or if a value is not finite or has a
    /// magnitude of 8 or more.
    pub fn set_lora_parameters(&mut self, a: &[f32], b: &[f32]) -> Result<(), Error> {
        let master = |values: &[f32], expected: usize| -> Result<Vec<i32>, Error> {
            check_finite("LoRA factor", values, expected)?;
            match values.iter().find(|value| value.abs() >= 8.0) {
                Some(&value) => Err(Error::Value { what: "LoRA parameter (within ±8)", value: value as i64 }),
                None => Ok(values.iter().map(|&v| (f64::from(v) / master_unit()).round_ties_even() as i32).collect()),
            }
        };
        let rank = self.adapter.rank;
        let a = master(a, rank * self.backbone.columns)?;
        let b = master(&transpose(b, rank), rank * self.backbone.rows)?;
        for (matrix, values) in self.adapter.matrices.iter_mut().zip([a, b]) {
            matrix.values = values;
        }
        Ok(())
    }

    /// Returns how much memory the adapter's parameters take as f32, in units of 2^20 bytes.
    pub fn size_mb(&self) -> f64 {
        self.adapter.size_bytes() as f64 / f64::from(1 << 20)
    }

    /// Prepares a backend for running the layer on batches of `tokens` tokens (1 to 2^20): records the forward and
    /// backward pass, and allocates the buffers.
    pub async fn executor(&self, backend: &Backend, tokens: usize) -> Result<BitLinearExecutor, Error> {
        if !(1..=1 << 20).contains(&tokens) {
            return Err(Error::Value { what: "number of tokens in a batch", value: tokens as i64 });
        }
        let recorded = BitLinearRecording::new(&self.backbone, self.adapter.rank, tokens);
        let executor = backend.executor(&Arc::new(recorded.recording.clone())).await?;
        Ok(BitLinearExecutor { layer: self.clone(), recorded, executor, tokens, x_absmax: 0.0 })
    }

    fn factors(&self) -> [&LoraMatrix; 2] {
        [&self.adapter.matrices[0], &self.adapter.matrices[1]]
    }
}

/// The kernel launches of a layer's forward and backward pass, and the buffers that [`BitLinearExecutor`] writes and
/// reads.
struct BitLinearRecording {
    recording: Recording,
    forward: usize,
    x: RowBuffers,
    dy: RowBuffers,
    y: BufferId,
    dx: BufferId,
    dither: BufferId,
    streams: DitherStreams,
    lora: LoraBuffers,
}

impl BitLinearRecording {
    fn new(backbone: &Ternary, rank: usize, tokens: usize) -> Self {
        let mut recording = Recording::default();
        let (in_features, out_features) = (backbone.columns, backbone.rows);
        let mut persistent = |name: &str, words: usize| recording.buffer(name, words, BufferContent::Persistent);
        let mut persistent_rows = |name: &str, words: usize| RowBuffers {
            data: persistent(name, tokens * words),
            info: persistent(name, tokens * INFO),
        };
        let (x, dy) = (persistent_rows("x", row_words(in_features)), persistent_rows("dy", wide_words(out_features)));
        let y = persistent("y", tokens * (out_features + INFO));
        let dx = persistent("dx", tokens * (in_features + INFO));
        let spans: Vec<u32> = (0..tokens)
            .step_by(BLOCK)
            .flat_map(|first| [first, BLOCK.min(tokens - first)].map(|at| at as u32))
            .collect();
        let batch = Batch {
            tokens,
            blocks: spans.len() / 2,
            dither: persistent("dither", 2),
            spans: recording.constant("spans", spans),
        };
        let linear = RecordedLinear::new(&mut recording, "linear".into(), backbone, rank);
        let mut streams = DitherStreams::default();
        let saved: SavedLinear = linear.forward_into(&mut recording, &batch, x, y);
        let forward = recording.dispatches().len();
        linear.backward(&mut recording, &batch, dy, saved, Some((dx, 0, 1)), &mut streams);
        recording.resize(batch.dither, 2 + 2 * streams.names().len());
        let lora = linear.lora().copied();
        let lora = lora.unwrap_or_else(|| unreachable!("a rank above 0 has an adapter"));
        Self { recording, forward, x, dy, y, dx, dither: batch.dither, streams, lora }
    }
}

/// A layer that a backend is ready to run on batches of a fixed number of tokens.
pub struct BitLinearExecutor {
    layer: BitLinear,
    recorded: BitLinearRecording,
    executor: Executor,
    tokens: usize,
    /// The largest magnitude in the input of the last forward pass.
    x_absmax: f64,
}

impl BitLinearExecutor {
    /// Runs the forward pass on `x [tokens, in_features]` and returns `y [tokens, out_features]`.
    ///
    /// Returns an error if `x` has the wrong length or contains a value that is not finite.
    pub async fn forward(&mut self, x: &[f32]) -> Result<Vec<f32>, Error> {
        let (in_features, out_features) = (self.layer.backbone.columns, self.layer.backbone.rows);
        check_finite("x", x, self.tokens * in_features)?;
        self.x_absmax = absmax(x);
        let (data, info) = byte_rows(x, in_features);
        self.executor.write(self.recorded.x.data, &data).await?;
        self.executor.write(self.recorded.x.info, &info).await?;
        self.load((0, 0)).await?;
        self.run(0..self.recorded.forward).await?;
        Ok(rows_to_f32(&self.executor.read(self.recorded.y).await?, out_features))
    }

    /// Runs the backward pass that belongs to the last [`forward`](Self::forward). `dy [tokens, out_features]` is the
    /// gradient of the output of that forward pass.
    ///
    /// `key` determines the pseudorandom bits for stochastic rounding, so the same key gives the same result, bit for
    /// bit.
    pub async fn backward(&mut self, dy: &[f32], key: &[u8; 32]) -> Result<BitLinearGradients, Error> {
        let (in_features, out_features) = (self.layer.backbone.columns, self.layer.backbone.rows);
        check_finite("dy", dy, self.tokens * out_features)?;
        let (data, info) = wide_rows(dy, out_features);
        self.executor.write(self.recorded.dy.data, &data).await?;
        self.executor.write(self.recorded.dy.info, &info).await?;
        let keys = self.recorded.streams.names().iter().flat_map(|name| dither_key(key, 0, name).0);
        let keys: Vec<u32> = [0, 0].into_iter().chain(keys).collect();
        self.executor.write(self.recorded.dither, &keys).await?;
        let exponents = self.exponents(absmax(dy));
        self.load(exponents).await?;
        for id in [self.recorded.lora.grad_a, self.recorded.lora.grad_b] {
            let zeros = vec![0; self.recorded.recording.get(id).words];
            self.executor.write(id, &zeros).await?;
        }
        self.run(self.recorded.forward..self.recorded.recording.dispatches().len()).await?;
        let a = i64_to_f32(&self.executor.read(self.recorded.lora.grad_a).await?, exponents.0);
        let b = i64_to_f32(&self.executor.read(self.recorded.lora.grad_b).await?, exponents.1);
        let x = rows_to_f32(&self.executor.read(self.recorded.dx).await?, in_features);
        Ok(BitLinearGradients { a, b: transpose(&b, out_features), x })
    }

    /// Returns the layer, whose parameters the caller may change. The change takes effect in the next pass, so it
    /// should come before a forward pass, not between a forward pass and its backward pass.
    pub fn layer(&mut self) -> &mut BitLinear {
        &mut self.layer
    }

    /// Returns two exponents, for the gradients of the adapter's factors a and b. Kernels accumulate a gradient as
    /// integers in units of 2^exponent. The exponent is chosen so that the magnitude of the gradient cannot exceed
    /// about 2^[`GRADIENT_BITS`] units. `dy_absmax` is the largest magnitude in the gradient of the layer's output.
    fn exponents(&self, dy_absmax: f64) -> (i32, i32) {
        let [a, b] = self.layer.factors().map(|factor| {
            let max = factor.values.iter().map(|value| value.unsigned_abs()).max().unwrap_or(0);
            f64::from(max) * master_unit()
        });
        let scaling = f64::from(self.layer.adapter.alpha) / self.layer.adapter.rank as f64;
        let common = scaling * self.x_absmax * dy_absmax * self.tokens as f64;
        let exponent = |bound: f64| match Scale::from_f64(bound) {
            Some(scale) if scale.mantissa > 0 => (scale.exponent + 31 - GRADIENT_BITS).clamp(-512, 512),
            _ => 0,
        };
        let (in_features, out_features) = (self.layer.backbone.columns as f64, self.layer.backbone.rows as f64);
        (exponent(common * b * out_features), exponent(common * a * in_features))
    }

    /// Uploads the factors a and b in the packed form that kernels read. Also uploads `exponents`: kernels accumulate
    /// the gradients of a and b as integers, in units of 2^(first exponent) and of 2^(second exponent).
    async fn load(&mut self, exponents: (i32, i32)) -> Result<(), Error> {
        let [a, b] = self.layer.factors();
        for (id, words) in self.recorded.lora.pack(self.layer.adapter.alpha, a, b, exponents) {
            self.executor.write(id, &words).await?;
        }
        Ok(())
    }

    async fn run(&mut self, dispatches: std::ops::Range<usize>) -> Result<(), Error> {
        match self.executor.run(dispatches).await? {
            true => Err(Error::Saturated { what: "linear".into() }),
            false => Ok(()),
        }
    }
}

/// The base-2 logarithm of an upper bound of a gradient's magnitude. Kernels accumulate a gradient as integers, in a
/// unit (the *accumulation unit*) that is chosen for each gradient so that the bound is about 2^`GRADIENT_BITS` = 2^44
/// accumulation units. The bound assumes that all products have the same sign, so actual gradients are far below it.
///
/// Kernels first sum over blocks of up to 32 tokens. The sum of a block has a different unit, the *block unit*, so it
/// is shifted left before it is added to the gradient. The bound is at least 2^20 block units, so a block unit is at
/// most 2^24 accumulation units. Therefore the shift is at most 24 bits; the kernels permit up to 28.
const GRADIENT_BITS: i32 = 44;

/// Returns 2^-28, the value of the lowest bit of a parameter in Q3.28.
fn master_unit() -> f64 {
    Scale::power_of_two(-(MASTER_FRACTION_BITS as i32)).to_f64()
}
