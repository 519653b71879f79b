//! A tensor's root is the Merkle root over its tiles: 256 words, little-endian, the last tile shorter where the tensor ends.

use super::tree::{self, Hash};
use crate::kernels::digest::TILE;
use std::ops::Range;

/// Tiles of a tensor.
pub const fn tiles(words: usize) -> usize {
    words.div_ceil(TILE)
}

/// The words of a tile.
pub fn tile_words(words: usize, tile: usize) -> Range<usize> {
    tile * TILE..words.min((tile + 1) * TILE)
}

/// A tile as bytes.
pub fn to_bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Words of bytes; `None` where they are not whole.
pub fn from_bytes(bytes: &[u8]) -> Option<Vec<u32>> {
    let (words, rest) = bytes.as_chunks();
    rest.is_empty().then(|| words.iter().map(|word| u32::from_le_bytes(*word)).collect())
}

/// The leaf of a tile.
pub fn tile_hash(words: &[u32]) -> Hash {
    Hash::leaf(&to_bytes(words))
}

/// The leaves of a tensor.
pub fn tile_hashes(words: &[u32]) -> Vec<Hash> {
    words.chunks(TILE).map(tile_hash).collect()
}

/// The root of a tensor.
pub fn tensor_root(words: &[u32]) -> Hash {
    tree::root(&tile_hashes(words))
}
