//! The two memories that a step of a tape reads: one that is whole and notes what was touched, one that holds what was shown.

use super::{
    tensor::{tile_hash, tiles},
    tree::{self, Hash},
    word_program::{WordFault, WordMemory},
};
use crate::kernels::digest::TILE;
use std::collections::BTreeMap;

/// Only words that no kernel writes lead beyond a buffer.
pub(in crate::dispute) const BEYOND: WordFault = WordFault::Format("an address");

/// Some tiles of a tensor.
#[derive(Clone, Debug, Default)]
pub(in crate::dispute) struct RevealedTensor {
    /// Length of the whole tensor.
    pub(in crate::dispute) words: usize,
    /// Nothing is shown because every word is 0.
    pub(in crate::dispute) zero: bool,
    /// By number.
    pub(in crate::dispute) tiles: BTreeMap<usize, Vec<u32>>,
}

impl RevealedTensor {
    fn word(&self, binding: Option<usize>, at: usize) -> Result<u32, WordFault> {
        match (at < self.words, self.zero) {
            (false, _) => Err(BEYOND),
            (true, true) => Ok(0),
            (true, false) => {
                let word = self.tiles.get(&(at / TILE)).and_then(|tile| tile.get(at % TILE));
                word.copied().ok_or(WordFault::Absent { binding, at })
            }
        }
    }

    /// The root that the tiles and the rest of the tree fold to.
    pub(in crate::dispute) fn root(&self, proof: &[Hash]) -> Option<Hash> {
        let shown: Vec<_> = self.tiles.iter().map(|(at, words)| (*at, tile_hash(words))).collect();
        tree::proven_root(tiles(self.words), &shown, proof)
    }
}

/// Buffers and a scratch tensor of which only some tiles are there.
pub(in crate::dispute) struct PartialMemory {
    /// By binding.
    pub(in crate::dispute) buffers: Vec<RevealedTensor>,
    /// The scratch tensor.
    pub(in crate::dispute) scratch: RevealedTensor,
}

impl WordMemory for PartialMemory {
    fn word(&mut self, binding: usize, at: usize) -> Result<u32, WordFault> {
        self.buffers.get(binding).ok_or(BEYOND)?.word(Some(binding), at)
    }

    fn scratch(&mut self, at: usize) -> Result<u32, WordFault> {
        self.scratch.word(None, at)
    }

    fn set(&mut self, at: usize, word: u32) -> Result<(), WordFault> {
        if at >= self.scratch.words {
            return Err(BEYOND);
        }
        let place = self.scratch.tiles.get_mut(&(at / TILE)).and_then(|tile| tile.get_mut(at % TILE));
        *place.ok_or(WordFault::Absent { binding: None, at })? = word;
        Ok(())
    }
}
