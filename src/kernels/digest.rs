//! `digest[i] = SHA-256(tile i)` (FIPS 180-4): the digests of a buffer's 1 KiB tiles, which are the leaves of the
//! buffer's Merkle tree.

use super::{Kernel, Saturated, lowering, params, read, texts, write};
use sha2::{Digest, Sha256};
use std::ops::Range;

params! {
    /// The number of words of `data`.
    words: u32,
}

/// The number of words of a tile. The last tile of a buffer may be shorter.
pub const TILE: usize = 256;

/// This kernel reads `data [words]` and writes `digests [ceil(words / 256), 8]`, whose little-endian bytes are the
/// digests.
pub static KERNEL: Kernel = Kernel {
    name: "digest",
    params: Params::NAMES,
    bindings: &[read("data"), write("digests", |_| 8)],
    units: |p| (Params::read(p).words as usize).div_ceil(TILE),
    reference,
    lowerings: &[lowering("plain", texts!("digest.wgsl"), |_| 1, 64)],
};

fn reference(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let words = Params::read(params).words as usize;
    for (tile, digest) in units.zip(writes[0].chunks_exact_mut(8)) {
        let data = &reads[0][tile * TILE..words.min((tile + 1) * TILE)];
        let hash = Sha256::digest(bytemuck::cast_slice::<u32, u8>(data));
        bytemuck::cast_slice_mut::<u32, u8>(digest).copy_from_slice(&hash);
    }
    false
}
