//! The error type of disputes.

use crate::{error::Error, protocol::ProtocolError, store::StoreError};

/// Error returned when a move or an answer is refused, or a task cannot be run again. A refused move changes nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DisputeError {
    /// This phase of the game expects another kind of move.
    #[error("the move is {found}, but the game expects {expected}")]
    Turn {
        /// The expected kind of move.
        expected: &'static str,
        /// The kind of the move that was made.
        found: &'static str,
    },
    /// A move was made after the game had ended.
    #[error("the game is over")]
    Over,
    /// The move or answer came after its deadline.
    #[error("block {height} is after the deadline, {deadline}")]
    Late {
        /// Height of the block with the move or answer.
        height: u64,
        /// Height of the last block in which it would have been accepted.
        deadline: u64,
    },
    /// The move or answer is too large.
    #[error("a move of {bytes} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// Size of the move in bytes.
        bytes: usize,
        /// The most bytes that a move or an answer may have.
        limit: usize,
    },
    /// Revealed data does not match a hash that was committed to. The text names the data.
    #[error("{0} does not match the root that was committed to")]
    Root(&'static str),
    /// An index is out of range.
    #[error("{what} {value} is not below {limit}")]
    Range {
        /// What the index refers to, such as a buffer or a word.
        what: &'static str,
        /// The index that is out of range.
        value: u64,
        /// Exclusive upper bound of the index.
        limit: u64,
    },
    /// The proof lacks a word that the step reads, or contains a word in a format that no kernel writes.
    #[error(transparent)]
    WordFault(#[from] super::word_program::WordFault),
    /// No word program exists for a kernel with this name and this number of params.
    #[error("unknown kernel {0:?}")]
    Kernel(String),
    /// The bytes are not a move, or a block is invalid.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The task that is run again, or its data, is invalid.
    #[error(transparent)]
    Work(#[from] ProtocolError),
    /// The backend on which the task is run again failed.
    #[error(transparent)]
    Backend(#[from] Error),
}

/// Returns `value` if it is below `limit`, otherwise an error.
pub(in crate::dispute) fn below(what: &'static str, value: u64, limit: usize) -> Result<usize, DisputeError> {
    let limit = limit as u64;
    if value < limit { Ok(value as usize) } else { Err(DisputeError::Range { what, value, limit }) }
}
