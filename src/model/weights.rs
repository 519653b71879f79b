//! A model's frozen weights, in the integers that kernels read.

use super::config::{Linear, ModelConfig};
use crate::{error::Error, fixed::Scale, ternary::Ternary, ternary::row_words};
use std::sync::Arc;

/// Largest mantissa of a gain or an embedding row's scale: 16 bits.
const MAX_GAIN: u32 = 65_535;

/// An embedding table `[vocab, width]`: int8 per row, a u16 scale per row, one power of two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Embedding {
    /// Byte rows `[vocab, row_words(width)]`.
    pub words: Arc<[u32]>,
    /// `[vocab]`, u16 in units of 2^-16.
    pub row_scales: Arc<[u32]>,
    /// A value is `int8 · row_scale · 2^(exponent − 16)`.
    pub exponent: i32,
}

/// The gains of an RMSNorm: `mantissa · 2^exponent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gain {
    /// `[width]` i32 within ±65,535.
    pub mantissas: Arc<[u32]>,
    /// Power of two.
    pub exponent: i32,
}

/// One decoder layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Before attention.
    pub attention_norm: Gain,
    /// Before attention's output linear.
    pub attention_sub_norm: Gain,
    /// Before the feed-forward.
    pub ffn_norm: Gain,
    /// Before the feed-forward's down linear.
    pub ffn_sub_norm: Gain,
    /// In the order of [`Linear::ALL`].
    pub linears: Vec<Ternary>,
}

/// A frozen model.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Its sizes.
    pub config: ModelConfig,
    /// Token embeddings, also the head.
    pub embedding: Embedding,
    /// Decoder layers.
    pub layers: Vec<Layer>,
    /// Before the head.
    pub final_norm: Gain,
}

impl Embedding {
    /// From finite reals `[vocab, width]`: absmax int8 per row; a row's scale is its absmax / 127 in u16.
    pub fn quantize(values: &[f32], width: usize) -> Result<Self, Error> {
        check_finite("embedding", values)?;
        let row_max = |row: &[f32]| row.iter().fold(0f64, |max, &value| max.max(f64::from(value.abs())));
        let top = values.chunks_exact(width).map(row_max).fold(0f64, f64::max) / 127.0;
        let exponent = Scale::from_f64(top).map_or(0, |scale| scale.exponent + 31);
        let unit = Scale::power_of_two(exponent - 16).to_f64();
        let mut words = Vec::with_capacity(values.len() / width * row_words(width));
        let mut row_scales = Vec::with_capacity(values.len() / width);
        for row in values.chunks_exact(width) {
            let scale = (row_max(row) / 127.0 / unit).round_ties_even().clamp(1.0, 65_535.0);
            row_scales.push(scale as u32);
            let mut bytes = vec![0u8; 4 * row_words(width)];
            for (byte, &value) in bytes.iter_mut().zip(row) {
                *byte = (f64::from(value) / (scale * unit)).round_ties_even().clamp(-127.0, 127.0) as i8 as u8;
            }
            words.extend(bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])));
        }
        Ok(Self { words: words.into(), row_scales: row_scales.into(), exponent })
    }

    /// The values `[vocab, width]`: 8 · 16 bits are exact in f32.
    pub fn reals(&self, width: usize) -> Vec<f32> {
        let unit = Scale::power_of_two(self.exponent - 16).to_f64();
        let rows = bytemuck::cast_slice::<u32, i8>(&self.words).chunks_exact(4 * row_words(width));
        rows.zip(self.row_scales.iter())
            .flat_map(|(row, &scale)| {
                row[..width].iter().map(move |&v| (f64::from(v) * f64::from(scale) * unit) as f32)
            })
            .collect()
    }
}

impl Gain {
    /// From finite reals: 16-bit mantissas under one power of two.
    pub fn quantize(values: &[f32]) -> Result<Self, Error> {
        check_finite("norm gain", values)?;
        let top = values.iter().fold(0f64, |max, &value| max.max(f64::from(value.abs())));
        let exponent = Scale::from_f64(top).map_or(0, |scale| scale.exponent + 31 - 16);
        let unit = Scale::power_of_two(exponent).to_f64();
        let mantissa = |value: f32| (f64::from(value) / unit).round_ties_even().clamp(-65_535.0, 65_535.0);
        Ok(Self { mantissas: values.iter().map(|&value| mantissa(value) as i32 as u32).collect(), exponent })
    }
}

fn check_finite(what: &'static str, values: &[f32]) -> Result<(), Error> {
    match values.iter().all(|value| value.is_finite()) {
        true => Ok(()),
        false => Err(Error::NotFinite { what }),
    }
}

impl Model {
    /// Checks the config, and that every tensor has the shape that it asks for and values that kernels are proven for.
    pub fn check(self) -> Result<Self, Error> {
        let config = &self.config.clone().check()?;
        let length = |what, expected, found| match expected == found {
            true => Ok(()),
            false => Err(Error::Shape { what, expected, found }),
        };
        length("layers", config.layers, self.layers.len())?;
        length("embedding", config.vocab * row_words(config.width), self.embedding.words.len())?;
        length("embedding row scales", config.vocab, self.embedding.row_scales.len())?;
        length("final norm", config.width, self.final_norm.mantissas.len())?;
        let scale = self.embedding.row_scales.iter().find(|scale| !(1..=MAX_GAIN).contains(*scale));
        if let Some(&scale) = scale {
            return Err(Error::Value { what: "embedding row scale", value: scale.into() });
        }
        if bytemuck::cast_slice::<u32, i8>(&self.embedding.words).contains(&i8::MIN) {
            return Err(Error::Value { what: "embedding value", value: i8::MIN.into() });
        }
        let norms = |layer: &Layer| {
            [&layer.attention_norm, &layer.attention_sub_norm, &layer.ffn_norm, &layer.ffn_sub_norm].map(Gain::clone)
        };
        for gain in self.layers.iter().flat_map(norms).chain([self.final_norm.clone()]) {
            let over = gain.mantissas.iter().map(|&mantissa| mantissa as i32).find(|m| m.unsigned_abs() > MAX_GAIN);
            if let Some(mantissa) = over {
                return Err(Error::Value { what: "norm gain", value: mantissa.into() });
            }
        }
        for layer in &self.layers {
            length("attention norm", config.width, layer.attention_norm.mantissas.len())?;
            length("attention sub-norm", config.heads * config.head_dim, layer.attention_sub_norm.mantissas.len())?;
            length("feed-forward norm", config.width, layer.ffn_norm.mantissas.len())?;
            length("feed-forward sub-norm", config.ffn_width, layer.ffn_sub_norm.mantissas.len())?;
            length("linears of a layer", 7, layer.linears.len())?;
            for (linear, weights) in Linear::ALL.iter().zip(&layer.linears) {
                let (in_features, out_features) = linear.shape(config);
                length(linear.name(), in_features, weights.columns)?;
                length(linear.name(), out_features, weights.rows)?;
                if weights.dequant_scale.mantissa == 0 {
                    return Err(Error::Value { what: "weight scale", value: 0 });
                }
            }
        }
        Ok(self)
    }
}
