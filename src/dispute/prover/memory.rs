//! The memory on which a prover executes the steps of a word program, which computes one output word of a dispatch
//! (kernel launch). The memory contains all words of the dispatch's buffers, and notes which tiles (256 words each) a
//! step reads or writes.

use crate::{
    dispute::judge::{
        memory::BEYOND,
        word_program::{WordFault, WordMemory},
    },
    kernels::digest::TILE,
};
use std::collections::BTreeSet;

/// The memory of a word program, which computes one output word of a dispatch (kernel launch) in steps. It consists of
/// the dispatch's buffers, and of a scratch tensor for intermediate values. It notes the index of every tile (256
/// words) that a step accesses, because a proof must reveal these tiles.
pub(in crate::dispute) struct FullMemory<'a> {
    buffers: &'a [Vec<u32>],
    /// Words of the scratch tensor, which holds the intermediate values of the word program.
    pub(in crate::dispute) scratch: Vec<u32>,
    /// For each buffer, the indexes of the tiles that have been read.
    pub(in crate::dispute) touched: Vec<BTreeSet<usize>>,
    /// Indexes of the tiles of the scratch tensor that have been read or written.
    pub(in crate::dispute) touched_scratch: BTreeSet<usize>,
}

impl<'a> FullMemory<'a> {
    /// Creates a memory in which no tile has been accessed yet.
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
