//! What can be wrong with the things of this floor, with the thing and the limit named.

use crate::store::StoreError;

/// Why a task, chunk, artifact, adapter or receipt is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WorkError {
    /// Its blocks are wrong.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A number outside its range.
    #[error("{what} is {value}, not in {min}..={max}")]
    Range {
        /// The thing measured.
        what: &'static str,
        /// Its value.
        value: i64,
        /// Smallest allowed.
        min: i64,
        /// Largest allowed.
        max: i64,
    },
    /// A name with characters or a form that is not allowed.
    #[error("{what} {name:?} {problem}")]
    Name {
        /// The thing named.
        what: &'static str,
        /// The name.
        name: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// A matrix that is not the one that the job demands at this place.
    #[error("matrix {at} is {found}, the job demands {expected}")]
    Matrix {
        /// Its place in canonical order.
        at: usize,
        /// As the job says.
        expected: String,
        /// As given.
        found: String,
    },
    /// An artifact made for another task.
    #[error("the artifact is for task {found}, not {expected}")]
    OtherTask {
        /// The task asked about.
        expected: crate::store::Cid,
        /// The task named inside.
        found: Box<crate::store::Cid>,
    },
    /// A transport matrix that the rounding rule cannot have produced.
    #[error("matrix {name}: largest value {max} and shift {shift} do not belong together")]
    Shift {
        /// The matrix.
        name: String,
        /// Its largest magnitude.
        max: u64,
        /// Its shift.
        shift: u32,
    },
}

/// `value` within `min..=max`, or the error that says so.
pub(crate) fn in_range(what: &'static str, value: i64, min: i64, max: i64) -> Result<(), WorkError> {
    if (min..=max).contains(&value) { Ok(()) } else { Err(WorkError::Range { what, value, min, max }) }
}

/// Printable ASCII without spaces, 1 to `max` bytes.
pub(crate) fn plain_name(what: &'static str, name: &str, max: usize) -> Result<(), WorkError> {
    let problem = if name.is_empty() || name.len() > max {
        "has a length that is not allowed"
    } else if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        "holds characters other than printable ASCII"
    } else {
        return Ok(());
    };
    let shown = name.chars().take(max).collect();
    Err(WorkError::Name { what, name: shown, problem })
}
