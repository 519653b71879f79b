//! The phases of a game. Each states what is disputed at the moment, from a node of the trace down to a step.

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

/// A side of a game.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The side that defends the claim.
    Miner,
    /// The side that disputes the claim.
    Challenger,
}

/// The search for the first disputed leaf of a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bisection {
    /// Hash of the disputed node.
    pub(in crate::dispute) node: Hash,
    /// Indexes of the leaves under the disputed node.
    pub(in crate::dispute) range: Range<usize>,
    /// Hashes of the nodes some levels below the disputed node; `None` until they are opened.
    pub(in crate::dispute) opened: Option<Vec<Hash>>,
}

/// A leaf of the trace that is disputed, with its dispatch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisputedDispatch {
    /// Index of the leaf in the trace.
    pub(in crate::dispute) at: usize,
    /// The disputed leaf.
    pub(in crate::dispute) leaf: TraceLeaf,
    /// The dispatch of the leaf.
    pub(in crate::dispute) entry: DispatchEntry,
    /// Flag of the preceding leaf.
    pub(in crate::dispute) saturated_before: bool,
}

/// An output word of a dispatch that is disputed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisputedWord {
    /// The dispatch that writes the word.
    pub(in crate::dispute) dispatch: DisputedDispatch,
    /// The place of the word among the dispatch's buffers.
    pub(in crate::dispute) place: WordPlace,
    /// The claimed value; `None` if no value is claimed.
    pub(in crate::dispute) word: Option<u32>,
    /// Whether the answer claims that the word saturates; `None` if it claims neither.
    pub(in crate::dispute) saturated: Option<bool>,
    /// Root of the word program's tree; `None` until it is given.
    pub(in crate::dispute) word_program: Option<Hash>,
}

/// A phase of a game, which states what is disputed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// A node of the trace's tree is disputed.
    Trace(Bisection),
    /// A leaf of the trace is disputed, whose content and dispatch are revealed.
    Dispatch(Box<DisputedDispatch>),
    /// A node in the tree of a tensor is disputed: the dispatch, the slot of the tensor, and the search.
    Tensor(Box<DisputedDispatch>, u32, Bisection),
    /// A word of a revealed tile is disputed: the dispatch, the slot, the index of the tile, and the tile's words.
    Tile(Box<DisputedDispatch>, u32, usize, #[serde(with = "serde_bytes")] Vec<u8>),
    /// It is disputed whether anything saturated. The answerer must name a word that saturates.
    Saturation(Box<DisputedDispatch>),
    /// A word is disputed, whose word program must be given.
    Word(Box<DisputedWord>),
    /// A node in the tree of a word program is disputed.
    WordProgram(Box<DisputedWord>, Bisection),
    /// One step is disputed: the word, the index of the step, and the claimed leaf of the word program's tree after the
    /// step, which is `None` for the last step.
    Step(Box<DisputedWord>, usize, Option<Hash>),
    /// This side has won, and nothing is disputed.
    Over(Side),
}

impl Bisection {
    pub(in crate::dispute) fn new(node: Hash, leaves: usize) -> Self {
        Self { node, range: 0..leaves, opened: None }
    }

    /// Returns the index of the leaf that the search has reached; `None` while several leaves are left.
    pub(in crate::dispute) fn leaf(&self) -> Option<usize> {
        (self.range.len() == 1).then_some(self.range.start)
    }

    pub(in crate::dispute) fn apply(&mut self, step: &Move) -> Result<(), DisputeError> {
        match (step, &self.opened) {
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
            (_, None) => return Err(DisputeError::Turn { expected: "an opening", found: step.name() }),
            (_, Some(_)) => return Err(DisputeError::Turn { expected: "a pick", found: step.name() }),
        }
        Ok(())
    }

    pub(in crate::dispute) fn turn(&self) -> Side {
        if self.opened.is_some() { Side::Challenger } else { Side::Miner }
    }
}
