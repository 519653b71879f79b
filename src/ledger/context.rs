//! Types that all message handlers share: the [`Context`] of the transaction, which they take, and the [`Refusal`] that
//! they return on failure.

use super::Event;
use crate::{
    dispute::judge::DisputeError,
    tx::{TxError, code},
};

/// Error returned when the ledger does not execute a transaction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("code {code}: {log}")]
pub struct Refusal {
    /// The error code, one of [`code`].
    pub code: u32,
    /// Reason of the refusal, in words.
    pub log: String,
}

impl Refusal {
    pub(super) fn new(code: u32, log: impl Into<String>) -> Self {
        Self { code, log: log.into() }
    }

    pub(super) fn rejected(log: impl Into<String>) -> Self {
        Self::new(code::REJECTED, log)
    }

    pub(super) fn not_found(log: impl Into<String>) -> Self {
        Self::new(code::NOT_FOUND, log)
    }
}

impl From<TxError> for Refusal {
    fn from(error: TxError) -> Self {
        let code = match error {
            TxError::Signature(_) | TxError::Submission(_) | TxError::Signer { .. } | TxError::Ungrantable(_) => {
                code::UNAUTHORIZED
            }
            _ => code::MALFORMED,
        };
        Self { code, log: error.to_string() }
    }
}

impl From<DisputeError> for Refusal {
    fn from(error: DisputeError) -> Self {
        Self::rejected(error.to_string())
    }
}

/// The transaction to which a message belongs.
pub(super) struct Context<'a> {
    /// Hash of the transaction, in upper-case hexadecimal.
    pub(super) hash: &'a str,
    /// Events of the transaction's messages so far.
    pub(super) events: Vec<Event>,
}
