//! A matrix's leaf of the gradient root: the hash of its name, shape, exponent, shift and the CIDs of its blocks.

use super::{gradient_max::long, hash_words, of_bytes, words_hash};
use crate::{
    dispute::judge::tree::Hash,
    kernels::{Kernel, Saturated, params, read, write},
    protocol::{MatrixSpec, matrix_entry},
    store::LEAF_BYTES,
};
use std::ops::Range;

params! {
    /// Bytes of its name.
    name_bytes: u32,
    /// Rank.
    rows: u32,
    /// Features.
    columns: u32,
    /// Of the gradient.
    exponent: i32,
    /// Bytes of an element, 1 or 2.
    bytes: u32,
    /// Its place among the matrices.
    matrix: u32,
    /// All of them.
    matrices: u32,
}

/// `max [1]` u64, `digests [blocks, 8]`, `name` bytes; `leaves [matrices, 8]`, of which it writes one.
pub(in crate::dispute) static KERNEL: Kernel = Kernel {
    name: "matrix_leaf",
    params: Params::NAMES,
    bindings: &[read("max"), read("digests"), read("name"), write("leaves", |p| 8 * Params::read(p).matrices as usize)],
    units: |_| 1,
    reference,
    lowerings: &[],
};

impl Params {
    /// Blocks of the matrix.
    pub(super) fn blocks(&self) -> usize {
        (self.rows as usize * self.columns as usize * self.bytes as usize).div_ceil(LEAF_BYTES)
    }

    /// The leaf's hash as words; `None` where the name is no text.
    pub(super) fn leaf(&self, max: u64, digests: &[u32], name: &[u32]) -> Option<[u32; 8]> {
        let bytes = bytemuck::cast_slice::<u32, u8>(name).get(..self.name_bytes as usize)?;
        let name = String::from_utf8(bytes.to_vec()).ok()?;
        let (rows, columns, exponent) = (self.rows, self.columns, self.exponent);
        let digests: Vec<_> = digests.chunks_exact(8).take(self.blocks()).map(words_hash).collect();
        let spec = MatrixSpec { name, rows, columns, exponent };
        Some(hash_words(&Hash::leaf(&matrix_entry(&spec, of_bytes(self.bytes).shift(max), &digests)).0))
    }
}

fn reference(params: &[u32], _: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let p = Params::read(params);
    let leaf = p.leaf(long(reads[0]) as u64, reads[1], reads[2]).unwrap_or_default();
    writes[0][8 * p.matrix as usize..][..8].copy_from_slice(&leaf);
    false
}
