//! Computes the SHA-256 digest of each data block of a matrix: `digests[i] = SHA-256(block i)`. The bytes of the matrix
//! are cut into blocks of at most 1 MiB each. The CID of a block contains its digest.

use super::words::hash_words;
use crate::{
    kernels::{Kernel, Saturated, params, read, write},
    store::LEAF_BYTES,
};
use sha2::{Digest, Sha256};
use std::ops::Range;

params! {
    /// Size of the matrix in bytes, in the encoding of the artifact.
    bytes: u32,
}

/// This kernel reads the bytes of a matrix as words `data [ceil(bytes / 4)]`. It writes
/// `digests [ceil(bytes / 2^20), 8]`, which holds one digest of eight words for each block of 2^20 bytes.
pub(in crate::dispute) static KERNEL: Kernel = Kernel {
    name: "block_digest",
    params: Params::NAMES,
    bindings: &[read("data"), write("digests", |_| 8)],
    units: |p| (Params::read(p).bytes as usize).div_ceil(LEAF_BYTES),
    reference,
    lowerings: &[],
};

fn reference(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let bytes = &bytemuck::cast_slice::<u32, u8>(reads[0])[..Params::read(params).bytes as usize];
    for (block, out) in units.zip(writes[0].chunks_exact_mut(8)) {
        let block = &bytes[block * LEAF_BYTES..bytes.len().min((block + 1) * LEAF_BYTES)];
        out.copy_from_slice(&hash_words(&Sha256::digest(block).into()));
    }
    false
}
