//! The [leaf](crate::protocol::attestation_leaf()) of an attestation, computed from a trace.

use super::replay::Replay;
use crate::{
    dispute::judge::{
        error::DisputeError,
        tensor::{tile_words, tiles, to_bytes},
    },
    protocol::attestation_leaf,
};

/// The tile of a trace that a selector selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelectedTile {
    /// Index of the leaf in the trace.
    pub leaf: usize,
    /// Index of the gradient's buffer in the binding order of the leaf's dispatch.
    pub binding: usize,
    /// Index of the tile in the gradient.
    pub tile: usize,
}

impl Replay {
    /// Returns the tile that a selector selects; `None` if no linear layer is adapted.
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

    /// Returns the leaf that an attestation states, the same as
    /// [`attestation_leaf`](crate::protocol::attestation_leaf()) computes from the gradient.
    pub async fn leaf_digest(&mut self, selector: &[u8; 32]) -> Result<[u8; 32], DisputeError> {
        let selected = self.selected_tile(selector).ok_or(DisputeError::Root("an adapted linear"))?;
        let words = self.snapshot(selected.leaf).await?.after.swap_remove(selected.binding);
        Ok(attestation_leaf::tile_digest(selector, &to_bytes(&words[tile_words(words.len(), selected.tile)])))
    }
}
