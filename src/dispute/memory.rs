//! The two memories that a step of a tape reads: one that is whole and notes what was touched, one that holds what was shown.

use super::{
    tape::{Fault, Memory},
    tensor::{tile_hash, tiles},
    tree::{self, Hash},
};
use crate::kernels::digest::TILE;
use std::collections::{BTreeMap, BTreeSet};

/// Whole buffers and a scratch tensor; keeps the numbers of the tiles that a step touched.
pub(super) struct Whole<'a> {
    buffers: &'a [Vec<u32>],
    /// The scratch tensor.
    pub(super) scratch: Vec<u32>,
    /// Tiles read, by buffer.
    pub(super) read: Vec<BTreeSet<usize>>,
    /// Scratch tiles read or set.
    pub(super) noted: BTreeSet<usize>,
}

impl<'a> Whole<'a> {
    /// With nothing touched.
    pub(super) fn new(buffers: &'a [Vec<u32>], scratch: Vec<u32>) -> Self {
        Self { buffers, scratch, read: vec![BTreeSet::new(); buffers.len()], noted: BTreeSet::new() }
    }
}

impl Memory for Whole<'_> {
    fn word(&mut self, binding: usize, at: usize) -> Result<u32, Fault> {
        let word = *self.buffers.get(binding).and_then(|words| words.get(at)).ok_or(BEYOND)?;
        self.read[binding].insert(at / TILE);
        Ok(word)
    }

    fn scratch(&mut self, at: usize) -> Result<u32, Fault> {
        self.noted.insert(at / TILE);
        self.scratch.get(at).copied().ok_or(BEYOND)
    }

    fn set(&mut self, at: usize, word: u32) -> Result<(), Fault> {
        self.noted.insert(at / TILE);
        *self.scratch.get_mut(at).ok_or(BEYOND)? = word;
        Ok(())
    }
}

/// Only words that no kernel writes lead beyond a buffer.
const BEYOND: Fault = Fault::Format("an address");

/// Some tiles of a tensor.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    /// Length of the whole tensor.
    pub(super) words: usize,
    /// Nothing is shown because every word is 0.
    pub(super) zero: bool,
    /// By number.
    pub(super) tiles: BTreeMap<usize, Vec<u32>>,
}

impl Shown {
    fn word(&self, binding: Option<usize>, at: usize) -> Result<u32, Fault> {
        match (at < self.words, self.zero) {
            (false, _) => Err(BEYOND),
            (true, true) => Ok(0),
            (true, false) => {
                let word = self.tiles.get(&(at / TILE)).and_then(|tile| tile.get(at % TILE));
                word.copied().ok_or(Fault::Absent { binding, at })
            }
        }
    }

    /// The root that the tiles and the rest of the tree fold to.
    pub(super) fn root(&self, proof: &[Hash]) -> Option<Hash> {
        let shown: Vec<_> = self.tiles.iter().map(|(at, words)| (*at, tile_hash(words))).collect();
        tree::proven_root(tiles(self.words), &shown, proof)
    }
}

/// Buffers and a scratch tensor of which only some tiles are there.
pub(super) struct Sparse {
    /// By binding.
    pub(super) buffers: Vec<Shown>,
    /// The scratch tensor.
    pub(super) scratch: Shown,
}

impl Memory for Sparse {
    fn word(&mut self, binding: usize, at: usize) -> Result<u32, Fault> {
        self.buffers.get(binding).ok_or(BEYOND)?.word(Some(binding), at)
    }

    fn scratch(&mut self, at: usize) -> Result<u32, Fault> {
        self.scratch.word(None, at)
    }

    fn set(&mut self, at: usize, word: u32) -> Result<(), Fault> {
        if at >= self.scratch.words {
            return Err(BEYOND);
        }
        let place = self.scratch.tiles.get_mut(&(at / TILE)).and_then(|tile| tile.get_mut(at % TILE));
        *place.ok_or(Fault::Absent { binding: None, at })? = word;
        Ok(())
    }
}
