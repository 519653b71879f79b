//! The phases of a dispute game. A phase states what is currently disputed: in the first phase a node of the trace's
//! Merkle tree, in the last phase one step of a computation.

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

/// One of the two sides of a dispute game.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The side that defends the claimed outcome of the task.
    Miner,
    /// The side that disputes the claimed outcome of the task.
    Challenger,
}

/// The search, in a Merkle tree, for the first leaf on which the sides disagree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bisection {
    /// Hash of the node that is disputed at this stage of the search.
    pub(in crate::dispute) node: Hash,
    /// Indexes of the leaves under the disputed node.
    pub(in crate::dispute) range: Range<usize>,
    /// Hashes of the nodes that the miner's side has revealed below the disputed node; `None` until they are revealed.
    pub(in crate::dispute) opened: Option<Vec<Hash>>,
}

/// A disputed leaf of a trace, with the dispatch to whose outputs the leaf commits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisputedDispatch {
    /// Index of the leaf in the trace.
    pub(in crate::dispute) at: usize,
    /// Content of the disputed leaf.
    pub(in crate::dispute) leaf: TraceLeaf,
    /// The dispatch to whose outputs the disputed leaf commits.
    pub(in crate::dispute) entry: DispatchEntry,
    /// Saturation flag of the preceding leaf of the trace; false if the disputed leaf is the first one.
    pub(in crate::dispute) saturated_before: bool,
}

/// A disputed output word, with the dispatch that writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisputedWord {
    /// The dispatch that writes the word.
    pub(in crate::dispute) dispatch: DisputedDispatch,
    /// Where the word is: the index of the buffer, and the index of the word in it.
    pub(in crate::dispute) place: WordPlace,
    /// The value that the answer claims for the word; `None` if the answer claims no value.
    pub(in crate::dispute) word: Option<u32>,
    /// Whether a value leaves its range in the computation of the word, according to the answer; `None` if the answer
    /// makes no claim about this.
    pub(in crate::dispute) saturated: Option<bool>,
    /// Root of the Merkle tree over the steps of the word program; `None` until the account that gave the answer
    /// commits to it. Always `None` for a word program of one step, which has no tree.
    pub(in crate::dispute) word_program: Option<Hash>,
}

/// A phase of a dispute game, which states what is currently disputed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// A node in the Merkle tree of the trace is disputed.
    Trace(Bisection),
    /// A leaf of the trace is disputed. Its content and its dispatch have been revealed.
    Dispatch(Box<DisputedDispatch>),
    /// A node in the Merkle tree of an output tensor is disputed. The fields are the dispatch, the tensor's index among
    /// the outputs of the dispatch, and the state of the search.
    Tensor(Box<DisputedDispatch>, u32, Bisection),
    /// A word of a revealed tile is disputed. The fields are the dispatch, the tensor's index among the outputs of the
    /// dispatch, the index of the tile, and the words of the tile as little-endian bytes.
    Tile(Box<DisputedDispatch>, u32, usize, #[serde(with = "serde_bytes")] Vec<u8>),
    /// The challenger states that a leaf's saturation flag is set although no value leaves its range. The account that
    /// gave the answer must now state the place of an output word in whose computation a value leaves its range.
    Saturation(Box<DisputedDispatch>),
    /// An output word is disputed. The account that gave the answer must make the move [`Move::WordProgram`], which
    /// commits to the steps that compute the word.
    Word(Box<DisputedWord>),
    /// A node in the Merkle tree of a word program is disputed. The fields are the output word and the state of the
    /// search.
    WordProgram(Box<DisputedWord>, Bisection),
    /// One step of a word program is disputed. The fields are the output word, the index of the step, and the claimed
    /// hash of the scratch tensor (the intermediate values) after the step. For the last step, which computes the
    /// result, this hash is `None`.
    Step(Box<DisputedWord>, usize, Option<Hash>),
    /// The game is over, and this side has won.
    Over(Side),
}

impl Bisection {
    pub(in crate::dispute) fn new(node: Hash, leaves: usize) -> Self {
        Self { node, range: 0..leaves, opened: None }
    }

    /// Returns the index of the leaf that the search has found; `None` while the disputed node covers several leaves.
    pub(in crate::dispute) fn leaf(&self) -> Option<usize> {
        (self.range.len() == 1).then_some(self.range.start)
    }

    pub(in crate::dispute) fn apply(&mut self, step: &Move) -> Result<(), DisputeError> {
        match (step, &self.opened) {
            (Move::Open(parts), None) => {
                if tree::fold(self.range.clone(), OPENED_LEVELS, parts) != Some(self.node) {
                    return Err(DisputeError::Root("the set of opened nodes"));
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
