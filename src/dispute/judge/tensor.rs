//! Tensor roots. A tensor root is the Merkle root over the tiles of a tensor. A tile consists of 256 little-endian
//! words; the last tile of a tensor may be shorter.

use super::tree::{self, Hash};
use crate::kernels::digest::TILE;
use std::ops::Range;

/// Returns the number of tiles (256 words each) in a tensor of `words` words.
pub const fn tiles(words: usize) -> usize {
    words.div_ceil(TILE)
}

/// Returns the range of the words that make up the tile with index `tile` in a tensor of `words` words.
pub fn tile_words(words: usize, tile: usize) -> Range<usize> {
    tile * TILE..words.min((tile + 1) * TILE)
}

/// Returns the bytes of these words, in little-endian order.
pub fn to_bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Returns the words that these little-endian bytes contain; `None` if the number of bytes is not a multiple of 4.
pub fn from_bytes(bytes: &[u8]) -> Option<Vec<u32>> {
    let (words, rest) = bytes.as_chunks();
    rest.is_empty().then(|| words.iter().map(|word| u32::from_le_bytes(*word)).collect())
}

/// Returns the hash of a tile (256 words), which is a leaf of the tensor's Merkle tree.
pub fn tile_hash(words: &[u32]) -> Hash {
    Hash::leaf(&to_bytes(words))
}

/// Returns the hashes of a tensor's tiles (256 words each), which are the leaves of its Merkle tree.
pub fn tile_hashes(words: &[u32]) -> Vec<Hash> {
    words.chunks(TILE).map(tile_hash).collect()
}

/// Returns the tensor root (the Merkle root over the tiles) of the tensor that consists of these words.
pub fn tensor_root(words: &[u32]) -> Hash {
    tree::root(&tile_hashes(words))
}
