//! The aggregate of a round is `Σ t · 2^shift` over its accepted artifacts: exact, so their order cannot matter.

use super::{
    artifact::Artifact,
    error::{WorkError, in_range},
    job::Job,
    transport_matrix::TransportMatrix,
};
use crate::numbers::lora::GradientMatrix;

/// The sum of some artifacts of one job and one adapter root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aggregate {
    /// In the job's order. 4096 elements of less than 2^51 stay below 2^63.
    pub matrices: Vec<GradientMatrix>,
    /// Summed loss, in 2^-20 bits.
    pub loss: i64,
    /// Supervised tokens.
    pub tokens: u64,
    /// Artifacts added, with those that add nothing.
    pub artifacts: u32,
}

impl Aggregate {
    /// Most artifacts of one sum.
    pub const MAX_ARTIFACTS: u32 = 4096;
    /// An artifact with an element of 2^51 or more adds nothing: so far from all that learns that it would outweigh the
    /// round.
    const ELEMENT_BITS: u32 = 51;

    /// The sum of nothing.
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

    /// Adds one; a void, or what [`Self::ELEMENT_BITS`] excludes, adds nothing but its count.
    pub fn add(&mut self, artifact: &Artifact) -> Result<(), WorkError> {
        let max = i64::from(Self::MAX_ARTIFACTS);
        in_range("artifacts of one sum", i64::from(self.artifacts) + 1, 1, max)?;
        if let Some(gradient) = artifact.as_gradient() {
            let largest = |matrix: &TransportMatrix| {
                let largest = matrix.values().iter().map(|value| value.unsigned_abs()).max().unwrap_or_default();
                u64::from(largest) << matrix.shift()
            };
            let count = self.matrices.len() as i64;
            in_range("matrices of the artifact", gradient.matrices.len() as i64, count, count)?;
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
            // the loss of an accepted artifact is far below 2^54; wrapping keeps a foreign one from panicking
            self.loss = self.loss.wrapping_add(gradient.loss);
            self.tokens += u64::from(gradient.tokens);
        }
        self.artifacts += 1;
        Ok(())
    }
}
