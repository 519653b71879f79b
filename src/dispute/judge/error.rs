//! The error type of disputes.

use crate::{error::Error, protocol::ProtocolError, store::StoreError};

/// Error returned when a move or an answer is refused, or when a task cannot be computed again. A refused move changes
/// nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DisputeError {
    /// The game expects another kind of move in its current phase.
    #[error("the next move in this dispute must be {expected}, but the move that was made is {found}")]
    Turn {
        /// The expected kind of move.
        expected: &'static str,
        /// The kind of the move that was made.
        found: &'static str,
    },
    /// A move was made after the game had ended.
    #[error("the game is over")]
    Over,
    /// The move or the answer came after its deadline.
    #[error("the deadline for this move or answer passed {} blocks ago", height - deadline)]
    Late {
        /// Height of the block that contains the move or the answer.
        height: u64,
        /// Height of the last block in which the move or the answer would have been accepted.
        deadline: u64,
    },
    /// The move or the answer is too large.
    #[error("a move or answer of {bytes} bytes exceeds the limit of {limit} bytes")]
    TooLarge {
        /// Size of the move or the answer in bytes.
        bytes: usize,
        /// The largest size of a move or an answer in bytes.
        limit: usize,
    },
    /// Revealed data does not match the hash that commits to it. The string names the data.
    #[error("{data} does not match the hash that commits to it", data = .0)]
    Root(&'static str),
    /// An index is out of range.
    #[error("the {what} index is {value}, but must be less than {limit}")]
    Range {
        /// What the index refers to, such as `buffer` or `word`.
        what: &'static str,
        /// The index that is out of range.
        value: u64,
        /// Exclusive upper bound of the index.
        limit: u64,
    },
    /// The disputed step reads a word that the proof lacks, or a word in a format that no kernel writes.
    #[error(transparent)]
    WordFault(#[from] super::word_program::WordFault),
    /// There is no word program (division of the computation into provable steps) for a kernel with this name, or the
    /// dispatch does not have as many parameters as the kernel.
    #[error("kernel {0:?} is unknown, or the dispatch has a wrong number of parameters for it")]
    Kernel(String),
    /// The bytes do not encode a move or an answer, or a block of data is invalid.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The task cannot be computed again, because the task or its data is invalid.
    #[error(transparent)]
    Work(#[from] ProtocolError),
    /// The backend failed while it computed the task again.
    #[error(transparent)]
    Backend(#[from] Error),
}

/// Returns the index `value` if it is below `limit`, otherwise [`DisputeError::Range`]. `what` states what the index
/// refers to, such as `buffer`.
pub(in crate::dispute) fn below(what: &'static str, value: u64, limit: usize) -> Result<usize, DisputeError> {
    let limit = limit as u64;
    if value < limit { Ok(value as usize) } else { Err(DisputeError::Range { what, value, limit }) }
}
