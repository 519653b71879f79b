//! Stores elsewhere: where an artifact goes beside its node, so that anyone on IPFS finds it.
//!
//! Every CID is computed here; what a store answers is compared with it, and asked for again before it counts as kept.

mod kubo;
mod pinning;
#[cfg(test)]
mod tests;

pub use kubo::Kubo;
pub use pinning::Pinning;

use crate::{
    client::{ClientError, Host},
    store::{Cid, Dag, StoreError},
};

/// Most letters of a store's own words that are passed on.
const MAX_WORDS: usize = 300;

/// A store that did not keep what it was given. Nothing is submitted then; trying again later is no harm.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{store} {failure}")]
pub struct Unstored {
    /// Its URL.
    pub store: String,
    /// What it did.
    pub failure: Box<Failure>,
}

/// What a store did instead of keeping a block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// Nobody there.
    #[error("does not answer: {0}")]
    Offline(String),
    /// It says no.
    #[error("answers {status}: {message}")]
    Refused {
        /// As HTTP has it.
        status: u16,
        /// As the store puts it.
        message: String,
    },
    /// It names something else than it was given.
    #[error("names {found} what is {expected}")]
    OtherCid {
        /// Computed here.
        expected: Cid,
        /// Its answer.
        found: String,
    },
    /// It took a block, and does not give it back.
    #[error("took {cid} and does not give it back: {reason}")]
    BlockLost {
        /// The block.
        cid: Cid,
        /// What came instead.
        reason: String,
    },
    /// It has not pinned what it was asked to, or never will.
    #[error("has not pinned {cid}: it is {status}")]
    NotPinned {
        /// The root.
        cid: Cid,
        /// In the service's words.
        status: String,
    },
    /// An answer that makes no sense.
    #[error("gives an answer that makes no sense: {0}")]
    InvalidResponse(String),
    /// Blocks that can not be listed.
    #[error("can not be given these blocks: {0}")]
    Blocks(#[from] StoreError),
}

impl Failure {
    /// A failed request, seen from here.
    fn of(error: ClientError) -> Self {
        match error {
            ClientError::Offline(offline) => Self::Offline(offline.0),
            ClientError::Refused { status, message } => Self::Refused { status, message: words(&message) },
            other => Self::InvalidResponse(other.to_string()),
        }
    }
}

/// All stores that an artifact must be in before it is submitted.
pub struct Stores<H> {
    kubos: Vec<Kubo<H>>,
    service: Option<Pinning<H>>,
}

impl<H> Default for Stores<H> {
    /// None.
    fn default() -> Self {
        Self { kubos: Vec::new(), service: None }
    }
}

impl<H: Host> Stores<H> {
    /// Kubos, each of which gets every artifact, and a service that is asked to pin it too, from the first of them.
    pub fn new(kubos: Vec<Kubo<H>>, service: Option<Pinning<H>>) -> Self {
        Self { kubos, service }
    }

    /// Puts all blocks of a DAG into every store.
    pub async fn put(&self, dag: &Dag) -> Result<(), Unstored> {
        for kubo in &self.kubos {
            kubo.put(dag)
                .await
                .map_err(|failure| Unstored { store: kubo.url().to_owned(), failure: failure.into() })?;
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
            pin().await.map_err(|failure| Unstored { store: service.url().to_owned(), failure: failure.into() })?;
        }
        Ok(())
    }
}

/// What a store says, without control characters and not at any length.
fn words(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(MAX_WORDS).collect()
}

fn parse<T: serde::de::DeserializeOwned>(answer: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(answer).map_err(|error| Failure::InvalidResponse(error.to_string()))
}
