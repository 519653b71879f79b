//! What a game is about at each moment: a node of one of its trees, a leaf, a tile, a word, a step.

use super::{
    error::{DisputeError, below},
    moves::Move,
    program::DispatchEntry,
    trace::TraceLeaf,
    tree::{self, Hash, OPENED_LEVELS},
    word_program::WordPlace,
};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Who is to move, and who won.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Who stands for the claim.
    Miner,
    /// Who doubts it.
    Challenger,
}

/// A way down a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bisection {
    /// The node in doubt.
    pub(in crate::dispute) node: Hash,
    /// The leaves under it.
    pub(in crate::dispute) range: Range<usize>,
    /// The nodes below it, once they are open.
    pub(in crate::dispute) opened: Option<Vec<Hash>>,
}

/// A leaf whose dispatch is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisputedDispatch {
    /// Its number.
    pub(in crate::dispute) at: usize,
    /// What it left.
    pub(in crate::dispute) leaf: TraceLeaf,
    /// Its dispatch.
    pub(in crate::dispute) entry: DispatchEntry,
    /// Whether a value had left its range before.
    pub(in crate::dispute) saturated_before: bool,
}

/// A word in doubt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisputedWord {
    /// Of which leaf.
    pub(in crate::dispute) dispatch: DisputedDispatch,
    /// Which word.
    pub(in crate::dispute) place: WordPlace,
    /// What it is said to be.
    pub(in crate::dispute) word: Option<u32>,
    /// Whether it is said to leave its range.
    pub(in crate::dispute) saturated: Option<bool>,
    /// Root over what the steps left, once given.
    pub(in crate::dispute) word_program: Option<Hash>,
}

/// What is in doubt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// A node of the trace.
    Trace(Bisection),
    /// A leaf whose content and dispatch are shown.
    DisputedDispatch(Box<DisputedDispatch>),
    /// A node of a tensor that a dispatch left.
    RevealedBuffer(Box<DisputedDispatch>, u32, Bisection),
    /// A tile that is shown.
    Tile(Box<DisputedDispatch>, u32, usize, #[serde(with = "serde_bytes")] Vec<u8>),
    /// That anything saturated.
    Saturation(Box<DisputedDispatch>),
    /// How a word comes about.
    DisputedWord(Box<DisputedWord>),
    /// A node of a tape.
    WordProgram(Box<DisputedWord>, Bisection),
    /// One step, and the hash of the scratch tensor that it is said to leave; none for the last.
    Step(Box<DisputedWord>, usize, Option<Hash>),
    /// Nothing.
    Over(Side),
}

impl Bisection {
    pub(in crate::dispute) fn new(node: Hash, leaves: usize) -> Self {
        Self { node, range: 0..leaves, opened: None }
    }

    /// The leaf that it has come to.
    pub(in crate::dispute) fn leaf(&self) -> Option<usize> {
        (self.range.len() == 1).then_some(self.range.start)
    }

    pub(in crate::dispute) fn apply(&mut self, found: &Move) -> Result<(), DisputeError> {
        match (found, &self.opened) {
            (Move::Open(parts), None) => {
                if tree::fold(self.range.clone(), OPENED_LEVELS, parts) != Some(self.node) {
                    return Err(DisputeError::Root("the opened node"));
                }
                self.opened = Some(parts.clone());
            }
            (Move::Pick(part), Some(parts)) => {
                let part = below("part", (*part).into(), parts.len())?;
                self.node = parts[part];
                self.range = tree::parts(self.range.clone(), OPENED_LEVELS).swap_remove(part);
                self.opened = None;
            }
            (_, None) => return Err(DisputeError::Turn { expected: "an opening", found: found.name() }),
            (_, Some(_)) => return Err(DisputeError::Turn { expected: "a pick", found: found.name() }),
        }
        Ok(())
    }

    pub(in crate::dispute) fn turn(&self) -> Side {
        if self.opened.is_some() { Side::Challenger } else { Side::Miner }
    }
}
