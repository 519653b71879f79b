//! R3MES's `gradient.GradientPackage`: an artifact's gradient as its miners and aggregators read it.
//!
//! The message is the original's, field by field (`miner-engine/proto/gradient.proto`), so that its own reader takes
//! it; how it is filled is fixed here, so that one artifact has one package, byte by byte. Tensors are in the order of
//! their names, named and oriented as PEFT does; a value is `t · 2^(shift + exponent)`, which f32 holds exactly. The
//! original's `timestamp` stays 0: no time belongs into bytes that are hashed.

use crate::{
    model::peft,
    numbers::fixed::Scale,
    protocol::{Artifact, Receipt, TransportGradient, TransportMatrix, WorkError, in_range},
};
use data_encoding::HEXLOWER;
use prost::Message;
use std::collections::BTreeMap;

/// One tensor.
#[derive(Clone, PartialEq, Message)]
pub struct GradientTensor {
    /// Row-major.
    #[prost(float, repeated, tag = "1")]
    pub data: Vec<f32>,
    /// `[rank, in_features]` for `lora_A`, `[out_features, rank]` for `lora_B`.
    #[prost(int64, repeated, tag = "2")]
    pub shape: Vec<i64>,
    /// `float32`.
    #[prost(string, tag = "3")]
    pub dtype: String,
    /// PEFT's.
    #[prost(string, tag = "4")]
    pub name: String,
}

/// All tensors of a gradient, and what it is of.
#[derive(Clone, PartialEq, Message)]
pub struct GradientPackage {
    /// In the order of their names.
    #[prost(message, repeated, tag = "1")]
    pub gradients: Vec<GradientTensor>,
    /// CIDs and sizes in words: see [`GradientPackage::new`].
    #[prost(btree_map = "string, string", tag = "2")]
    pub metadata: BTreeMap<String, String>,
    /// The round, where whoever exports knows it; else 0.
    #[prost(uint64, tag = "3")]
    pub training_round_id: u64,
    /// The task's miner.
    #[prost(string, tag = "4")]
    pub miner_address: String,
    /// The artifact's gradient root in lower-case hexadecimal digits.
    #[prost(string, tag = "5")]
    pub gradient_hash: String,
    /// 0.
    #[prost(int64, tag = "6")]
    pub timestamp: i64,
}

impl GradientPackage {
    /// The package of an artifact and the receipt that names it. The gradient is that of the summed loss, divided by
    /// nothing. Metadata: the CIDs `adapter`, `artifact`, `model` and `task`, `commitment`, `rank`, `loss` in 2^-20 bits,
    /// and `tokens`, the supervised ones.
    ///
    /// Fails for a void, which has no gradient, where the artifact is another task's, and where an exponent is none of f32.
    pub fn new(receipt: &Receipt, artifact: &Artifact, training_round_id: u64) -> Result<Self, WorkError> {
        let task = receipt.task();
        let expected = task.cid();
        if artifact.task() != expected {
            return Err(WorkError::OtherTask { expected, found: Box::new(artifact.task()) });
        }
        let unnamed = |problem| WorkError::Name { what: "artifact", name: receipt.artifact().to_string(), problem };
        let gradient = artifact.as_gradient().ok_or_else(|| unnamed("is void: there is no gradient"))?;
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

    /// The canonical bytes: fields in the order of their numbers, no field at its default, maps sorted.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }
}

fn tensor(matrix: &TransportMatrix) -> Result<GradientTensor, WorkError> {
    let spec = matrix.spec();
    let unnamed = || WorkError::Name { what: "matrix", name: spec.name.clone(), problem: "has no name in PEFT" };
    let (_, _, factor) = peft::place(&spec.name).ok_or_else(unnamed)?;
    let name = peft::tensor_name(&spec.name).ok_or_else(unnamed)?;
    // 15 bits of magnitude and a normal unit: exact in f32
    let exponent = spec.exponent + matrix.shift() as i32;
    in_range("exponent of a gradient in f32", exponent.into(), -126, 112)?;
    let unit = Scale::power_of_two(exponent).to_f64();
    let values: Vec<f32> = matrix.values().iter().map(|&value| (f64::from(value) * unit) as f32).collect();
    let (shape, data) = peft::oriented(factor, spec.rows as usize, spec.columns as usize, &values);
    Ok(GradientTensor { data, shape: shape.map(|size| size as i64).to_vec(), dtype: "float32".into(), name })
}
