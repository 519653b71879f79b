//! The leaf of one matrix in the Merkle tree whose root is the gradient root. The leaf is the hash of the matrix's
//! name, shape, exponent and shift, and of the CIDs of the data blocks that contain its elements.

use super::{
    gradient_max::long,
    words::{hash_words, transport_of, words_hash},
};
use crate::{
    dispute::judge::tree::Hash,
    kernels::{Kernel, Saturated, params, read, write},
    protocol::{MatrixSpec, matrix_entry},
    store::LEAF_BYTES,
};
use std::ops::Range;

params! {
    /// Length of the matrix's name in bytes.
    name_bytes: u32,
    /// The number of rows of the matrix, which is the LoRA rank.
    rows: u32,
    /// The number of columns of the matrix: for LoRA factor a, the number of the layer's input features; for factor b,
    /// the number of its output features.
    columns: u32,
    /// Exponent of the matrix's gradient, whose elements are integers in units of `2^exponent`. The training job states
    /// the exponent, so that it is the same for all miners.
    exponent: i32,
    /// Size of a rounded element in the artifact, in bytes: 1 or 2.
    bytes: u32,
    /// Index of the matrix among all matrices of the training job.
    matrix: u32,
    /// The number of matrices in the training job.
    matrices: u32,
}

/// This kernel reads `max [1]` (the largest magnitude in the gradient, a u64), `digests [blocks, 8]` (the SHA-256
/// digests of the data blocks that contain the elements) and the bytes of `name`. It writes row `matrix` of
/// `leaves [matrices, 8]`, which has one hash of eight words for each matrix.
pub(in crate::dispute) static KERNEL: Kernel = Kernel {
    name: "matrix_leaf",
    params: Params::NAMES,
    bindings: &[read("max"), read("digests"), read("name"), write("leaves", |p| 8 * Params::read(p).matrices as usize)],
    units: |_| 1,
    reference,
    lowerings: &[],
};

impl Params {
    /// Returns the number of blocks, of at most 1 MiB each, into which the matrix's bytes are cut.
    pub(super) fn blocks(&self) -> usize {
        (self.rows as usize * self.columns as usize * self.bytes as usize).div_ceil(LEAF_BYTES)
    }

    /// Returns the matrix's leaf, a hash of eight words. `max` is the largest magnitude in the gradient, `digests`
    /// holds the digests of the matrix's blocks, and `name` holds the bytes of the matrix's name. Returns `None` if
    /// `name` is too short or not UTF-8.
    pub(super) fn leaf(&self, max: u64, digests: &[u32], name: &[u32]) -> Option<[u32; 8]> {
        let bytes = bytemuck::cast_slice::<u32, u8>(name).get(..self.name_bytes as usize)?;
        let name = String::from_utf8(bytes.to_vec()).ok()?;
        let (rows, columns, exponent) = (self.rows, self.columns, self.exponent);
        let digests: Vec<_> = digests.chunks_exact(8).take(self.blocks()).map(words_hash).collect();
        let spec = MatrixSpec { name, rows, columns, exponent };
        Some(hash_words(&Hash::leaf(&matrix_entry(&spec, transport_of(self.bytes).shift(max), &digests)).0))
    }
}

fn reference(params: &[u32], _: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let p = Params::read(params);
    let leaf = p.leaf(long(reads[0]) as u64, reads[1], reads[2]).unwrap_or_default();
    writes[0][8 * p.matrix as usize..][..8].copy_from_slice(&leaf);
    false
}
