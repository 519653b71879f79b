//! Stores beside the node: IPFS daemons and pinning services that get an artifact, so that everybody on IPFS can find
//! it.
//!
//! Every CID is computed here. A store's CIDs are compared with them, and blocks are read back before they count as
//! stored.

mod kubo;
mod pinning;
#[cfg(test)]
mod tests;

pub use kubo::Kubo;
pub use pinning::PinningService;

use crate::{
    client::{BlockStore, ClientError, Connection, Timer},
    store::{Cid, Dag, StoreError},
};

/// The largest number of characters of a store's message that are passed on.
const MAX_MESSAGE_CHARS: usize = 300;

/// Error returned when a store did not keep an artifact. Nothing is submitted then, and a retry may succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{store} {failure}")]
pub struct StorageError {
    /// URL of the store.
    pub store: String,
    /// What the store did instead.
    pub failure: Box<StorageFailure>,
}

/// What a store did instead of keeping a block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StorageFailure {
    /// It did not respond.
    #[error("does not respond: {0}")]
    NoResponse(String),
    /// It responded with an error status.
    #[error("responded with status {status}: {message}")]
    Refused {
        /// The HTTP status code.
        status: u16,
        /// The store's message.
        message: String,
    },
    /// It returned another CID than that of the block.
    #[error("returned the CID {found} instead of {expected}")]
    OtherCid {
        /// The CID computed here.
        expected: Cid,
        /// The CID that the store returned.
        found: String,
    },
    /// It does not return a block that it had accepted.
    #[error("accepted block {cid} but does not return it: {reason}")]
    BlockLost {
        /// CID of the block.
        cid: Cid,
        /// What the store returned instead.
        reason: String,
    },
    /// It has not pinned the root, or has refused to.
    #[error("has not pinned {cid}: the status is {status}")]
    NotPinned {
        /// CID of the root.
        cid: Cid,
        /// The status that the service reports.
        status: String,
    },
    /// A response is malformed.
    #[error("returned an invalid response: {0}")]
    InvalidResponse(String),
    /// The blocks cannot be listed for a pin.
    #[error("cannot store these blocks: {0}")]
    Blocks(#[from] StoreError),
}

impl From<ClientError> for StorageFailure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::NoResponse(error) => Self::NoResponse(error.0),
            ClientError::Refused { status, message } => Self::Refused { status, message: printable(&message) },
            other => Self::InvalidResponse(other.to_string()),
        }
    }
}

/// The stores that must hold an artifact before it is submitted.
pub struct Stores<H> {
    kubos: Vec<Kubo<H>>,
    service: Option<PinningService<H>>,
}

impl<H> Default for Stores<H> {
    /// No stores.
    fn default() -> Self {
        Self { kubos: Vec::new(), service: None }
    }
}

impl<H: Connection + Timer> Stores<H> {
    /// Creates the set of these Kubo daemons, each of which gets every artifact, and of a service that pins it too,
    /// from the first daemon.
    pub fn new(kubos: Vec<Kubo<H>>, service: Option<PinningService<H>>) -> Self {
        Self { kubos, service }
    }

    /// Stores all blocks of a DAG in every store.
    pub async fn put(&self, dag: &Dag) -> Result<(), StorageError> {
        for kubo in &self.kubos {
            kubo.put_dag(dag)
                .await
                .map_err(|failure| StorageError { store: kubo.url().to_owned(), failure: failure.into() })?;
        }
        if let Some(service) = &self.service {
            let pin = async || {
                let origins = match self.kubos.first() {
                    Some(kubo) => kubo.addresses().await?,
                    None => Vec::new(),
                };
                let pin_list = dag.pin_list()?.cid();
                service.pin(&pin_list, &format!("R3MES artifact {}", dag.root), &origins).await
            };
            pin().await.map_err(|failure| StorageError { store: service.url().to_owned(), failure: failure.into() })?;
        }
        Ok(())
    }
}

/// Returns a store's message without control characters, shortened to [`MAX_MESSAGE_CHARS`].
fn printable(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(MAX_MESSAGE_CHARS).collect()
}

fn parse<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, StorageFailure> {
    serde_json::from_slice(body).map_err(|error| StorageFailure::InvalidResponse(error.to_string()))
}
