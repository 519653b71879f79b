//! Errors of a client, and how a caller should react to each.

use super::NoResponse;
use crate::{
    store::{Cid, StoreError},
    tx::{TxError, code},
};

/// Error returned when a request to a node failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The node did not respond.
    #[error(transparent)]
    NoResponse(#[from] NoResponse),
    /// The node responded with an error status.
    #[error("the node responded with status {status}: {message}")]
    Refused {
        /// The HTTP status code.
        status: u16,
        /// The node's message, at most 500 characters.
        message: String,
    },
    /// The transaction was executed and failed.
    #[error("transaction {hash} failed with code {code}: {log}")]
    Failed {
        /// Hash of the transaction.
        hash: String,
        /// The ledger's error code, not 0.
        code: u32,
        /// The ledger's message.
        log: String,
    },
    /// The node accepted a transaction, but no block contained it within ten minutes.
    #[error("transaction {0} is in no block after ten minutes")]
    Lost(String),
    /// The chain has stopped producing blocks.
    #[error("the node has produced no block for {seconds} s (height {height})")]
    Halted {
        /// Height of the last block.
        height: u64,
        /// For how long the height has stayed the same, in seconds.
        seconds: u32,
    },
    /// The node accepted a block but does not return it.
    #[error("the node accepted block {cid} but does not return it: {reason}")]
    BlockLost {
        /// CID of the block.
        cid: Box<Cid>,
        /// What the node returned instead.
        reason: String,
    },
    /// The node lacks this route, because it is another chain's node or runs an older version.
    #[error("the node has no route {0}; use an r3mes-wgpu node, because the chain's own nodes may lack it")]
    Unsupported(String),
    /// A response is malformed.
    #[error("the node's response to {path} is invalid: {reason}")]
    InvalidResponse {
        /// Path of the request.
        path: String,
        /// What is wrong with the response.
        reason: String,
    },
    /// A block does not match its CID, exceeds the size limit, or is missing.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The transaction could not be built or signed.
    #[error(transparent)]
    Chain(#[from] TxError),
}

/// What a caller does after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The same request may succeed later, or with another node.
    Retryable,
    /// Another node may succeed; this one will not.
    Failover,
    /// No retry can help: the chain itself refuses, or this program has a defect.
    Fatal,
}

/// An error that belongs to an [`ErrorClass`].
pub trait Classify {
    /// Returns the class of this error, which decides how a caller reacts.
    fn class(&self) -> ErrorClass;

    /// Whether the same request may succeed later or with another node.
    fn is_retryable(&self) -> bool {
        self.class() == ErrorClass::Retryable
    }
}

impl Classify for ClientError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::NoResponse(_) | Self::Halted { .. } | Self::Lost(_) | Self::BlockLost { .. } => ErrorClass::Retryable,
            Self::Refused { status: 429 | 502..=504, .. } => ErrorClass::Retryable,
            Self::Failed { code: code::MEMPOOL_FULL | code::WRONG_SEQUENCE, .. } => ErrorClass::Retryable,
            Self::Refused { .. } | Self::InvalidResponse { .. } | Self::Unsupported(_) | Self::Store(_) => {
                ErrorClass::Failover
            }
            Self::Failed { .. } | Self::Chain(_) => ErrorClass::Fatal,
        }
    }
}

impl ClientError {
    /// Whether a source of blocks lacked the block or did not respond. The block may become available later.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Store(StoreError::Missing(_)) | Self::NoResponse(_))
    }
}
