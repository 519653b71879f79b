//! The moves of a game, as canonical DAG-CBOR.

use super::{
    error::DisputeError,
    program::DispatchEntry,
    proof::{Path, Proof},
    trace::TraceLeaf,
    tree::Hash,
    word_program::WordPlace,
};
use crate::store::dag_cbor;
use serde::{Deserialize, Serialize};

const FORMAT: &str = "r3mes/dispute-move/1";

/// The most bytes of a move, including a proof.
pub const MAX_MOVE_BYTES: usize = 1 << 16;

/// The challenger's statement of what is wrong with a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LeafChallenge {
    /// The tensor that the dispatch wrote to this slot is wrong.
    Output(u32),
    /// The leaf's flag is not set, although this word saturates.
    Saturates(WordPlace),
    /// The leaf's flag is set, although nothing saturates.
    Sound,
}

/// A move in a game, made by one of the sides or by anybody else; see [`Role`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Move {
    /// Made on the miner's side: reveals the nodes [`OPENED_LEVELS`](super::tree::OPENED_LEVELS) levels below the
    /// disputed one.
    Open(Vec<Hash>),
    /// Made by the challenger: picks the first of these nodes with which it disagrees.
    Pick(u32),
    /// Made on the miner's side: reveals the picked leaf of the trace, its dispatch, and the preceding leaf.
    Leaf {
        /// The picked leaf.
        leaf: TraceLeaf,
        /// The dispatch of the leaf.
        entry: Box<DispatchEntry>,
        /// Path from the dispatch to the program root.
        path: Path,
        /// The preceding leaf and its path to the trace root; `None` if the picked leaf is the first one.
        before: Option<(TraceLeaf, Path)>,
    },
    /// Made by the challenger: states what is wrong with the leaf.
    Challenge(LeafChallenge),
    /// Made on the miner's side: reveals the words of the picked tile.
    Tile(#[serde(with = "serde_bytes")] Vec<u8>),
    /// Made by the challenger: picks the first word of the tile with which it disagrees.
    Word(u32),
    /// Made by the answerer: names a word that saturates.
    Witness(WordPlace),
    /// Made by the answerer: commits to the scratch tensor after each step of the word program, and to the result.
    WordProgram {
        /// Root over the scratch tensors and the result.
        root: Hash,
        /// Value of the word that the word program computes.
        word: u32,
        /// Whether a value left its range in the computation of the word.
        saturated: bool,
        /// Path from the result, which is the last leaf, to the root.
        path: Path,
    },
    /// Made by anybody: reveals what the disputed step reads.
    Proof(Box<Proof>),
}

/// The role that may make a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Anybody, because only one move matches what was committed to.
    Anybody,
    /// The account that gave the answer.
    Answerer,
    /// The account that disputes the claim.
    Challenger,
}

impl Move {
    /// Encodes the move in canonical DAG-CBOR.
    pub fn encode(&self) -> Vec<u8> {
        dag_cbor::encode(FORMAT, self)
    }

    /// Decodes a move from canonical DAG-CBOR of at most [`MAX_MOVE_BYTES`] bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DisputeError> {
        match bytes.len() {
            0..=MAX_MOVE_BYTES => Ok(dag_cbor::decode(FORMAT, bytes)?),
            bytes => Err(DisputeError::TooLarge { bytes, limit: MAX_MOVE_BYTES }),
        }
    }

    /// Returns the role that may make the move.
    pub fn role(&self) -> Role {
        match self {
            Self::Open(_) | Self::Leaf { .. } | Self::Tile(_) | Self::Proof(_) => Role::Anybody,
            Self::Witness(_) | Self::WordProgram { .. } => Role::Answerer,
            Self::Pick(_) | Self::Challenge(_) | Self::Word(_) => Role::Challenger,
        }
    }

    /// Returns the name of this kind of move, for error messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Open(_) => "an opening",
            Self::Pick(_) => "a pick",
            Self::Leaf { .. } => "a leaf",
            Self::Challenge(_) => "a challenge",
            Self::Tile(_) => "a tile",
            Self::Word(_) => "a word",
            Self::Witness(_) => "a witness",
            Self::WordProgram { .. } => "a word program",
            Self::Proof(_) => "a proof",
        }
    }
}
