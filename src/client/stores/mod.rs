//! Stores that a miner can use in addition to the node: Kubo daemons (IPFS servers) and pinning services. Every
//! artifact is stored on each of them, so that everybody on IPFS can find it.
//!
//! This program computes every CID itself and compares it with the CID that a store returns. A daemon counts as having
//! stored an artifact only after the root block and one leaf have been downloaded again.

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

/// The largest number of characters of a store's message that an error quotes. A longer message is cut off.
const MAX_MESSAGE_CHARS: usize = 300;

/// Error returned when a store did not keep an artifact. The miner then does not submit the gradient. A retry may
/// succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the artifact was not stored at {store}: {failure}")]
pub struct StorageError {
    /// URL that identifies the store.
    pub store: String,
    /// How the store failed to keep the artifact.
    pub failure: Box<StorageFailure>,
}

/// How a store failed to keep blocks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StorageFailure {
    /// No complete response arrived from the store. The text consists of the URL and the reason.
    #[error("the store does not respond: {reason}", reason = .0)]
    NoResponse(String),
    /// The store responded with an HTTP status that is not a success.
    #[error("the store responded with status {status}: {message}")]
    Refused {
        /// The HTTP status code.
        status: u16,
        /// The store's error message, cut off after 300 characters.
        message: String,
    },
    /// The store returned a CID that differs from the CID of the block that it should store or pin.
    #[error("the store returned the CID {found} instead of {expected}")]
    OtherCid {
        /// CID of the block, as computed by this program.
        expected: Cid,
        /// The different CID in the store's response, as text.
        found: String,
    },
    /// The store accepted a block but did not return its bytes afterwards.
    #[error("the store accepted block {cid} but does not return it: {reason}")]
    BlockLost {
        /// CID of the block that the store lost.
        cid: Cid,
        /// The status and the message of the store's error response, or how the returned bytes differ from the block.
        reason: String,
    },
    /// The pinning service refused to pin the blocks, or had not pinned them after one minute.
    #[error("the pinning service has not pinned {cid}: the status of the pin is {status}")]
    NotPinned {
        /// CID of the block that the service was asked to pin, together with all blocks to which it links, directly or
        /// indirectly.
        cid: Cid,
        /// Status of the pin, as reported by the service.
        status: String,
    },
    /// The store's response does not have the expected form.
    #[error("the store returned an invalid response: {reason}", reason = .0)]
    InvalidResponse(String),
    /// The pin list (a block that links to all blocks to keep) could not be built.
    #[error("the pin list (a block with links to all blocks to keep) could not be built: {reason}", reason = .0)]
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

/// The additional stores that must have an artifact before the miner submits the gradient.
pub struct Stores<H> {
    kubos: Vec<Kubo<H>>,
    service: Option<PinningService<H>>,
}

impl<H> Default for Stores<H> {
    /// Returns an empty set of stores. Storing an artifact in it does nothing and always succeeds.
    fn default() -> Self {
        Self { kubos: Vec::new(), service: None }
    }
}

impl<H: Connection + Timer> Stores<H> {
    /// Creates a set of stores. Every artifact is uploaded to all Kubo daemons in `kubos`. The pinning service, if
    /// given, is asked to fetch it from the first of these daemons.
    pub fn new(kubos: Vec<Kubo<H>>, service: Option<PinningService<H>>) -> Self {
        Self { kubos, service }
    }

    /// Stores all blocks of a DAG in every store. If one store fails, returns its error and skips the remaining stores.
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

/// Returns a store's message without its control characters, cut off after [`MAX_MESSAGE_CHARS`] characters.
fn printable(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(MAX_MESSAGE_CHARS).collect()
}

fn parse<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, StorageFailure> {
    serde_json::from_slice(body).map_err(|error| StorageFailure::InvalidResponse(error.to_string()))
}
