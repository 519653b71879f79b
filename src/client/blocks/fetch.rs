//! Fetches the blocks of tasks, adapters and artifacts.

use super::{BlockCache, BlockSource, car::DagFetch, gateway};
use crate::{
    client::{Classify, ClientError, ErrorClass},
    protocol::{AdapterState, Artifact, ProtocolError, Task},
    store::{Block, Cid, Codec, StoreError},
};
use std::collections::BTreeMap;

/// The largest total size, in bytes, of the blocks of an artifact, or of an adapter with its optimizer state. A
/// larger total is an error. This limits the memory that another party's manifest can make this program use.
const MAX_DAG_BYTES: usize = 512 << 20;

/// Error returned when the blocks of a task, an adapter or an artifact could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// A block could not be fetched: no gateway returned bytes that match its CID.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The manifest of the adapter or the artifact is malformed.
    #[error(transparent)]
    Manifest(#[from] ProtocolError),
    /// The blocks of the adapter or the artifact exceed 512 MiB.
    #[error("the blocks of manifest {root} exceed the limit of {MAX_DAG_BYTES} bytes in total")]
    TooLarge {
        /// CID of the manifest.
        root: Box<Cid>,
    },
}

impl Classify for FetchError {
    /// Returns the class of the error. A missing block is retryable, because it may still be on its way from one node
    /// to another.
    fn class(&self) -> ErrorClass {
        match self {
            Self::Client(ClientError::Store(StoreError::Missing(_))) => ErrorClass::Retryable,
            Self::Client(error) => error.class(),
            Self::Manifest(_) | Self::TooLarge { .. } => ErrorClass::Fatal,
        }
    }
}

/// The bytes of blocks, by CID. All of them have been checked against their CIDs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocks(BTreeMap<Cid, Vec<u8>>);

impl Blocks {
    /// Fetches the blocks that a task needs: its chunk, and the manifest and the leaves of its adapter.
    pub async fn of_task<S: BlockSource + BlockCache>(source: &S, task: &Task) -> Result<Self, FetchError> {
        let chunk = gateway::block(source, Codec::Raw, &task.chunk).await?;
        let mut blocks = Self::of_adapter(source, &task.adapter).await?;
        blocks.0.insert(task.chunk, chunk);
        Ok(blocks)
    }

    /// Fetches the blocks of an adapter: its manifest and its leaves.
    pub async fn of_adapter<S: BlockSource + BlockCache>(source: &S, adapter: &Cid) -> Result<Self, FetchError> {
        Self::of_dag(source, adapter, AdapterState::links).await
    }

    /// Fetches the blocks of an artifact: its manifest and its leaves.
    pub async fn of_artifact<S: BlockSource + BlockCache>(source: &S, artifact: &Cid) -> Result<Self, FetchError> {
        Self::of_dag(source, artifact, Artifact::links).await
    }

    /// Fetches `root`, one of the [root blocks that a node must store](crate::ledger::State::roots), and the blocks to
    /// which it links. A chunk is a single block without links. An adapter or an artifact consists of a manifest, which
    /// is the root block, and its leaves.
    pub async fn of_root<S: BlockSource + BlockCache>(source: &S, root: &Cid) -> Result<Self, FetchError> {
        match Codec::of(root).map_err(ClientError::from)? {
            Codec::Raw => Ok(Self(BTreeMap::from([(*root, gateway::block(source, Codec::Raw, root).await?)]))),
            _ => {
                let links = |manifest: &[u8]| Artifact::links(manifest).or_else(|_| AdapterState::links(manifest));
                Self::of_dag(source, root, links).await
            }
        }
    }

    /// Returns the blocks in ascending order of CID.
    pub fn into_blocks(self) -> Result<Vec<Block>, StoreError> {
        self.0.into_iter().map(|(cid, bytes)| Block::check(cid, bytes)).collect()
    }

    /// Returns the bytes of the block with this CID. A closure that calls this method can serve as a
    /// [`Fetch`](crate::store::Fetch), the callback through which other functions read blocks.
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
