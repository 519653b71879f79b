//! The complete memory of a dispatch, which records the tiles that a step of a word program touches.

use crate::{
    dispute::judge::{
        memory::BEYOND,
        word_program::{WordFault, WordMemory},
    },
    kernels::digest::TILE,
};
use std::collections::BTreeSet;

/// All buffers of a dispatch and a scratch tensor, with the indexes of the tiles that were touched.
pub(in crate::dispute) struct FullMemory<'a> {
    buffers: &'a [Vec<u32>],
    /// The scratch tensor.
    pub(in crate::dispute) scratch: Vec<u32>,
    /// Indexes of the tiles that were read, for each buffer.
    pub(in crate::dispute) touched: Vec<BTreeSet<usize>>,
    /// Indexes of the scratch tiles that were read or written.
    pub(in crate::dispute) touched_scratch: BTreeSet<usize>,
}

impl<'a> FullMemory<'a> {
    /// Makes a memory in which no tile has been touched yet.
    pub(in crate::dispute) fn new(buffers: &'a [Vec<u32>], scratch: Vec<u32>) -> Self {
        Self { buffers, scratch, touched: vec![BTreeSet::new(); buffers.len()], touched_scratch: BTreeSet::new() }
    }
}

impl WordMemory for FullMemory<'_> {
    fn word(&mut self, binding: usize, at: usize) -> Result<u32, WordFault> {
        let word = *self.buffers.get(binding).and_then(|words| words.get(at)).ok_or(BEYOND)?;
        self.touched[binding].insert(at / TILE);
        Ok(word)
    }

    fn scratch(&mut self, at: usize) -> Result<u32, WordFault> {
        self.touched_scratch.insert(at / TILE);
        self.scratch.get(at).copied().ok_or(BEYOND)
    }

    fn set(&mut self, at: usize, word: u32) -> Result<(), WordFault> {
        self.touched_scratch.insert(at / TILE);
        *self.scratch.get_mut(at).ok_or(BEYOND)? = word;
        Ok(())
    }
}
