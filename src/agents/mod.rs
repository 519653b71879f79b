//! The agents of the R3MES network, independent of the program in which they run. A miner computes gradients. An
//! operator, which has a stake, recomputes the gradients for which it is sampled; it may also aggregate rounds and
//! dispute wrong gradients. All agents use the same HTTP routes of a node. An operator uses the network and performs
//! computations only through the traits [`Chain`], [`ContentStore`], [`Recompute`], [`Aggregator`] and [`ReplayTask`].
//! Simulations provide other implementations of these traits, so they can run the same operators.

mod chain;
mod challenger;
mod computation;
pub mod driver;
pub mod miner;
mod operator;
mod proposer;
mod registration;
mod verifier;

pub use chain::{Chain, ContentStore};
pub use challenger::{Action, Challenger};
pub use computation::{Aggregator, DisputeProver, ModelReplay, Recompute, RecomputedGradient, ReplayTask};
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

/// Error returned when an operator could not complete a duty, such as a recomputation. The duty must still be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RoleError {
    /// A request to the node failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The backend failed, or the task belongs to a different job from the one for which the worker was created.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// A task, an adapter or an artifact is malformed.
    #[error(transparent)]
    Work(#[from] ProtocolError),
    /// A block of a task, an adapter or an artifact could not be fetched.
    #[error(transparent)]
    Blocks(#[from] FetchError),
    /// The moves of a dispute, or the facts on which its parties agree, are malformed.
    #[error(transparent)]
    Dispute(#[from] DisputeError),
    /// The optimizer's state, which is stored with the adapter, is malformed.
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
