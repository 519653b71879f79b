//! The attestation leaf: the hash of one tile (at most 1024 bytes) of an exact gradient. A verifier publishes it as
//! evidence of having recomputed the task.
//!
//! An artifact contains only the highest bits of the gradient, and the tile is selected after the artifact was
//! submitted. Therefore nobody can know the leaf without computing the whole training step. The tile belongs to the
//! lowest decoder layer that has an adapter, because the gradients of this layer depend on the backward pass of all
//! layers above it. Each adapted linear layer has two LoRA factors, `a` and `b`, and `b` is initially zero. As long as
//! `b` is zero, the gradient of `a` is zero, whereas the gradient of `b` is not. Therefore the tile is taken from the
//! gradient of a factor `b`.

use crate::numbers::lora::GradientMatrix;
use sha2::{Digest, Sha256};

/// The size of a tile, in bytes. The last tile of a matrix can be shorter.
const TILE_BYTES: usize = 1024;

/// Returns the attestation leaf `SHA-256(r3mes/attestation/2, selector, tile)`, or `None` if there is no tile because
/// no linear layer has an adapter.
///
/// The length of each field, as a little-endian u32, precedes the field. `selector` determines which tile of the
/// gradient is hashed. The selector is the random value by which the verifiers were selected after the submission.
/// `matrices` are the gradients of the adapter's matrices, in the order that the job states.
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

/// Derives two numbers from a selector. They determine which tile of the gradient the attestation leaf hashes. The
/// first number, modulo the count of the LoRA factors b in the lowest adapted decoder layer, is the index of a factor.
/// The second number, modulo the count of tiles in the gradient of this factor, is the index of a tile.
pub(crate) fn choose_tile(selector: &[u8; 32]) -> [u64; 2] {
    let hash = Sha256::new().chain_update("r3mes/attestation-tile/1").chain_update(selector).finalize();
    let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| hash[at + i]));
    [number(0), number(8)]
}

/// Returns the attestation leaf: a hash of `selector`, the random value that determines the tile, and of `tile`, the
/// bytes of the tile.
pub(crate) fn tile_digest(selector: &[u8; 32], tile: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for field in [&b"r3mes/attestation/2"[..], selector, tile] {
        hash.update((field.len() as u32).to_le_bytes());
        hash.update(field);
    }
    hash.finalize().into()
}

/// Returns the part `layers.<i>` of the name of a matrix, or `None` if the name has no second dot.
fn layer(name: &str) -> Option<&str> {
    let end = name.match_indices('.').nth(1)?.0;
    Some(&name[..end])
}
