//! The gradient package: the gradient in an artifact, as the Protocol Buffers message `gradient.GradientPackage` that
//! the miners and aggregators of R3MES (the original network protocol) exchange.
//!
//! The message has the fields that `miner-engine/proto/gradient.proto` in R3MES defines, so R3MES's own reader accepts
//! it. This module defines the value of every field, so that any program that builds the package of an artifact obtains
//! the same bytes. Tensors have the names and the layout of PEFT, and are sorted by name. An element is
//! `t · 2^(shift + exponent)`, where `t` is an integer in the artifact, and all elements of a tensor have the same
//! `shift` and `exponent`. An f32 holds the element exactly. The field `timestamp` is always 0, because the bytes are
//! hashed and must not depend on the time.

use crate::{
    model::peft,
    numbers::fixed::Scale,
    protocol::{Artifact, ProtocolError, Receipt, TransportGradient, TransportMatrix, in_range},
};
use data_encoding::HEXLOWER;
use prost::Message;
use std::collections::BTreeMap;

/// The gradient of one LoRA matrix, in the layout of PEFT.
#[derive(Clone, PartialEq, Message)]
pub struct GradientTensor {
    /// The elements of the gradient, row by row.
    #[prost(float, repeated, tag = "1")]
    pub data: Vec<f32>,
    /// The shape of the gradient: `[rank, in_features]` for `lora_A`, and `[out_features, rank]` for `lora_B`.
    #[prost(int64, repeated, tag = "2")]
    pub shape: Vec<i64>,
    /// The type of the elements, which is always `float32`.
    #[prost(string, tag = "3")]
    pub dtype: String,
    /// PEFT's name of the tensor, such as `base_model.model.model.layers.0.mlp.down_proj.lora_A.weight`.
    #[prost(string, tag = "4")]
    pub name: String,
}

/// All tensors of a gradient, and the task and the artifact to which the gradient belongs.
#[derive(Clone, PartialEq, Message)]
pub struct GradientPackage {
    /// The gradient of each LoRA matrix, sorted by PEFT's name of the tensor.
    #[prost(message, repeated, tag = "1")]
    pub gradients: Vec<GradientTensor>,
    /// Facts about the gradient in text form, such as CIDs. [`GradientPackage::new`] lists the keys.
    #[prost(btree_map = "string, string", tag = "2")]
    pub metadata: BTreeMap<String, String>,
    /// ID of the round for which the gradient was computed, or 0 if the round is not known.
    #[prost(uint64, tag = "3")]
    pub training_round_id: u64,
    /// Address of the miner. It is the address that the task contains.
    #[prost(string, tag = "4")]
    pub miner_address: String,
    /// The gradient root of the artifact, in lower-case hexadecimal digits.
    #[prost(string, tag = "5")]
    pub gradient_hash: String,
    /// Always 0, so that the bytes of the package do not depend on the time.
    #[prost(int64, tag = "6")]
    pub timestamp: i64,
}

impl GradientPackage {
    /// Builds a package from an artifact and its receipt. The package contains the gradient of the summed loss, not of
    /// the mean loss.
    ///
    /// The metadata has these keys:
    /// - `adapter`, `artifact`, `model` and `task`: the CID of each;
    /// - `commitment`: the commitment to the gradient, in hexadecimal digits;
    /// - `rank`: the LoRA rank;
    /// - `loss`: the summed cross-entropy loss, in units of 2^-20 bits of information;
    /// - `tokens`: the number of supervised tokens.
    ///
    /// Returns an error if the artifact is void (it then has no gradient), if it belongs to a task other than that of
    /// the receipt, if a matrix has no name in PEFT, or if the exponent of a matrix is so large or so small that f32
    /// cannot hold every element.
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

    /// Returns the canonical protobuf encoding: fields in the order of their field numbers, no fields with default
    /// values, and maps sorted by key.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }
}

fn tensor(matrix: &TransportMatrix) -> Result<GradientTensor, ProtocolError> {
    let spec = matrix.spec();
    let unnamed = || ProtocolError::Name { what: "matrix", name: spec.name.clone(), problem: "has no name in PEFT" };
    let (_, _, factor) = peft::parse_matrix_name(&spec.name).ok_or_else(unnamed)?;
    let name = peft::tensor_name(&spec.name).ok_or_else(unnamed)?;
    // An integer of 15 bits times a normal power of two is exact in f32.
    let exponent = spec.exponent + matrix.shift() as i32;
    in_range("exponent of a gradient in f32", exponent.into(), -126, 112)?;
    let unit = Scale::power_of_two(exponent).to_f64();
    let values: Vec<f32> = matrix.values().iter().map(|&value| (f64::from(value) * unit) as f32).collect();
    let (shape, data) = peft::to_peft_layout(factor, spec.rows as usize, spec.columns as usize, &values);
    Ok(GradientTensor { data, shape: shape.map(|size| size as i64).to_vec(), dtype: "float32".into(), name })
}

#[cfg(test)]
mod tests;
