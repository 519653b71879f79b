//! The agents of the R3MES network, independent of the program that runs them. A miner computes gradients. An operator,
//! who has a stake, recomputes the gradients for which it is sampled, aggregates rounds, and disputes wrong gradients.
//! All of them use the same routes of a node.

mod challenger;
pub mod driver;
pub mod miner;
mod operator;
mod proposer;
mod registration;
mod verifier;

pub use challenger::{Action, Challenger};
pub use operator::{CompletedDuty, Operator};
pub use proposer::Proposer;
pub use registration::{register, unregister};
pub use verifier::{Recomputation, Verifier};

use crate::{
    client::{Classify, ClientError, ErrorClass, FetchError},
    dispute::judge::DisputeError,
    error::Error,
    protocol::ProtocolError,
    store::StoreError,
    training::worker::WorkerError,
};

/// Error returned when a duty could not be done. The duty remains due.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RoleError {
    /// A request to the node failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The backend failed, or the task belongs to another job than the worker.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// A task, an adapter or an artifact is malformed.
    #[error(transparent)]
    Work(#[from] ProtocolError),
    /// Blocks could not be fetched.
    #[error(transparent)]
    Blocks(#[from] FetchError),
    /// A game, or the subject of a dispute, is malformed.
    #[error(transparent)]
    Dispute(#[from] DisputeError),
    /// The optimizer state is malformed.
    #[error(transparent)]
    Optimizer(#[from] Error),
}

impl Classify for RoleError {
    fn class(&self) -> ErrorClass {
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
