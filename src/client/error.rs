//! Errors of requests to a node, and the classes that tell a caller how to react to them.

use super::NoResponse;
use crate::{
    store::{Cid, StoreError},
    tx::{TxError, code},
};

/// Error returned when a request to a node failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No complete response arrived from the node.
    #[error(transparent)]
    NoResponse(#[from] NoResponse),
    /// The node responded with an HTTP status other than 200 to 299.
    #[error("the node responded with status {status}: {message}")]
    Refused {
        /// The HTTP status code.
        status: u16,
        /// The body of the response, cut off after 500 characters.
        message: String,
    },
    /// The ledger refused the transaction, or executed it with an error.
    #[error("transaction {hash} failed with code {code}: {log}")]
    Failed {
        /// Hash that identifies the transaction.
        hash: String,
        /// The ledger's error code, which is never 0.
        code: u32,
        /// The ledger's error message.
        log: String,
    },
    /// The node accepted the transaction with this hash, but no block contained it within ten minutes.
    #[error("the node accepted transaction {0}, but no block contained it within ten minutes")]
    Lost(String),
    /// The chain has produced no block for 30 seconds or more.
    #[error("the chain has produced no block for {seconds} s; its last block has the height {height}")]
    Halted {
        /// Height of the latest block.
        height: u64,
        /// The time for which the height has stayed the same, in seconds.
        seconds: u32,
    },
    /// The node accepted an IPFS block but did not return its bytes afterwards.
    #[error("the node accepted block {cid} but does not return it: {reason}")]
    BlockLost {
        /// CID of the block.
        cid: Box<Cid>,
        /// The status and the message of the node's error response, or how the returned bytes differ from the block.
        reason: String,
    },
    /// The node does not have the route with this path, because its program is not r3mes-wgpu or is an older version.
    #[error("the node has no route {0}; connect to a node that runs a current version of r3mes-wgpu")]
    Unsupported(String),
    /// The node's response does not have the expected form.
    #[error("the node's response to {path} is invalid: {reason}")]
    InvalidResponse {
        /// Path of the request.
        path: String,
        /// What is wrong with the response.
        reason: String,
    },
    /// An IPFS block does not match its CID or exceeds the size limit, or no source has it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The transaction could not be built or signed.
    #[error(transparent)]
    Chain(#[from] TxError),
}

/// How a caller should react to an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The caller should try again: the same request may succeed later, or with another node.
    Retryable,
    /// The caller should switch to another node: the same request may succeed there, but not with this node.
    Failover,
    /// The caller should give up: every node would refuse the request, or this program has a defect.
    Fatal,
}

/// An error with an [`ErrorClass`], which tells a caller how to react.
pub trait Classify {
    /// Returns the class of this error: whether to retry, to switch to another node, or to give up.
    fn class(&self) -> ErrorClass;

    /// Returns whether the class is [`ErrorClass::Retryable`].
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
    /// Returns whether a block could not be fetched because a source did not have it or did not respond. The block may
    /// become available later.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Store(StoreError::Missing(_)) | Self::NoResponse(_))
    }
}
