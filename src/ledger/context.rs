//! Types that all handlers of messages share. A handler receives the [`Context`] of the transaction that contains the
//! message. If it fails, it returns a [`Refusal`].

use super::Event;
use crate::{
    dispute::judge::DisputeError,
    tx::{TxError, code},
};

/// Error returned when the ledger refuses a transaction or one of its messages.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("code {code}: {log}")]
pub struct Refusal {
    /// The error code, one of the constants in [`code`].
    pub code: u32,
    /// The reason for the refusal, as text for the user.
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
            TxError::Signature(_)
            | TxError::Submission(_)
            | TxError::Signer { .. }
            | TxError::Ungrantable(_)
            | TxError::Amino(_) => code::UNAUTHORIZED,
            TxError::MemoTooLong(_) => code::MEMO_TOO_LONG,
            TxError::TooManySignatures(_) => code::TOO_MANY_SIGNATURES,
            TxError::TooLarge(_) => code::TOO_LARGE,
            TxError::ExtensionOptions => code::EXTENSION_OPTIONS,
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

/// The transaction that contains the message being executed.
pub(super) struct Context<'a> {
    /// Hash of the transaction, in upper-case hexadecimal.
    pub(super) hash: &'a str,
    /// Address of the session key that sends the message for another account; `None` if the account sends it itself.
    pub(super) session: Option<String>,
    /// The events that the messages of the transaction have caused so far.
    pub(super) events: Vec<Event>,
}
