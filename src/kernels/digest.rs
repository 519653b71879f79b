//! The SHA-256 digests (FIPS 180-4) of the tiles of a buffer, `digest[i] = SHA-256(tile i)`. A tile consists of 256
//! words (1 KiB); the last tile may be shorter.

use super::{Kernel, Saturated, lowering, params, read, texts, write};
use sha2::{Digest, Sha256};
use std::ops::Range;

params! {
    /// The length of the buffer `data` in words.
    words: u32,
}

/// The number of words in a tile. The last tile of a buffer may be shorter.
pub const TILE: usize = 256;

/// The kernel `digest`. It reads `data [words]` and writes `digests [ceil(words / 256), 8]`. Each digest of 32 bytes is
/// stored as eight little-endian words.
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
