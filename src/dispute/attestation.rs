//! An attestation's leaf: a tile of the exact gradients that no artifact shows, chosen after the artifact is in, and a
//! digest of it that is the verifier's own.
//!
//! The tile is of the lowest adapted layer, whose gradients take the whole step, and of a factor b, whose gradient is not
//! zero while b is. An artifact holds their highest bits alone.

use super::{
    error::DisputeError,
    play::Replay,
    tensor::{tile_words, tiles, to_bytes},
};
use sha2::{Digest, Sha256};

/// The tile that a selector names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Leaf of the trace.
    pub leaf: usize,
    /// Binding of the gradient.
    pub binding: usize,
    /// Tile of it.
    pub tile: usize,
}

impl Replay {
    /// The tile that a selector names; `None` where nothing is adapted.
    ///
    /// A selector is the hash of a block after the submission, the submission's number and the verifier's address.
    pub fn chosen(&self, selector: &[u8; 32]) -> Option<Chosen> {
        let gradients = self.gradients();
        let lowest = gradients.first()?.0.split('.').take(2).collect::<Vec<_>>().join(".") + ".";
        let of_lowest: Vec<_> = gradients.iter().filter(|(name, _)| name.starts_with(&lowest)).collect();
        let hash = Sha256::new().chain_update(b"r3mes/attestation-tile/1").chain_update(selector).finalize();
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| hash[at + i]));
        let (_, [_, b]) = of_lowest[(number(0) % of_lowest.len() as u64) as usize];
        let (entry, words) = self.writer(*b)?;
        let entries = self.program().step.len();
        let leaf = (self.subject().plays as usize - 1) * entries + entry;
        let binding = self.program().step[entry].bindings.len() - 1;
        Some(Chosen { leaf, binding, tile: (number(8) % tiles(words) as u64) as usize })
    }

    /// `SHA-256(r3mes/attestation/1, selector, verifier, tile)`, each preceded by its length as u32 little-endian.
    pub async fn leaf_digest(&mut self, selector: &[u8; 32], verifier: &str) -> Result<[u8; 32], DisputeError> {
        let chosen = self.chosen(selector).ok_or(DisputeError::Root("an adapted linear"))?;
        let words = self.snapshot(chosen.leaf).await?.after.swap_remove(chosen.binding);
        let tile = to_bytes(&words[tile_words(words.len(), chosen.tile)]);
        let mut hash = Sha256::new();
        for field in [&b"r3mes/attestation/1"[..], selector, verifier.as_bytes(), &tile] {
            hash.update((field.len() as u32).to_le_bytes());
            hash.update(field);
        }
        Ok(hash.finalize().into())
    }
}
