//! What the two sides say to each other, as canonical DAG-CBOR.

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

/// Most bytes of a move, a proof included.
pub const MAX_MOVE_BYTES: usize = 1 << 16;

/// What the challenger doubts of a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LeafChallenge {
    /// The tensor that it left in a slot.
    Output(u32),
    /// That nothing saturated: this word does.
    Saturates(WordPlace),
    /// That anything saturated.
    Sound,
}

/// A move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Move {
    /// The miner's side: the nodes some levels below the one in doubt.
    Open(Vec<Hash>),
    /// The challenger: the first of them that it disagrees with.
    Pick(u32),
    /// The miner's side: the leaf of the trace that was picked, its dispatch, and the leaf before.
    Leaf {
        /// What the dispatch left.
        leaf: TraceLeaf,
        /// The dispatch.
        entry: Box<DispatchEntry>,
        /// To the program's root.
        path: Path,
        /// The leaf before, and its path to the trace's root; none for the first.
        before: Option<(TraceLeaf, Path)>,
    },
    /// The challenger: what is wrong with it.
    LeafChallenge(LeafChallenge),
    /// The miner's side: the words of the tile that was picked.
    Tile(#[serde(with = "serde_bytes")] Vec<u8>),
    /// The challenger: the first word of it that it disagrees with.
    Word(u32),
    /// The answerer: a word that saturates.
    Witness(WordPlace),
    /// The answerer: the scratch tensors that the steps towards the word leave, and the word.
    WordProgram {
        /// Root over them and the answer.
        root: Hash,
        /// The answer.
        word: u32,
        /// Whether it left its range.
        saturated: bool,
        /// From the answer to the root.
        path: Path,
    },
    /// Anybody: what the step in doubt reads.
    Proof(Box<Proof>),
}

/// Who may make a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Whoever can: only one move fits what was committed to.
    Anybody,
    /// Who gave the answer that the game is about, and stands for it.
    Answerer,
    /// Who doubts it.
    Challenger,
}

impl Move {
    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        dag_cbor::encode(FORMAT, self)
    }

    /// Reads canonical bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DisputeError> {
        match bytes.len() {
            0..=MAX_MOVE_BYTES => Ok(dag_cbor::decode(FORMAT, bytes)?),
            bytes => Err(DisputeError::TooLarge { bytes, limit: MAX_MOVE_BYTES }),
        }
    }

    /// Who may make it.
    pub fn role(&self) -> Role {
        match self {
            Self::Open(_) | Self::Leaf { .. } | Self::Tile(_) | Self::Proof(_) => Role::Anybody,
            Self::Witness(_) | Self::WordProgram { .. } => Role::Answerer,
            Self::Pick(_) | Self::LeafChallenge(_) | Self::Word(_) => Role::Challenger,
        }
    }

    /// Its name, for errors.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Open(_) => "an opening",
            Self::Pick(_) => "a pick",
            Self::Leaf { .. } => "a leaf",
            Self::LeafChallenge(_) => "a doubt",
            Self::Tile(_) => "a tile",
            Self::Word(_) => "a word",
            Self::Witness(_) => "a witness",
            Self::WordProgram { .. } => "a word_program",
            Self::Proof(_) => "a proof",
        }
    }
}
