//! The memory on which the judge executes one step of a word program. It contains only those tiles (256 words each)
//! that a proof reveals.

use super::{
    tensor::{tile_hash, tiles},
    tree::{self, Hash},
    word_program::{WordFault, WordMemory},
};
use crate::kernels::digest::TILE;
use std::collections::BTreeMap;

/// The fault that a step reports if it accesses a word beyond the end of a buffer. This happens only if the step has
/// computed the index from an invalid word, which no kernel would have written.
pub(in crate::dispute) const BEYOND: WordFault = WordFault::Format("an address");

/// A tensor of which only some tiles (256 words each) are revealed.
#[derive(Clone, Debug, Default)]
pub(in crate::dispute) struct RevealedTensor {
    /// The number of words in the whole tensor.
    pub(in crate::dispute) words: usize,
    /// Whether every word is known to be 0. If so, no tile needs to be revealed.
    pub(in crate::dispute) zero: bool,
    /// The revealed tiles: the words of each tile, by the index of the tile in the tensor.
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

    /// Returns the Merkle root of the tensor, computed from the revealed tiles and from `proof`, the hashes of the
    /// largest subtrees that contain no revealed tile. Returns `None` if the number of hashes is wrong, if a tile lies
    /// outside the tensor, or if the tensor is empty.
    pub(in crate::dispute) fn root(&self, proof: &[Hash]) -> Option<Hash> {
        let revealed: Vec<_> = self.tiles.iter().map(|(at, words)| (*at, tile_hash(words))).collect();
        tree::proven_root(tiles(self.words), &revealed, proof)
    }
}

/// The buffers of a dispatch, and the scratch tensor of a word program. Only some tiles (256 words each) of the buffers
/// and of the scratch tensor are revealed.
pub(in crate::dispute) struct PartialMemory {
    /// The buffers of the dispatch, in binding order.
    pub(in crate::dispute) buffers: Vec<RevealedTensor>,
    /// The scratch tensor, which holds the intermediate values of the word program.
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
