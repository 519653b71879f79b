//! The aggregate of a round: the sum of the gradients in all accepted artifacts of the round. An artifact contains each
//! gradient matrix as int8 or int16 integers `t` and one `shift` for the whole matrix. An element of the sum is
//! `Σ t · 2^shift`, with one term for each artifact. The sum is exact, so the order of the terms does not matter.

use super::{
    artifact::Artifact,
    error::{ProtocolError, in_range},
    job::Job,
    transport_matrix::TransportMatrix,
};
use crate::numbers::lora::GradientMatrix;

/// The sum of artifacts that all belong to the same job and the same adapter root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aggregate {
    /// For each matrix, the sum of its gradients, in the order of the job's matrices. An element of the sum is the sum
    /// of at most 4096 integers of magnitude below 2^51, so its magnitude is below 2^63.
    pub matrices: Vec<GradientMatrix>,
    /// The summed loss of the artifacts whose gradients were added, in units of 2^-20 bits of information.
    pub loss: i64,
    /// The number of supervised tokens in the artifacts whose gradients were added.
    pub tokens: u64,
    /// The number of artifacts that were added. It includes artifacts without a gradient, and those whose gradient is
    /// too large to be summed.
    pub artifacts: u32,
}

impl Aggregate {
    /// The largest number of artifacts that can be added to one aggregate.
    pub const MAX_ARTIFACTS: u32 = 4096;
    /// The largest number of bits in the magnitude of a gradient element that is added to the sum. If an artifact has
    /// an element of magnitude 2^51 or more, none of its gradient is added, because such an element is far larger than
    /// the gradients that training produces, and would outweigh all other artifacts of the round.
    const ELEMENT_BITS: u32 = 51;

    /// Returns an aggregate to which no artifact has been added. It has the matrices of `job`, all of them 0.
    pub fn new(job: &Job) -> Self {
        let zero = |spec: &super::MatrixSpec| GradientMatrix {
            name: spec.name.clone(),
            rows: spec.rows as usize,
            columns: spec.columns as usize,
            exponent: spec.exponent,
            values: vec![0; spec.len()],
        };
        Self { matrices: job.matrices.iter().map(zero).collect(), loss: 0, tokens: 0, artifacts: 0 }
    }

    /// Adds an artifact. If it is void (without a gradient), or has an element of magnitude 2^51 or more, it is counted
    /// but not summed. Returns an error if the aggregate is full, or if the artifact's matrices differ from those of
    /// the aggregate.
    pub fn add(&mut self, artifact: &Artifact) -> Result<(), ProtocolError> {
        let max = i64::from(Self::MAX_ARTIFACTS);
        in_range("number of artifacts in an aggregate", i64::from(self.artifacts) + 1, 1, max)?;
        if let Some(gradient) = artifact.as_gradient() {
            let largest = |matrix: &TransportMatrix| {
                let largest = matrix.values().iter().map(|value| value.unsigned_abs()).max().unwrap_or_default();
                u64::from(largest) << matrix.shift()
            };
            let count = self.matrices.len() as i64;
            in_range("number of matrices in the artifact", gradient.matrices.len() as i64, count, count)?;
            for (at, (sum, matrix)) in self.matrices.iter().zip(&gradient.matrices).enumerate() {
                matrix.spec().check(at, &sum.name, sum.rows, sum.columns, sum.exponent)?;
            }
            if gradient.matrices.iter().any(|matrix| largest(matrix) >> Self::ELEMENT_BITS > 0) {
                self.artifacts += 1;
                return Ok(());
            }
            for (sum, matrix) in self.matrices.iter_mut().zip(&gradient.matrices) {
                for (sum, value) in sum.values.iter_mut().zip(matrix.values()) {
                    *sum += i64::from(*value) << matrix.shift();
                }
            }
            // The loss of an accepted artifact is far below 2^54. For any other artifact, wrapping avoids a panic.
            self.loss = self.loss.wrapping_add(gradient.loss);
            self.tokens += u64::from(gradient.tokens);
        }
        self.artifacts += 1;
        Ok(())
    }
}
