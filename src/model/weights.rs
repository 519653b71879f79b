//! The frozen weights of a model, as the integers that kernels read.

use super::config::{Linear, ModelConfig};
pub use super::embedding::Embedding;
use crate::{
    error::Error,
    numbers::{
        fixed::Scale,
        ternary::{Ternary, row_words},
    },
};
use std::sync::Arc;

/// The largest magnitude of a gain's mantissa, and also the largest scale of an embedding row. Both have at most 16
/// bits.
const MAX_GAIN: u32 = 65_535;

/// The gains of an RMSNorm, one for each feature. A gain is `mantissa · 2^exponent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gain {
    /// The mantissas `[width]`. Each word contains the bits of an i32 within ±65,535.
    pub mantissas: Arc<[u32]>,
    /// The exponent, which all gains of the norm share.
    pub exponent: i32,
}

/// The frozen weights of one decoder layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Gains of the norm before the query, key and value projections.
    pub attention_norm: Gain,
    /// Gains of the norm before the output projection of attention.
    pub attention_sub_norm: Gain,
    /// Gains of the norm before the gate and up projections of the feed-forward block.
    pub ffn_norm: Gain,
    /// Gains of the norm before the down projection of the feed-forward block.
    pub ffn_sub_norm: Gain,
    /// The seven linear layers of the decoder layer, in the order of [`Linear::ALL`].
    pub linears: Vec<Ternary>,
}

/// A frozen model, which serves as the backbone of adapters.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The sizes of the model, such as the number of decoder layers.
    pub config: ModelConfig,
    /// The token embeddings, which are also the weights of the output head.
    pub embedding: Embedding,
    /// The decoder layers, in the order in which the forward pass applies them.
    pub layers: Vec<Layer>,
    /// Gains of the final norm, which precedes the output head.
    pub final_norm: Gain,
}

impl Gain {
    /// Quantizes finite f32 values to mantissas within ±65,535 with a common exponent. Returns an error if a value is
    /// not finite.
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
    /// Returns the model unchanged if its config is valid, and if every tensor has the shape that the config requires
    /// and only values that kernels accept. Otherwise returns an error.
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
                return Err(Error::Value { what: "mantissa of a norm gain", value: mantissa.into() });
            }
        }
        for layer in &self.layers {
            length("attention norm", config.width, layer.attention_norm.mantissas.len())?;
            length("attention sub-norm", config.heads * config.head_dim, layer.attention_sub_norm.mantissas.len())?;
            length("feed-forward norm", config.width, layer.ffn_norm.mantissas.len())?;
            length("feed-forward sub-norm", config.ffn_width, layer.ffn_sub_norm.mantissas.len())?;
            length("linear layers of a decoder layer", 7, layer.linears.len())?;
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
