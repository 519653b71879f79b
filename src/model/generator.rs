//! Generates backbones (frozen models) with random weights from a seed, for tests and benchmarks.

use super::{
    config::{Linear, ModelConfig},
    weights::{Embedding, Gain, Layer, Model},
};
use crate::{
    error::Error,
    numbers::{
        fixed::Scale,
        rng::{dither_key, threefry},
        ternary::Ternary,
    },
};

/// Returns a model with random weights, which depend only on `config` and `seed`. The random words of a tensor come
/// from Threefry, with a key that is derived from the seed and the name of the tensor.
///
/// Trits are −1, 0 and +1 with probabilities ¼, ½ and ¼. Their scale is `√2 / √in_features`, so that the output of a
/// linear layer has the same variance as its input. Embeddings are uniform in ±√(3 / width), so that the logits of the
/// untrained model have variance 1. All gains of the norms are 1.
pub fn seeded(config: ModelConfig, seed: [u8; 32]) -> Result<Model, Error> {
    let config = config.check()?;
    let gain = |width: usize| Gain::quantize(&vec![1.0; width]);
    let reach = (3.0 / config.width as f64).sqrt() / f64::from(1u32 << 31);
    let embedding: Vec<f32> = words(&seed, "embedding")
        .map(|word| (f64::from(word as i32) * reach) as f32)
        .take(config.vocab * config.width)
        .collect();
    let layers = (0..config.layers).map(|i| {
        let linears = Linear::ALL.iter().map(|linear| {
            let (columns, rows) = linear.shape(&config);
            let trits: Vec<i8> = words(&seed, &format!("layers.{i}.{}", linear.name()))
                .flat_map(|word| (0..16).map(move |at| (word >> (2 * at) & 1) as i8 - (word >> (2 * at + 1) & 1) as i8))
                .take(rows * columns)
                .collect();
            let scale = Scale::new(2, 0).multiply(Scale::new(columns as u64, 0).reciprocal());
            Ternary::pack(rows, columns, &trits, scale.inverse_sqrt().reciprocal())
        });
        Ok(Layer {
            attention_norm: gain(config.width)?,
            attention_sub_norm: gain(config.heads * config.head_dim)?,
            ffn_norm: gain(config.width)?,
            ffn_sub_norm: gain(config.ffn_width)?,
            linears: linears.collect::<Result<_, Error>>()?,
        })
    });
    Model {
        embedding: Embedding::quantize(&embedding, config.width)?,
        layers: layers.collect::<Result<_, Error>>()?,
        final_norm: gain(config.width)?,
        config,
    }
    .check()
}

/// Returns the random words of the tensor `tensor`. The iterator yields almost 2^33 words, more than any tensor needs.
fn words(seed: &[u8; 32], tensor: &str) -> impl Iterator<Item = u32> + use<> {
    let key = dither_key(seed, 0, tensor).0;
    (0..u32::MAX).flat_map(move |counter| threefry(key, [counter, 0]))
}
