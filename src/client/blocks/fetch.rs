//! Fetches the blocks of tasks, adapters and artifacts.

use super::{BlockCache, BlockSource, car::DagFetch, gateway};
use crate::{
    client::{Classify, ClientError, ErrorClass},
    protocol::{AdapterState, Artifact, ProtocolError, Task},
    store::{Block, Cid, Codec, StoreError},
};
use std::collections::BTreeMap;

/// The largest size of an artifact, or of an adapter with its optimizer state, in bytes. It limits how much memory
/// another party's manifest can make this program use.
const MAX_DAG_BYTES: usize = 512 << 20;

/// Error returned when the blocks of a task, an adapter or an artifact could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// No source returned bytes that match the CID.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The manifest is malformed.
    #[error(transparent)]
    Manifest(#[from] ProtocolError),
    /// The blocks exceed [`MAX_DAG_BYTES`].
    #[error("the blocks under {root} exceed the limit of {MAX_DAG_BYTES} bytes")]
    TooLarge {
        /// CID of the manifest.
        root: Box<Cid>,
    },
}

impl Classify for FetchError {
    /// A missing block is retryable, because it may still be on its way from one node to another.
    fn class(&self) -> ErrorClass {
        match self {
            Self::Client(ClientError::Store(StoreError::Missing(_))) => ErrorClass::Retryable,
            Self::Client(error) => error.class(),
            Self::Manifest(_) | Self::TooLarge { .. } => ErrorClass::Fatal,
        }
    }
}

/// Blocks by their CIDs. Each was checked against its CID.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocks(BTreeMap<Cid, Vec<u8>>);

impl Blocks {
    /// Fetches a task's chunk, and its adapter's manifest and leaves.
    pub async fn of_task<S: BlockSource + BlockCache>(source: &S, task: &Task) -> Result<Self, FetchError> {
        let chunk = gateway::block(source, Codec::Raw, &task.chunk).await?;
        let mut blocks = Self::of_adapter(source, &task.adapter).await?;
        blocks.0.insert(task.chunk, chunk);
        Ok(blocks)
    }

    /// Fetches an adapter's manifest and leaves.
    pub async fn of_adapter<S: BlockSource + BlockCache>(source: &S, adapter: &Cid) -> Result<Self, FetchError> {
        Self::of_dag(source, adapter, AdapterState::links).await
    }

    /// Fetches an artifact's manifest and leaves.
    pub async fn of_artifact<S: BlockSource + BlockCache>(source: &S, artifact: &Cid) -> Result<Self, FetchError> {
        Self::of_dag(source, artifact, Artifact::links).await
    }

    /// Fetches the blocks under one of the CIDs that a ledger [names](crate::ledger::State::roots): a chunk, an adapter
    /// with all leaves, or an artifact with all leaves.
    pub async fn of_root<S: BlockSource + BlockCache>(source: &S, root: &Cid) -> Result<Self, FetchError> {
        match Codec::of(root).map_err(ClientError::from)? {
            Codec::Raw => Ok(Self(BTreeMap::from([(*root, gateway::block(source, Codec::Raw, root).await?)]))),
            _ => {
                let links = |manifest: &[u8]| Artifact::links(manifest).or_else(|_| AdapterState::links(manifest));
                Self::of_dag(source, root, links).await
            }
        }
    }

    /// Returns all blocks, in the order of their CIDs.
    pub fn into_blocks(self) -> Result<Vec<Block>, StoreError> {
        self.0.into_iter().map(|(cid, bytes)| Block::check(cid, bytes)).collect()
    }

    /// Returns the bytes of a block. Can be used as a [`Fetch`](crate::store::Fetch).
    pub fn get(&self, cid: &Cid) -> Result<Vec<u8>, StoreError> {
        self.0.get(cid).cloned().ok_or(StoreError::Missing(*cid))
    }

    async fn of_dag<S: BlockSource + BlockCache>(
        source: &S,
        root: &Cid,
        links: impl Fn(&[u8]) -> Result<Vec<Cid>, ProtocolError>,
    ) -> Result<Self, FetchError> {
        Ok(Self(DagFetch::new(*root, links, MAX_DAG_BYTES).run(source).await?))
    }
}
