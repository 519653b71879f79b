//! The errors of tasks, chunks, artifacts, adapters and receipts. Each names the invalid value and the limits it must
//! meet.

use crate::store::StoreError;

/// The reasons for which a task, chunk, artifact, adapter or receipt is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A block of the object is missing or invalid.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A number is outside its range.
    #[error("{what} is {value}, but must be in {min}..={max}")]
    Range {
        /// The quantity that is out of range.
        what: &'static str,
        /// The value that is out of range.
        value: i64,
        /// Smallest allowed value.
        min: i64,
        /// Largest allowed value.
        max: i64,
    },
    /// A name contains characters or has a form that is not allowed.
    #[error("{what} {name:?} {problem}")]
    Name {
        /// What the name belongs to, such as `matrix` or `miner address`.
        what: &'static str,
        /// The invalid name, shortened if it is too long.
        name: String,
        /// The rule that the name breaks.
        problem: &'static str,
    },
    /// A matrix is not the one that the job requires at this position.
    #[error("matrix {at} is {found}, but the job requires {expected}")]
    Matrix {
        /// Index of the matrix in canonical order.
        at: usize,
        /// The matrix that the job requires.
        expected: String,
        /// The matrix that was given.
        found: String,
    },
    /// The artifact belongs to another task.
    #[error("the artifact is for task {found}, not {expected}")]
    OtherTask {
        /// CID of the task that was requested.
        expected: crate::store::Cid,
        /// CID of the task in the artifact's manifest.
        found: Box<crate::store::Cid>,
    },
    /// A transport matrix cannot be the result of rounding a gradient.
    #[error("matrix {name} has the shift {shift} and the largest magnitude {max}, which rounding cannot produce")]
    Shift {
        /// Name of the matrix.
        name: String,
        /// Largest magnitude of the matrix's values.
        max: u64,
        /// Shift of the matrix.
        shift: u32,
    },
}

/// Returns an error unless `value` is in `min..=max`.
pub(crate) fn in_range(what: &'static str, value: i64, min: i64, max: i64) -> Result<(), ProtocolError> {
    if (min..=max).contains(&value) { Ok(()) } else { Err(ProtocolError::Range { what, value, min, max }) }
}

/// Returns an error unless a name consists of 1 to `max` bytes of printable ASCII without spaces.
pub(crate) fn plain_name(what: &'static str, name: &str, max: usize) -> Result<(), ProtocolError> {
    let problem = if name.is_empty() || name.len() > max {
        "is empty or too long"
    } else if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        "contains characters other than printable ASCII without spaces"
    } else {
        return Ok(());
    };
    let shown = name.chars().take(max).collect();
    Err(ProtocolError::Name { what, name: shown, problem })
}
