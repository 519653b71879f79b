//! The moves of a dispute game, encoded in canonical DAG-CBOR.

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

/// The largest size of a move or an answer in bytes, including the proof that it may contain.
pub const MAX_MOVE_BYTES: usize = 1 << 16;

/// The challenger's statement of what is wrong with a trace leaf (the hashes of what one dispatch wrote, and a
/// saturation flag).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LeafChallenge {
    /// One of the tensors that the dispatch wrote is wrong. The number is the index of the wrong tensor among the
    /// tensors that the dispatch wrote.
    Output(u32),
    /// The leaf's saturation flag is not set, although a value leaves its range in the computation of the word at this
    /// place.
    Saturates(WordPlace),
    /// The leaf's saturation flag is set, although no value leaves its range in the dispatch.
    Sound,
}

/// A move in a dispute game. The kind of the move determines who may make it (see [`Role`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Move {
    /// Made by anybody, for the miner's side: reveals up to 16 nodes of a Merkle tree, by their hashes. The nodes lie
    /// [`OPENED_LEVELS`](super::tree::OPENED_LEVELS) levels below the disputed node, which is the node on whose hash
    /// the two sides disagree.
    Open(Vec<Hash>),
    /// Made by the challenger: states the index of the first revealed node with which the challenger disagrees.
    Pick(u32),
    /// Made by anybody, for the miner's side: reveals the first trace leaf on which the two sides disagree, the
    /// dispatch to which this leaf belongs, and the preceding leaf of the trace.
    Leaf {
        /// The first trace leaf on which the two sides disagree.
        leaf: TraceLeaf,
        /// The dispatch to whose outputs the leaf commits.
        entry: Box<DispatchEntry>,
        /// Merkle path from the dispatch to the program root.
        path: Path,
        /// The preceding leaf of the trace and its Merkle path to the trace root; `None` if the revealed leaf is the
        /// first one of the trace.
        before: Option<(TraceLeaf, Path)>,
    },
    /// Made by the challenger: states what is wrong with the revealed leaf of the trace.
    Challenge(LeafChallenge),
    /// Made by anybody, for the miner's side: reveals the words of the disputed tile (up to 256 words of a tensor), as
    /// little-endian bytes.
    Tile(#[serde(with = "serde_bytes")] Vec<u8>),
    /// Made by the challenger: states the index, in the revealed tile, of the first word with which the challenger
    /// disagrees.
    Word(u32),
    /// Made by the account that gave the answer: states the place of an output word in whose computation a value leaves
    /// its range.
    Witness(WordPlace),
    /// Made by the account that gave the answer: commits to the result of the word program that computes the disputed
    /// word, and to the word program's scratch tensor (the intermediate values) after each step before the last.
    WordProgram {
        /// Root of the word program's Merkle tree, which has one leaf for each step. The last leaf is the hash of the
        /// result. The leaf of any earlier step commits to the scratch tensor (the intermediate values) after that
        /// step.
        root: Hash,
        /// The value of the disputed word, which the word program computes.
        word: u32,
        /// Whether a value leaves its range in the computation of the word.
        saturated: bool,
        /// Merkle path from the last leaf (the result) to `root`.
        path: Path,
    },
    /// Made by anybody: reveals the words that the disputed step reads, with the hashes that prove that both sides
    /// agree on these words.
    Proof(Box<Proof>),
}

/// Who may make a move of a given kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Anybody. The move must match a hash to which the answer has committed. Only one move matches, so it does not
    /// matter who makes it.
    Anybody,
    /// The account that gave the answer.
    Answerer,
    /// The account that disputes the claimed outcome of the task.
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
