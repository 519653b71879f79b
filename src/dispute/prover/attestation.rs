//! Computes attestation leaves by running a task again. An attestation leaf is a digest with which a verifier shows
//! that it has recomputed the gradient. [`attestation_leaf`](crate::protocol::attestation_leaf()) computes the same
//! digest from a gradient.

use super::replay::Replay;
use crate::{
    dispute::judge::{
        error::DisputeError,
        tensor::{tile_words, tiles, to_bytes},
    },
    protocol::attestation_leaf,
};

/// Identifies the tile that a verifier must hash for its attestation. A tile is a piece of 256 words of the gradient. A
/// selector (32 random bytes of the ledger) determines which tile this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelectedTile {
    /// Index of the last dispatch (kernel launch) that writes the gradient, among all dispatches of the task. It is
    /// also the index of this dispatch's leaf in the trace (the hashes of what each dispatch writes).
    pub leaf: usize,
    /// Index of the gradient's buffer among the buffers of the dispatch that writes it, in binding order.
    pub binding: usize,
    /// Index of the tile (256 words) in the gradient's buffer.
    pub tile: usize,
}

impl Replay {
    /// Returns the tile that a verifier must hash for its attestation, given the selector (32 random
    /// bytes of the ledger). Returns `None` if no linear layer is adapted.
    pub fn selected_tile(&self, selector: &[u8; 32]) -> Option<SelectedTile> {
        let gradients = self.gradients();
        let lowest = gradients.first()?.0.split('.').take(2).collect::<Vec<_>>().join(".") + ".";
        let of_lowest: Vec<_> = gradients.iter().filter(|(name, _)| name.starts_with(&lowest)).collect();
        let [first, second] = attestation_leaf::choose_tile(selector);
        let (_, [_, b]) = of_lowest[(first % of_lowest.len() as u64) as usize];
        let (entry, words) = self.writer(*b)?;
        let entries = self.program().step.len();
        let leaf = (self.subject().sequences as usize - 1) * entries + entry;
        let binding = self.program().step[entry].bindings.len() - 1;
        Some(SelectedTile { leaf, binding, tile: (second % tiles(words) as u64) as usize })
    }

    /// Returns the attestation leaf: the digest of the tile that `selector` (32 random bytes of the ledger)
    /// determines. [`attestation_leaf`](crate::protocol::attestation_leaf()) computes the same digest from the
    /// gradient. Fails if no linear layer is adapted, or if the task cannot be run.
    pub async fn leaf_digest(&mut self, selector: &[u8; 32]) -> Result<[u8; 32], DisputeError> {
        let selected = self.selected_tile(selector).ok_or(DisputeError::Root("the list of adapted layers"))?;
        let words = self.snapshot(selected.leaf).await?.after.swap_remove(selected.binding);
        Ok(attestation_leaf::tile_digest(selector, &to_bytes(&words[tile_words(words.len(), selected.tile)])))
    }
}
