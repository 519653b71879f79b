//! The attestation leaf: the hash of one tile of an exact gradient, which a verifier states as evidence that it
//! recomputed the task.
//!
//! An artifact contains only the highest bits of the gradient, and the tile is selected after the artifact was
//! submitted, so only somebody who has run the whole step can know the leaf. The tile belongs to the lowest adapted
//! layer, because its gradients depend on the backward pass of all other layers, and to a factor b, because the
//! gradient of b is not zero while b is zero.

use crate::numbers::lora::GradientMatrix;
use sha2::{Digest, Sha256};

/// Size of a tile in bytes. The last tile of a matrix can be shorter.
const TILE_BYTES: usize = 1024;

/// Returns `SHA-256(r3mes/attestation/2, selector, tile)`, or `None` if nothing is adapted.
///
/// Each field is preceded by its length as u32, little-endian. `selector` selects the tile of the gradient; it is the
/// hash of a block of the chain after the submission. `matrices` are in the job's order.
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

/// Returns two numbers that follow from a selector. The first, modulo the number of factors, selects a factor; the
/// second, modulo the number of the factor's tiles, selects a tile.
pub(crate) fn choose_tile(selector: &[u8; 32]) -> [u64; 2] {
    let hash = Sha256::new().chain_update("r3mes/attestation-tile/1").chain_update(selector).finalize();
    let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| hash[at + i]));
    [number(0), number(8)]
}

/// Returns the attestation leaf of a tile, given the tile's bytes.
pub(crate) fn tile_digest(selector: &[u8; 32], tile: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for field in [&b"r3mes/attestation/2"[..], selector, tile] {
        hash.update((field.len() as u32).to_le_bytes());
        hash.update(field);
    }
    hash.finalize().into()
}

/// Returns the part `layers.<i>` of a matrix's name.
fn layer(name: &str) -> Option<&str> {
    let end = name.match_indices('.').nth(1)?.0;
    Some(&name[..end])
}
