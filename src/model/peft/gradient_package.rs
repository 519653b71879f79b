//! R3MES's `gradient.GradientPackage`: the gradient of an artifact in the message format of R3MES's miners and
//! aggregators.
//!
//! The message has the fields of `miner-engine/proto/gradient.proto` in R3MES, so that R3MES's own reader accepts it.
//! The values of the fields are defined here, so that one artifact has exactly one package, byte for byte. Tensors are
//! in the order of their names, named and oriented as in PEFT. A value is `t · 2^(shift + exponent)` with the
//! transported integer `t`, and f32 holds it exactly. The field `timestamp` is always 0, because the bytes are hashed
//! and must not depend on the time.

use crate::{
    model::peft,
    numbers::fixed::Scale,
    protocol::{Artifact, ProtocolError, Receipt, TransportGradient, TransportMatrix, in_range},
};
use data_encoding::HEXLOWER;
use prost::Message;
use std::collections::BTreeMap;

/// The gradient of one matrix.
#[derive(Clone, PartialEq, Message)]
pub struct GradientTensor {
    /// Values, row-major.
    #[prost(float, repeated, tag = "1")]
    pub data: Vec<f32>,
    /// Shape: `[rank, in_features]` for `lora_A`, `[out_features, rank]` for `lora_B`.
    #[prost(int64, repeated, tag = "2")]
    pub shape: Vec<i64>,
    /// Element type; always `float32`.
    #[prost(string, tag = "3")]
    pub dtype: String,
    /// PEFT's name of the tensor.
    #[prost(string, tag = "4")]
    pub name: String,
}

/// All tensors of a gradient, and the task and artifact that it belongs to.
#[derive(Clone, PartialEq, Message)]
pub struct GradientPackage {
    /// The tensors, in the order of their names.
    #[prost(message, repeated, tag = "1")]
    pub gradients: Vec<GradientTensor>,
    /// CIDs and sizes as text; [`GradientPackage::new`] lists the keys.
    #[prost(btree_map = "string, string", tag = "2")]
    pub metadata: BTreeMap<String, String>,
    /// ID of the round, or 0 if it is not known.
    #[prost(uint64, tag = "3")]
    pub training_round_id: u64,
    /// Address of the task's miner.
    #[prost(string, tag = "4")]
    pub miner_address: String,
    /// The artifact's gradient root in lower-case hexadecimal digits.
    #[prost(string, tag = "5")]
    pub gradient_hash: String,
    /// Always 0.
    #[prost(int64, tag = "6")]
    pub timestamp: i64,
}

impl GradientPackage {
    /// Builds the package of an artifact and its receipt. The gradient is that of the summed loss, not of the mean.
    ///
    /// The keys of the metadata are the CIDs `adapter`, `artifact`, `model` and `task`, and `commitment`, `rank`,
    /// `loss` in units of 2^-20 bits, and `tokens`, the number of supervised tokens.
    ///
    /// Returns an error if the artifact is void, because it then has no gradient, if it belongs to another task, or if
    /// an exponent is outside the range of f32.
    pub fn new(receipt: &Receipt, artifact: &Artifact, training_round_id: u64) -> Result<Self, ProtocolError> {
        let task = receipt.task();
        let expected = task.cid();
        if artifact.task() != expected {
            return Err(ProtocolError::OtherTask { expected, found: Box::new(artifact.task()) });
        }
        let invalid = |problem| ProtocolError::Name { what: "artifact", name: receipt.artifact().to_string(), problem };
        let gradient = artifact.as_gradient().ok_or_else(|| invalid("is void, so it has no gradient"))?;
        let TransportGradient { loss, tokens, matrices } = gradient;
        let mut gradients = matrices.iter().map(tensor).collect::<Result<Vec<_>, _>>()?;
        gradients.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let metadata = [
            ("adapter", task.adapter.to_string()),
            ("artifact", receipt.artifact().to_string()),
            ("commitment", receipt.commitment().to_string()),
            ("loss", loss.to_string()),
            ("model", task.job.model.to_string()),
            ("rank", task.job.rank.to_string()),
            ("task", expected.to_string()),
            ("tokens", tokens.to_string()),
        ];
        Ok(Self {
            gradients,
            metadata: metadata.map(|(key, value)| (key.to_owned(), value)).into(),
            training_round_id,
            miner_address: task.miner.clone(),
            gradient_hash: HEXLOWER.encode(&artifact.gradient_root()),
            timestamp: 0,
        })
    }

    /// Returns the canonical bytes: fields in the order of their numbers, without fields that have their default value,
    /// maps sorted by key.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }
}

fn tensor(matrix: &TransportMatrix) -> Result<GradientTensor, ProtocolError> {
    let spec = matrix.spec();
    let unnamed = || ProtocolError::Name { what: "matrix", name: spec.name.clone(), problem: "has no name in PEFT" };
    let (_, _, factor) = peft::parse_matrix_name(&spec.name).ok_or_else(unnamed)?;
    let name = peft::tensor_name(&spec.name).ok_or_else(unnamed)?;
    // values of 15 bits times a normal power of two are exact in f32
    let exponent = spec.exponent + matrix.shift() as i32;
    in_range("exponent of a gradient in f32", exponent.into(), -126, 112)?;
    let unit = Scale::power_of_two(exponent).to_f64();
    let values: Vec<f32> = matrix.values().iter().map(|&value| (f64::from(value) * unit) as f32).collect();
    let (shape, data) = peft::to_peft_layout(factor, spec.rows as usize, spec.columns as usize, &values);
    Ok(GradientTensor { data, shape: shape.map(|size| size as i64).to_vec(), dtype: "float32".into(), name })
}

#[cfg(test)]
mod tests;
