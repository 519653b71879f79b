//! What can go wrong, with the thing and the limit named.

/// Every error of the library.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two things that belong together disagree.
    #[error("{what}: expected {expected}, found {found}")]
    Mismatch {
        /// The thing.
        what: &'static str,
        /// What it must be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// Bytes that are not what they should be.
    #[error("{what}: {reason}")]
    Malformed {
        /// What the bytes should be.
        what: &'static str,
        /// What is wrong with them.
        reason: &'static str,
    },
    /// A length differs from what the shape demands.
    #[error("{what}: expected {expected} elements, found {found}")]
    Shape {
        /// The thing measured.
        what: &'static str,
        /// Elements demanded.
        expected: usize,
        /// Elements given.
        found: usize,
    },
    /// A value outside its range.
    #[error("{what} {value} is out of range")]
    Value {
        /// The thing.
        what: &'static str,
        /// Its value.
        value: i64,
    },
    /// A NaN or an infinity where a number must be.
    #[error("{what} holds a value that is not finite")]
    NotFinite {
        /// The thing.
        what: &'static str,
    },
}
