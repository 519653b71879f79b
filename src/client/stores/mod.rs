//! Stores in addition to the node: IPFS daemons and pinning services that receive each artifact, so that everybody on
//! IPFS can find it.
//!
//! Every CID is computed by this program and compared with the CID that a store returns. Blocks are read back before
//! they count as stored.

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

/// The largest number of characters of a store's message that an error contains.
const MAX_MESSAGE_CHARS: usize = 300;

/// Error returned when a store did not keep an artifact. The gradient is then not submitted. A retry may succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{store} {failure}")]
pub struct StorageError {
    /// URL of the store.
    pub store: String,
    /// What the store did instead of keeping the artifact.
    pub failure: Box<StorageFailure>,
}

/// What a store did instead of keeping a block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StorageFailure {
    /// The store did not respond. Contains the URL and the reason.
    #[error("does not respond: {0}")]
    NoResponse(String),
    /// The store responded with an error status.
    #[error("responded with status {status}: {message}")]
    Refused {
        /// The HTTP status code.
        status: u16,
        /// The store's message, at most 300 characters.
        message: String,
    },
    /// The store returned a different CID than the block's.
    #[error("returned the CID {found} instead of {expected}")]
    OtherCid {
        /// The CID that this program computed.
        expected: Cid,
        /// The CID in the store's response.
        found: String,
    },
    /// The store accepted a block but does not return it.
    #[error("accepted block {cid} but does not return it: {reason}")]
    BlockLost {
        /// CID of the block.
        cid: Cid,
        /// What the store returned instead.
        reason: String,
    },
    /// The service has not pinned the root in time, or has refused to.
    #[error("has not pinned {cid}: the status is {status}")]
    NotPinned {
        /// CID of the root that should be pinned.
        cid: Cid,
        /// The pin's status, as the service reports it.
        status: String,
    },
    /// The store's response is malformed.
    #[error("returned an invalid response: {0}")]
    InvalidResponse(String),
    /// The pin list of the blocks could not be built.
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
    /// Creates an empty set of stores.
    fn default() -> Self {
        Self { kubos: Vec::new(), service: None }
    }
}

impl<H: Connection + Timer> Stores<H> {
    /// Creates a set of stores. Every Kubo daemon in `kubos` receives every artifact. The pinning service, if given,
    /// fetches it from the first daemon.
    pub fn new(kubos: Vec<Kubo<H>>, service: Option<PinningService<H>>) -> Self {
        Self { kubos, service }
    }

    /// Stores all blocks of a DAG in every store. Stops at the first store that fails.
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
