//! The complete memory of a dispatch, which records what a step of a word program touches.

use crate::{
    dispute::judge::{
        memory::BEYOND,
        word_program::{WordFault, WordMemory},
    },
    kernels::digest::TILE,
};
use std::collections::BTreeSet;

/// FullMemory buffers and a scratch tensor; keeps the numbers of the tiles that a step touched.
pub(in crate::dispute) struct FullMemory<'a> {
    buffers: &'a [Vec<u32>],
    /// The scratch tensor.
    pub(in crate::dispute) scratch: Vec<u32>,
    /// RevealedTiles read, by buffer.
    pub(in crate::dispute) read: Vec<BTreeSet<usize>>,
    /// Scratch tiles read or set.
    pub(in crate::dispute) load: BTreeSet<usize>,
}

impl<'a> FullMemory<'a> {
    /// With nothing touched.
    pub(in crate::dispute) fn new(buffers: &'a [Vec<u32>], scratch: Vec<u32>) -> Self {
        Self { buffers, scratch, read: vec![BTreeSet::new(); buffers.len()], load: BTreeSet::new() }
    }
}

impl WordMemory for FullMemory<'_> {
    fn word(&mut self, binding: usize, at: usize) -> Result<u32, WordFault> {
        let word = *self.buffers.get(binding).and_then(|words| words.get(at)).ok_or(BEYOND)?;
        self.read[binding].insert(at / TILE);
        Ok(word)
    }

    fn scratch(&mut self, at: usize) -> Result<u32, WordFault> {
        self.load.insert(at / TILE);
        self.scratch.get(at).copied().ok_or(BEYOND)
    }

    fn set(&mut self, at: usize, word: u32) -> Result<(), WordFault> {
        self.load.insert(at / TILE);
        *self.scratch.get_mut(at).ok_or(BEYOND)? = word;
        Ok(())
    }
}
