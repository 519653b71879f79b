//! The aggregate of a round: `Σ t · 2^shift` over the round's accepted artifacts. The sum is exact, so it does not
//! depend on the order of the artifacts.

use super::{
    artifact::Artifact,
    error::{ProtocolError, in_range},
    job::Job,
    transport_matrix::TransportMatrix,
};
use crate::numbers::lora::GradientMatrix;

/// The sum of the artifacts of one job and one adapter root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aggregate {
    /// Sums of the matrices, in the job's order. 4096 elements below 2^51 stay below 2^63.
    pub matrices: Vec<GradientMatrix>,
    /// Summed loss of the added artifacts, in units of 2^-20 bits.
    pub loss: i64,
    /// Number of supervised tokens in the added artifacts.
    pub tokens: u64,
    /// Number of artifacts added, including those that contribute nothing to the sums.
    pub artifacts: u32,
}

impl Aggregate {
    /// The largest number of artifacts in one aggregate.
    pub const MAX_ARTIFACTS: u32 = 4096;
    /// The largest number of bits that an element's magnitude may have. An artifact with an element of 2^51 or more
    /// contributes nothing: such an element is far outside what training produces, and would outweigh the rest of the
    /// round.
    const ELEMENT_BITS: u32 = 51;

    /// Returns an aggregate to which no artifact has been added.
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

    /// Adds an artifact. A void, or an artifact with an element of 2^51 or more, is only counted.
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
            // the loss of an accepted artifact is far below 2^54; for any other, wrapping avoids a panic
            self.loss = self.loss.wrapping_add(gradient.loss);
            self.tokens += u64::from(gradient.tokens);
        }
        self.artifacts += 1;
        Ok(())
    }
}
