//! `y = x · wᵀ · scale + (alpha / rank) · x · aᵀ · bᵀ`: one BitNet linear with its LoRA adapter, by itself.
//!
//! Reals at the door, integers inside: x becomes int8 by each token's absmax, as BitNet b1.58 does, dy int16, and what
//! comes back is exact to the bit on every backend. Gradients go straight through the quantisers.

use super::{
    linear::{Batch, LoraBuffers, RecordedLinear, Rows, Saved, Streams},
    lora::{LoraAdapter, LoraMatrix, MASTER_FRACTION_BITS},
};
use crate::{
    backend::{Backend, Player},
    error::Error,
    fixed::{Scale, WIDE_BITS},
    kernels::{
        INFO, as_bytes_mut,
        shared::{
            blocks::BLOCK,
            rows,
            wide::{self, wide_words},
        },
    },
    recording::{BufferId, Content, Recording},
    rng::dither_key,
    ternary::{Ternary, row_words},
};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// How real weights become trits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ternarize {
    /// `clamp(round(w / mean |w|), −1, 1)`, a trit worth `mean |w|` (Ma et al., *The Era of 1-bit LLMs*, 2024).
    AbsMean,
    /// `sign(w)`, 0 where |w| is below the threshold; a trit is worth 1.
    Sign {
        /// Non-negative.
        threshold: f32,
    },
}

/// A frozen ternary linear `[out_features, in_features]` and its adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BitLinear {
    backbone: Ternary,
    adapter: LoraAdapter,
}

/// Real gradients.
#[derive(Clone, Debug, PartialEq)]
pub struct BitLinearGradients {
    /// Of a, `[rank, in_features]`.
    pub a: Vec<f32>,
    /// Of b, `[out_features, rank]`.
    pub b: Vec<f32>,
    /// Of x, `[tokens, in_features]`.
    pub x: Vec<f32>,
}

impl BitLinear {
    /// From real weights `[out_features, in_features]`. a is close to normal(0, 0.01) and follows from the seed, b is 0.
    ///
    /// Fails where a length disagrees with the shape, a weight is not finite, or the rank is outside 4..=64.
    pub fn new(
        weights: &[f32],
        in_features: usize,
        out_features: usize,
        ternarize: Ternarize,
        (lora_rank, lora_alpha): (usize, u32),
        seed: [u8; 32],
    ) -> Result<Self, Error> {
        finite("weights", weights, in_features.saturating_mul(out_features))?;
        let mean = weights.iter().map(|&weight| f64::from(weight.abs())).sum::<f64>() / weights.len().max(1) as f64;
        let trit = |&weight: &f32| match ternarize {
            Ternarize::AbsMean if mean == 0.0 => 0,
            Ternarize::AbsMean => (f64::from(weight) / mean).round_ties_even().clamp(-1.0, 1.0) as i8,
            Ternarize::Sign { threshold } if weight.abs() < threshold || weight == 0.0 => 0,
            Ternarize::Sign { .. } => weight.signum() as i8,
        };
        let trits: Vec<i8> = weights.iter().map(trit).collect();
        let worth = match ternarize {
            Ternarize::AbsMean => Scale::from_f64(mean).filter(|scale| scale.mantissa > 0).unwrap_or(Scale::ONE),
            Ternarize::Sign { .. } => Scale::ONE,
        };
        let backbone = Ternary::pack(out_features, in_features, &trits, worth)?;
        let shape = ["linear".to_owned()].map(|name| (name, in_features, out_features));
        let adapter = LoraAdapter::seeded(lora_rank, lora_alpha, &shape, seed)?;
        Ok(Self { backbone, adapter })
    }

    /// The backbone.
    pub fn backbone(&self) -> &Ternary {
        &self.backbone
    }

    /// SHA-256 of the backbone: shape, what a trit is worth, packed trits; all as little-endian words.
    pub fn backbone_digest(&self) -> [u8; 32] {
        let shape = [self.backbone.rows as u32, self.backbone.columns as u32];
        let words =
            shape.into_iter().chain(self.backbone.dequant_scale.words()).chain(self.backbone.words.iter().copied());
        words.fold(Sha256::new(), |hash, word| hash.chain_update(word.to_le_bytes())).finalize().into()
    }

