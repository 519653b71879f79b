//! Why a move, an answer or a recomputation is refused.

use crate::{error::Error, protocol::WorkError, store::StoreError};

/// What is wrong; a refused move changes nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DisputeError {
    /// A move of the other side, or none that this phase asks for.
    #[error("{found} was moved where {expected} is to be moved")]
    Turn {
        /// What may be moved.
        expected: &'static str,
        /// What was.
        found: &'static str,
    },
    /// The game is over.
    #[error("the game is over")]
    Over,
    /// After the deadline.
    #[error("block {height} is after the deadline, {deadline}")]
    Late {
        /// Of the move.
        height: u64,
        /// Last block of the turn.
        deadline: u64,
    },
    /// A move of more bytes than one may have.
    #[error("a move of {bytes} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// What is shown is not what was committed to.
    #[error("{0} is not what the root names")]
    Root(&'static str),
    /// A number that names nothing.
    #[error("{what} {value} is not below {limit}")]
    Range {
        /// The thing numbered.
        what: &'static str,
        /// The number.
        value: u64,
        /// How many there are.
        limit: u64,
    },
    /// Words that a step needs and that are not shown.
    #[error(transparent)]
    WordFault(#[from] super::word_program::WordFault),
    /// A kernel without a tape.
    #[error("no kernel is named {0:?}")]
    Kernel(String),
    /// Bytes that are no move.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The task's material is not of its form.
    #[error(transparent)]
    Work(#[from] WorkError),
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] Error),
}

/// `value` below `limit`, or the error that says so.
pub(in crate::dispute) fn below(what: &'static str, value: u64, limit: usize) -> Result<usize, DisputeError> {
    let limit = limit as u64;
    if value < limit { Ok(value as usize) } else { Err(DisputeError::Range { what, value, limit }) }
}
