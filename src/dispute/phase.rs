//! What a game is about at each moment: a node of one of its trees, a leaf, a tile, a word, a step.

use super::{
    error::{DisputeError, below},
    moves::Move,
    program::Entry,
    tape::Place,
    trace::TraceLeaf,
    tree::{self, Hash, OPENED_LEVELS},
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
pub struct Descent {
    /// The node in doubt.
    pub(super) node: Hash,
    /// The leaves under it.
    pub(super) range: Range<usize>,
    /// The nodes below it, once they are open.
    pub(super) opened: Option<Vec<Hash>>,
}

/// A leaf whose dispatch is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spot {
    /// Its number.
    pub(super) at: usize,
    /// What it left.
    pub(super) leaf: TraceLeaf,
    /// Its dispatch.
    pub(super) entry: Entry,
    /// Whether a value had left its range before.
    pub(super) saturated_before: bool,
}

/// A word in doubt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Of which leaf.
    pub(super) spot: Spot,
    /// Which word.
    pub(super) place: Place,
    /// What it is said to be.
    pub(super) word: Option<u32>,
    /// Whether it is said to leave its range.
    pub(super) saturated: Option<bool>,
    /// Root over what the steps left, once given.
    pub(super) tape: Option<Hash>,
}

/// What is in doubt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// A node of the trace.
    Trace(Descent),
    /// A leaf whose content and dispatch are shown.
    Spot(Box<Spot>),
    /// A node of a tensor that a dispatch left.
    Tensor(Box<Spot>, u32, Descent),
    /// A tile that is shown.
    Tile(Box<Spot>, u32, usize, #[serde(with = "serde_bytes")] Vec<u8>),
    /// That anything saturated.
    Saturation(Box<Spot>),
    /// How a word comes about.
    Asked(Box<Asked>),
    /// A node of a tape.
    Tape(Box<Asked>, Descent),
    /// One step, and the hash of the scratch tensor that it is said to leave; none for the last.
    Step(Box<Asked>, usize, Option<Hash>),
    /// Nothing.
    Over(Side),
}

impl Descent {
    pub(super) fn new(node: Hash, leaves: usize) -> Self {
        Self { node, range: 0..leaves, opened: None }
    }

    /// The leaf that it has come to.
    pub(super) fn leaf(&self) -> Option<usize> {
        (self.range.len() == 1).then_some(self.range.start)
    }

    pub(super) fn apply(&mut self, found: &Move) -> Result<(), DisputeError> {
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

    pub(super) fn turn(&self) -> Side {
        if self.opened.is_some() { Side::Challenger } else { Side::Miner }
    }
}
