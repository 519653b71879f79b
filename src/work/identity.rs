//! The model root: the CID of a manifest that names every tensor's integers, whatever file they came from.

use crate::model::{config::ModelConfig, weights::Model};
use crate::store::{Block, StoreError, dag_cbor};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const FORMAT: &str = "r3mes/model/1";

#[derive(Serialize, Deserialize)]
struct Manifest {
    config: ModelConfig,
    tensors: Vec<Tensor>,
}

/// SHA-256 of a tensor's words, little-endian, and its scale `mantissa · 2^exponent`.
#[derive(Serialize, Deserialize)]
struct Tensor {
    #[serde(with = "serde_bytes")]
    sha256: [u8; 32],
    mantissa: u32,
    exponent: i32,
}

impl Tensor {
    fn new(words: &[u32], mantissa: u32, exponent: i32) -> Self {
        Self { sha256: Sha256::digest(bytemuck::cast_slice::<u32, u8>(words)).into(), mantissa, exponent }
    }
}

/// The manifest of a model; its CID is the model root.
///
/// Tensors in order: embedding, its row scales, per layer the four gains and the seven linears, final gain.
pub fn model_manifest(model: &Model) -> Result<Block, StoreError> {
    let embedding = &model.embedding;
    let mut tensors =
        vec![Tensor::new(&embedding.words, 1, embedding.exponent), Tensor::new(&embedding.row_scales, 1, 0)];
    for layer in &model.layers {
        let gains = [&layer.attention_norm, &layer.attention_sub_norm, &layer.ffn_norm, &layer.ffn_sub_norm];
        tensors.extend(gains.map(|gain| Tensor::new(&gain.mantissas, 1, gain.exponent)));
        tensors.extend(layer.linears.iter().map(|linear| {
            let scale = linear.dequant_scale;
            Tensor::new(&linear.words, scale.mantissa, scale.exponent)
        }));
    }
    tensors.push(Tensor::new(&model.final_norm.mantissas, 1, model.final_norm.exponent));
    dag_cbor::block(FORMAT, &Manifest { config: model.config.clone(), tensors })
}
