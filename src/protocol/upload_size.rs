//! Compares the size of an uploaded artifact with a baseline: the size of all backbone weights in bf16, which has two
//! bytes for each weight.

use std::fmt;

/// The size of an artifact, and the size of all backbone weights in bf16, with which it is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadSize {
    /// Size of all blocks of the artifact, in bytes.
    pub artifact_bytes: u64,
    /// Size of all weights of the backbone in bf16, in bytes.
    pub full_weights_bytes: u64,
}

impl UploadSize {
    /// Compares an artifact of `artifact_bytes` bytes with a backbone that has `backbone_weights` weights.
    pub fn new(artifact_bytes: u64, backbone_weights: u64) -> Self {
        Self { artifact_bytes, full_weights_bytes: 2 * backbone_weights }
    }

    /// Returns how much smaller the artifact is than the backbone weights in bf16, in hundredths of a percent of the
    /// size of these weights, rounded down. Returns 0 if the artifact is larger than the weights.
    pub fn saved_basis_points(self) -> u64 {
        let saved = self.full_weights_bytes.saturating_sub(self.artifact_bytes);
        (u128::from(saved) * 10_000 / u128::from(self.full_weights_bytes.max(1))) as u64
    }
}

impl fmt::Display for UploadSize {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let saved = self.saved_basis_points();
        let (artifact, full) = (self.artifact_bytes, self.full_weights_bytes);
        write!(f, "{artifact} B, {}.{:02} % less than the {full} B of full weights in bf16", saved / 100, saved % 100)
    }
}
