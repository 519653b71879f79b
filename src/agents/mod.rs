//! What nodes with a stake do: recompute what they are drawn for, add up rounds, and dispute what is wrong. Wherever the
//! program runs, over the same wire as miners.

mod challenger;
pub mod miner;
mod proposer;
mod registration;
mod verifier;

pub use challenger::{Action, Challenger};
pub use proposer::Proposer;
pub use registration::{leave, register};
pub use verifier::{Found, Verifier};

use crate::{
    client::{ClientError, ErrorClass, FetchError},
    dispute::judge::DisputeError,
    error::Error,
    protocol::WorkError,
    store::StoreError,
    training::worker::WorkerError,
};

/// Why a duty was not done. It stays where it was, so it is done the next time.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RoleError {
    /// The node.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The backend.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// A task, an adapter or an artifact is malformed.
    #[error(transparent)]
    Work(#[from] WorkError),
    /// Blocks could not be had.
    #[error(transparent)]
    Blocks(#[from] FetchError),
    /// A game, or what it is about, is none.
    #[error(transparent)]
    Dispute(#[from] DisputeError),
    /// The optimizer's state is none.
    #[error(transparent)]
    Optimizer(#[from] Error),
}

impl RoleError {
    /// As [`ClientError::class`].
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Client(error) => error.class(),
            Self::Blocks(error) => error.class(),
            _ => ErrorClass::Fatal,
        }
    }
}

impl From<StoreError> for RoleError {
    fn from(error: StoreError) -> Self {
        Self::Work(error.into())
    }
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}
