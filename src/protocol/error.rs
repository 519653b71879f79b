//! The errors of invalid tasks, chunks, artifacts, adapters and receipts. An error names the invalid value and the rule
//! or the limits that the value breaks.

use crate::store::StoreError;

/// The reason why a task, chunk, artifact, adapter or receipt is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A data block of the refused object is missing or invalid.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A number is outside its range.
    #[error("{what} is {value}, but must be in {min}..={max}")]
    Range {
        /// Name of the number, such as `rank`.
        what: &'static str,
        /// The number that is out of range.
        value: i64,
        /// The smallest allowed value.
        min: i64,
        /// The largest allowed value.
        max: i64,
    },
    /// A matrix, an address or another object with a name is invalid, or its name is invalid.
    #[error("the {what} {name:?} {problem}")]
    Name {
        /// The kind of the named object, such as `matrix` or `miner address`.
        what: &'static str,
        /// The name, truncated if it is too long.
        name: String,
        /// What is wrong with the object or its name, such as `occurs twice`.
        problem: &'static str,
    },
    /// The matrix at some index does not have the name, shape and exponent that the job requires at this index.
    #[error("the matrix at index {at} is {found}, but the job requires {expected}")]
    Matrix {
        /// Index of the matrix in canonical order.
        at: usize,
        /// Name, shape and exponent of the matrix that the job requires.
        expected: String,
        /// Name, shape and exponent of the matrix that was given.
        found: String,
    },
    /// The artifact belongs to a task other than the expected one.
    #[error("the artifact belongs to task {found}, not to task {expected}")]
    OtherTask {
        /// CID of the expected task.
        expected: crate::store::Cid,
        /// CID of the task in the artifact's manifest.
        found: Box<crate::store::Cid>,
    },
    /// The artifact contains a different gradient from the one to which the miner committed.
    #[error("the artifact does not match the commitment in the submission")]
    OtherGradient,
    /// The shift (the number of low bits that rounding drops) that an artifact states for a matrix is too large.
    /// Rounding always uses the smallest shift with which all values fit into the transport format. Either a smaller
    /// shift would have been sufficient for the values of this matrix, or no gradient can be so large that it needs
    /// this shift.
    #[error("matrix {name} states the shift {shift}, but rounding to values of magnitude {max} never uses this shift")]
    Shift {
        /// Name of the matrix with the impossible shift.
        name: String,
        /// The largest magnitude among the values of the matrix.
        max: u64,
        /// The shift that the artifact states for the matrix.
        shift: u32,
    },
}

/// Returns an error unless `value` is in `min..=max`. `what` is the name of the value in the error message.
pub(crate) fn in_range(what: &'static str, value: i64, min: i64, max: i64) -> Result<(), ProtocolError> {
    if (min..=max).contains(&value) { Ok(()) } else { Err(ProtocolError::Range { what, value, min, max }) }
}

/// Returns an error unless `name` consists of 1 to `max` printable ASCII characters, none of them a space. `what` is
/// the kind of the object that has the name, such as `miner address`. The error states this kind.
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
