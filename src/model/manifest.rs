//! The model root: the CID of a manifest that states the config of a model and a digest of every tensor. A tensor is
//! hashed in the form in which kernels read it. Therefore the model root does not depend on the format of the file from
//! which the model was read.

use crate::model::{config::ModelConfig, weights::Model};
use crate::store::{Block, StoreError, dag_cbor};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const FORMAT: &str = "r3mes/model/1";

#[derive(Serialize, Deserialize)]
struct ModelManifest {
    config: ModelConfig,
    tensors: Vec<TensorDigest>,
}

/// The SHA-256 hash of a tensor's words in little-endian order, and the scale `mantissa · 2^exponent` of the tensor.
#[derive(Serialize, Deserialize)]
struct TensorDigest {
    #[serde(with = "serde_bytes")]
    sha256: [u8; 32],
    mantissa: u32,
    exponent: i32,
}

impl TensorDigest {
    fn new(words: &[u32], mantissa: u32, exponent: i32) -> Self {
        Self { sha256: Sha256::digest(bytemuck::cast_slice::<u32, u8>(words)).into(), mantissa, exponent }
    }
}

/// Returns the manifest of a model. The CID of the manifest is the model root.
///
/// The manifest lists the tensors in this order: the embedding and its row scales; for each decoder layer, the gains of
/// the four norms and then the seven linear layers; and finally the gains of the final norm.
pub fn model_manifest(model: &Model) -> Result<Block, StoreError> {
    let embedding = &model.embedding;
    let mut tensors = vec![
        TensorDigest::new(&embedding.words, 1, embedding.exponent),
        TensorDigest::new(&embedding.row_scales, 1, 0),
    ];
    for layer in &model.layers {
        let gains = [&layer.attention_norm, &layer.attention_sub_norm, &layer.ffn_norm, &layer.ffn_sub_norm];
        tensors.extend(gains.map(|gain| TensorDigest::new(&gain.mantissas, 1, gain.exponent)));
        tensors.extend(layer.linears.iter().map(|linear| {
            let scale = linear.dequant_scale;
            TensorDigest::new(&linear.words, scale.mantissa, scale.exponent)
        }));
    }
    tensors.push(TensorDigest::new(&model.final_norm.mantissas, 1, model.final_norm.exponent));
    dag_cbor::block(FORMAT, &ModelManifest { config: model.config.clone(), tensors })
}
