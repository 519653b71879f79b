//! A leaf that no artifact shows: a tile of an exact gradient, of which an artifact has the highest bits alone. Who names
//! the one that was chosen after the artifact came has played the whole step.
//!
//! The tile is of the lowest adapted layer, whose gradients take all of the others, and of a factor b, whose gradient is
//! not zero while b is.

use crate::numbers::lora::GradientMatrix;
use sha2::{Digest, Sha256};

/// Bytes of a tile; the last one of a matrix is shorter.
const TILE_BYTES: usize = 1024;

/// `SHA-256(r3mes/attestation/2, selector, tile)`, each preceded by its length as u32 little-endian, of the tile that a
/// selector names in a gradient whose matrices are in a job's order. `None` where nothing is adapted.
///
/// A selector is the hash of a block after the submission.
pub fn attestation_leaf(matrices: &[GradientMatrix], selector: &[u8; 32]) -> Option<[u8; 32]> {
    let lowest = layer(&matrices.first()?.name)?;
    let factors = matrices.iter().filter(|matrix| matrix.name.ends_with(".b") && layer(&matrix.name) == Some(lowest));
    let factors: Vec<&GradientMatrix> = factors.collect();
    let [first, second] = choose_tile(selector);
    let matrix = factors.get((first % factors.len().max(1) as u64) as usize)?;
    let bytes: Vec<u8> = matrix.values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let tiles = bytes.chunks(TILE_BYTES).count() as u64;
    let tile = bytes.chunks(TILE_BYTES).nth((second % tiles.max(1)) as usize)?;
    Some(tile_digest(selector, tile))
}

/// What a selector says: of the factors, and of the tiles of the one.
pub(crate) fn choose_tile(selector: &[u8; 32]) -> [u64; 2] {
    let hash = Sha256::new().chain_update("r3mes/attestation-tile/1").chain_update(selector).finalize();
    let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| hash[at + i]));
    [number(0), number(8)]
}

/// A tile's digest.
pub(crate) fn tile_digest(selector: &[u8; 32], tile: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for field in [&b"r3mes/attestation/2"[..], selector, tile] {
        hash.update((field.len() as u32).to_le_bytes());
        hash.update(field);
    }
    hash.finalize().into()
}

/// `layers.<i>` of a matrix's name.
fn layer(name: &str) -> Option<&str> {
    let end = name.match_indices('.').nth(1)?.0;
    Some(&name[..end])
}
