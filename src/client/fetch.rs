//! The blocks that a task is computed from, and those of its artifact, got from a node.

use super::incoming::Incoming;
use crate::{
    client::{ClientError, ErrorClass, Host, gateway},
    protocol::{AdapterState, Artifact, Task, WorkError},
    store::{Block, Cid, Codec, StoreError},
};
use std::collections::BTreeMap;

/// Most bytes of an adapter with its optimizer's state, or of an artifact: what a manifest from elsewhere may make this
/// program hold.
pub(super) const MAX_DAG_BYTES: usize = 512 << 20;

/// Error returned when the blocks of a task, an adapter or an artifact could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// No source returned the right bytes.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The manifest is malformed.
    #[error(transparent)]
    Manifest(#[from] WorkError),
    /// The blocks exceed [`MAX_DAG_BYTES`].
    #[error("the blocks under {root} exceed the limit of {MAX_DAG_BYTES} bytes")]
    TooLarge {
        /// CID of the manifest.
        root: Box<Cid>,
    },
}

impl FetchError {
    /// Returns whether a retry may succeed. A missing block is retryable, because it may still be on its way from one
    /// node to another.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Client(ClientError::Store(StoreError::Missing(_))) => ErrorClass::Retryable,
            Self::Client(error) => error.class(),
            Self::Manifest(_) | Self::TooLarge { .. } => ErrorClass::Fatal,
        }
    }
}

/// Checked blocks by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocks(BTreeMap<Cid, Vec<u8>>);

impl Blocks {
    /// A task's chunk, and its adapter with all leaves.
    pub async fn of_task<H: Host>(host: &H, task: &Task) -> Result<Self, FetchError> {
        let mut blocks = Self::default();
        blocks.0.insert(task.chunk, gateway::block(host, Codec::Raw, &task.chunk).await?);
        blocks.dag(host, &task.adapter, AdapterState::links).await?;
        Ok(blocks)
    }

    /// An adapter's manifest and leaves.
    pub async fn of_adapter<H: Host>(host: &H, adapter: &Cid) -> Result<Self, FetchError> {
        let mut blocks = Self::default();
        blocks.dag(host, adapter, AdapterState::links).await?;
        Ok(blocks)
    }

    /// An artifact's manifest and leaves.
    pub async fn of_artifact<H: Host>(host: &H, artifact: &Cid) -> Result<Self, FetchError> {
        let mut blocks = Self::default();
        blocks.dag(host, artifact, Artifact::links).await?;
        Ok(blocks)
    }

    /// What a ledger [keeps](crate::ledger::State::roots): a chunk, or an adapter or an artifact with all leaves.
    pub async fn of_root<H: Host>(host: &H, root: &Cid) -> Result<Self, FetchError> {
        let mut blocks = Self::default();
        match Codec::of(root).map_err(ClientError::from)? {
            Codec::Raw => {
                blocks.0.insert(*root, gateway::block(host, Codec::Raw, root).await?);
            }
            _ => {
                let links = |manifest: &[u8]| Artifact::links(manifest).or_else(|_| AdapterState::links(manifest));
                blocks.dag(host, root, links).await?;
            }
        }
        Ok(blocks)
    }

    /// All of them.
    pub fn into_blocks(self) -> Result<Vec<Block>, StoreError> {
        self.0.into_iter().map(|(cid, bytes)| Block::check(cid, bytes)).collect()
    }

    /// Serves as a [`Fetch`](crate::store::Fetch).
    pub fn get(&self, cid: &Cid) -> Result<Vec<u8>, StoreError> {
        self.0.get(cid).cloned().ok_or(StoreError::Missing(*cid))
    }

    async fn dag<H: Host>(
        &mut self,
        host: &H,
        root: &Cid,
        links: impl Fn(&[u8]) -> Result<Vec<Cid>, WorkError>,
    ) -> Result<(), FetchError> {
        Incoming::new(*root, links, &mut self.0, MAX_DAG_BYTES).get(host).await
    }
}
