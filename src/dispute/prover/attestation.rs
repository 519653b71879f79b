//! Where an attestation's [leaf](crate::protocol::attestation_leaf) is in a trace, so that one can be disputed.

use super::replay::Replay;
use crate::{
    dispute::judge::{
        error::DisputeError,
        tensor::{tile_words, tiles, to_bytes},
    },
    protocol::attestation_leaf,
};

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
    pub fn chosen(&self, selector: &[u8; 32]) -> Option<Chosen> {
        let gradients = self.gradients();
        let lowest = gradients.first()?.0.split('.').take(2).collect::<Vec<_>>().join(".") + ".";
        let of_lowest: Vec<_> = gradients.iter().filter(|(name, _)| name.starts_with(&lowest)).collect();
        let [first, second] = attestation_leaf::choose_tile(selector);
        let (_, [_, b]) = of_lowest[(first % of_lowest.len() as u64) as usize];
        let (entry, words) = self.writer(*b)?;
        let entries = self.program().step.len();
        let leaf = (self.subject().sequences as usize - 1) * entries + entry;
        let binding = self.program().step[entry].bindings.len() - 1;
        Some(Chosen { leaf, binding, tile: (second % tiles(words) as u64) as usize })
    }

    /// The leaf, as [`crate::protocol::attestation_leaf`] has it of the gradient.
    pub async fn leaf_digest(&mut self, selector: &[u8; 32]) -> Result<[u8; 32], DisputeError> {
        let chosen = self.chosen(selector).ok_or(DisputeError::Root("an adapted linear"))?;
        let words = self.snapshot(chosen.leaf).await?.after.swap_remove(chosen.binding);
        Ok(attestation_leaf::tile_digest(selector, &to_bytes(&words[tile_words(words.len(), chosen.tile)])))
    }
}