    /// `a [rank, in_features]`, `b [out_features, rank]` and alpha.
    pub fn lora_parameters(&self) -> (Vec<f32>, Vec<f32>, f32) {
        let [a, b] = self.factors();
        let real = |&value: &i32| (f64::from(value) * master_unit()) as f32;
        let b: Vec<f32> = b.values.iter().map(real).collect();
        (a.values.iter().map(real).collect(), transpose(&b, self.backbone.rows), self.adapter.alpha as f32)
    }

    /// Sets `a [rank, in_features]` and `b [out_features, rank]`, rounded to Q3.28. Fails, and changes nothing, where
    /// one has another length or a value outside ±8.
    pub fn set_lora_parameters(&mut self, a: &[f32], b: &[f32]) -> Result<(), Error> {
        let master = |values: &[f32], expected: usize| -> Result<Vec<i32>, Error> {
            finite("LoRA factor", values, expected)?;
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

    /// Megabytes (2^20 bytes) of the adapter in f32: what there is to send instead of the weights.
    pub fn size_mb(&self) -> f64 {
        self.adapter.size_bytes() as f64 / f64::from(1 << 20)
    }

    /// Puts the layer on a backend, for batches of `tokens` tokens.
    pub async fn on(&self, backend: &Backend, tokens: usize) -> Result<BitLinearPlayer, Error> {
        if !(1..=1 << 20).contains(&tokens) {
            return Err(Error::Value { what: "tokens of a batch", value: tokens as i64 });
        }
        let recorded = Recorded::new(&self.backbone, self.adapter.rank, tokens);
        let player = backend.player(&Arc::new(recorded.recording.clone())).await?;
        Ok(BitLinearPlayer { layer: self.clone(), recorded, player, tokens, x_top: 0.0 })
    }

    fn factors(&self) -> [&LoraMatrix; 2] {
        [&self.adapter.matrices[0], &self.adapter.matrices[1]]
    }
}

/// The layer's recording and its buffers.
struct Recorded {
    recording: Recording,
    forward: usize,
    x: Rows,
    dy: Rows,
    y: BufferId,
    dx: BufferId,
    dither: BufferId,
    streams: Streams,
    lora: LoraBuffers,
}

impl Recorded {
    fn new(backbone: &Ternary, rank: usize, tokens: usize) -> Self {
        let mut recording = Recording::default();
        let (in_features, out_features) = (backbone.columns, backbone.rows);
        let mut kept = |name: &str, words: usize| recording.buffer(name, words, Content::Kept);
        let mut kept_rows =
            |name: &str, words: usize| Rows { data: kept(name, tokens * words), info: kept(name, tokens * INFO) };
        let (x, dy) = (kept_rows("x", row_words(in_features)), kept_rows("dy", wide_words(out_features)));
        let y = kept("y", tokens * (out_features + INFO));
        let dx = kept("dx", tokens * (in_features + INFO));
        let spans: Vec<u32> = (0..tokens)
            .step_by(BLOCK)
            .flat_map(|first| [first, BLOCK.min(tokens - first)].map(|at| at as u32))
            .collect();
        let batch = Batch {
            tokens,
            blocks: spans.len() / 2,
            dither: kept("dither", 2),
            spans: recording.constant("spans", spans),
        };
        let linear = RecordedLinear::new(&mut recording, "linear".into(), backbone, rank);
        let mut streams = Streams::default();
        let saved: Saved = linear.forward_into(&mut recording, &batch, x, y);
        let forward = recording.dispatches().len();
        linear.backward(&mut recording, &batch, dy, saved, Some((dx, 0, 1)), &mut streams);
        recording.resize(batch.dither, 2 + 2 * streams.names().len());
        let lora = linear.lora().copied();
        let lora = lora.unwrap_or_else(|| unreachable!("a rank above 0 has an adapter"));
        Self { recording, forward, x, dy, y, dx, dither: batch.dither, streams, lora }
    }
}

/// A layer in a backend's memory.
pub struct BitLinearPlayer {
    layer: BitLinear,
    recorded: Recorded,
    player: Player,
    tokens: usize,
    /// Largest |x| of the last forward pass.
    x_top: f64,
}

impl BitLinearPlayer {
    /// `y [tokens, out_features]` of `x [tokens, in_features]`. Fails where x has another length or a value that is
    /// not finite.
    pub async fn forward(&mut self, x: &[f32]) -> Result<Vec<f32>, Error> {
        let (in_features, out_features) = (self.layer.backbone.columns, self.layer.backbone.rows);
        finite("x", x, self.tokens * in_features)?;
        self.x_top = top(x);
        let (data, info) = byte_rows(x, in_features);
        self.player.write(self.recorded.x.data, &data).await?;
        self.player.write(self.recorded.x.info, &info).await?;
        self.load((0, 0)).await?;
        self.play(0..self.recorded.forward).await?;
        Ok(reals(&self.player.read(self.recorded.y).await?, out_features))
    }

    /// Gradients of the last [`forward`](Self::forward), from `dy [tokens, out_features]`.
    ///
    /// `key` keys the stochastic rounding of what is dropped: the same key gives the same bits.
    pub async fn backward(&mut self, dy: &[f32], key: &[u8; 32]) -> Result<BitLinearGradients, Error> {
        let (in_features, out_features) = (self.layer.backbone.columns, self.layer.backbone.rows);
        finite("dy", dy, self.tokens * out_features)?;
        let (data, info) = wide_rows(dy, out_features);
        self.player.write(self.recorded.dy.data, &data).await?;
        self.player.write(self.recorded.dy.info, &info).await?;
        let keys = self.recorded.streams.names().iter().flat_map(|name| dither_key(key, 0, name).0);
        let keys: Vec<u32> = [0, 0].into_iter().chain(keys).collect();
        self.player.write(self.recorded.dither, &keys).await?;
        let exponents = self.exponents(top(dy));
        self.load(exponents).await?;
        for id in [self.recorded.lora.grad_a, self.recorded.lora.grad_b] {
            let zeros = vec![0; self.recorded.recording.get(id).words];
            self.player.write(id, &zeros).await?;
        }
        self.play(self.recorded.forward..self.recorded.recording.dispatches().len()).await?;
        let a = longs(&self.player.read(self.recorded.lora.grad_a).await?, exponents.0);
        let b = longs(&self.player.read(self.recorded.lora.grad_b).await?, exponents.1);
        let x = reals(&self.player.read(self.recorded.dx).await?, in_features);
        Ok(BitLinearGradients { a, b: transpose(&b, out_features), x })
    }

    /// The layer, and what changes it: new parameters count from the next forward pass on.
    pub fn layer(&mut self) -> &mut BitLinear {
        &mut self.layer
    }

    /// Exponents of the two gradients: [`GRADIENT_BITS`] below what they can reach.
    fn exponents(&self, dy_top: f64) -> (i32, i32) {
        let [a, b] = self.layer.factors().map(|factor| {
            let max = factor.values.iter().map(|value| value.unsigned_abs()).max().unwrap_or(0);
            f64::from(max) * master_unit()
        });
        let scaling = f64::from(self.layer.adapter.alpha) / self.layer.adapter.rank as f64;
        let common = scaling * self.x_top * dy_top * self.tokens as f64;
        let exponent = |bound: f64| match Scale::from_f64(bound) {
            Some(scale) if scale.mantissa > 0 => (scale.exponent + 31 - GRADIENT_BITS).clamp(-512, 512),
            _ => 0,
        };
        let (in_features, out_features) = (self.layer.backbone.columns as f64, self.layer.backbone.rows as f64);
        (exponent(common * b * out_features), exponent(common * a * in_features))
    }

    async fn load(&mut self, exponents: (i32, i32)) -> Result<(), Error> {
        let [a, b] = self.layer.factors();
        for (id, words) in self.recorded.lora.pack(self.layer.adapter.alpha, a, b, exponents) {
            self.player.write(id, &words).await?;
        }
        Ok(())
    }

    async fn play(&mut self, dispatches: std::ops::Range<usize>) -> Result<(), Error> {
        match self.player.play(dispatches).await? {
            true => Err(Error::Saturated { what: "linear" }),
            false => Ok(()),
        }
    }
}

/// Bits of a gradient below its bound. The bound is far above what is reached (it takes all signs as equal), and a
/// block's folded rows keep at least 21 bits below it, so that the sums stay within the 2^28 that an accumulator aligns.
const GRADIENT_BITS: i32 = 44;

/// What a master's last bit is worth.
fn master_unit() -> f64 {
    Scale::power_of_two(-(MASTER_FRACTION_BITS as i32)).to_f64()
}

fn finite(what: &'static str, values: &[f32], expected: usize) -> Result<(), Error> {
    match values.len() == expected {
        true if values.iter().all(|value| value.is_finite()) => Ok(()),
        true => Err(Error::NotFinite { what }),
        false => Err(Error::Shape { what, expected, found: values.len() }),
    }
}

fn top(values: &[f32]) -> f64 {
    values.iter().fold(0.0, |top, &value| top.max(f64::from(value.abs())))
}

/// `[rows, columns]` of `[columns, rows]`, where `columns` is the length of a row of the result.
fn transpose(values: &[f32], stride: usize) -> Vec<f32> {
    (0..stride).flat_map(|at| values.iter().skip(at).step_by(stride).copied()).collect()
}

/// Byte rows and their infos: `round(x · 127 / absmax)` of each token.
fn byte_rows(x: &[f32], width: usize) -> (Vec<u32>, Vec<u32>) {
    let tokens = x.len() / width;
    let (mut data, mut info) = (vec![0; tokens * row_words(width)], vec![0; tokens * INFO]);
    let out = data.chunks_exact_mut(row_words(width)).zip(info.chunks_exact_mut(INFO));
    for (x, (data, info)) in x.chunks_exact(width).zip(out) {
        let dequant_scale = Scale::from_f64(top(x) / 127.0).unwrap_or(Scale::ZERO);
        if dequant_scale.mantissa == 0 {
            continue;
        }
        let unit = dequant_scale.to_f64();
        let mut sum = 0;
        for (byte, &x) in as_bytes_mut(data).iter_mut().zip(x) {
            *byte = (f64::from(x) / unit).round_ties_even().clamp(-127.0, 127.0) as i8;
            sum += i32::from(*byte);
        }
        rows::put_info(info, dequant_scale, sum);
    }
    (data, info)
}

/// Wide rows and their infos: 14 bits and a sign of each token, under a power of two.
fn wide_rows(dy: &[f32], width: usize) -> (Vec<u32>, Vec<u32>) {
    let tokens = dy.len() / width;
    let (mut data, mut info) = (vec![0; tokens * wide_words(width)], vec![0; tokens * INFO]);
    let out = data.chunks_exact_mut(wide_words(width)).zip(info.chunks_exact_mut(INFO));
    for (dy, (data, info)) in dy.chunks_exact(width).zip(out) {
        let Some(largest) = Scale::from_f64(top(dy)).filter(|scale| scale.mantissa > 0) else { continue };
        // |dy| < 2^(exponent + 31) becomes ≤ 2^14
        let unit = Scale::power_of_two(largest.exponent + 31 - WIDE_BITS as i32);
        let mut sum = 0;
        for (at, &value) in dy.iter().enumerate() {
            let value = (f64::from(value) / unit.to_f64()).round_ties_even() as i32;
            wide::set(bytemuck::cast_slice_mut(data), at, value);
            sum += value;
        }
        rows::put_info(info, unit, sum);
    }
    (data, info)
}

/// The reals of i32 rows.
fn reals(words: &[u32], width: usize) -> Vec<f32> {
    let rows = words.chunks_exact(width + INFO).flat_map(|row| {
        let unit = Scale::from_words(&row[width..]).to_f64();
        row[..width].iter().map(move |&value| (f64::from(value as i32) * unit) as f32)
    });
    rows.collect()
}

/// The reals of i64 in pairs of words, in units of `2^exponent`.
fn longs(words: &[u32], exponent: i32) -> Vec<f32> {
    let unit = Scale::power_of_two(exponent).to_f64();
    let long = |pair: &[u32; 2]| (u64::from(pair[0]) | u64::from(pair[1]) << 32) as i64;
    words.as_chunks().0.iter().map(|pair| (long(pair) as f64 * unit) as f32).collect()
}
