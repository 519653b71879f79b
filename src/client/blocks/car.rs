//! Fetches a manifest and the blocks that it links to. Blocks in the cache are used first. The others are requested
//! together, as a CAR (an archive of blocks). Blocks that are still missing are then requested one by one.

#[cfg(test)]
mod tests;

use super::{BlockCache, BlockSource, fetch::FetchError, gateway};
use crate::{
    client::ClientError,
    protocol::ProtocolError,
    store::{Block, CarReader, Cid, Codec, StoreError},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

/// The state of fetching a DAG that has two levels: a manifest, and the raw blocks (leaves) that the manifest links to.
pub(super) struct DagFetch<L> {
    root: Cid,
    /// Function that decodes a manifest and returns the CIDs that it links to.
    links: L,
    blocks: BTreeMap<Cid, Vec<u8>>,
    /// The total size that the missing blocks may have, in bytes. If they turn out to be larger, the fetch fails
    /// because the DAG is too large.
    bytes_left: usize,
    /// The leaves that the manifest links to; `None` until the manifest has arrived.
    leaves: Option<Leaves>,
}

/// The leaves of a DAG: the blocks that its manifest links to.
struct Leaves {
    /// The number of links in the manifest. Several links may lead to the same leaf.
    links: usize,
    /// CIDs of the leaves that have not arrived yet.
    missing: BTreeSet<Cid>,
}

impl<L: Fn(&[u8]) -> Result<Vec<Cid>, ProtocolError>> DagFetch<L> {
    /// Prepares to fetch the manifest `root` and its leaves. All these blocks may total at most `max_bytes` bytes.
    /// `links` decodes a manifest and returns the CIDs that it links to.
    pub(super) fn new(root: Cid, links: L, max_bytes: usize) -> Self {
        Self { root, links, blocks: BTreeMap::new(), bytes_left: max_bytes, leaves: None }
    }

    /// Fetches the manifest and all leaves, and returns the bytes of these blocks by CID.
    pub(super) async fn run<S: BlockSource + BlockCache>(
        mut self,
        source: &S,
    ) -> Result<BTreeMap<Cid, Vec<u8>>, FetchError> {
        self.load_cached(source).await?;
        // a CAR also contains the cached blocks, so it is requested only if more than half of the leaves are missing
        if self.leaves.as_ref().is_none_or(|leaves| 2 * leaves.missing.len() > leaves.links) {
            self.fetch_car(source).await?;
        }
        if self.leaves.is_none() {
            let root = self.root;
            self.accept(root, gateway::block(source, Codec::DagCbor, &root).await?)?;
        }
        for cid in self.missing() {
            self.accept(cid, gateway::block(source, Codec::Raw, &cid).await?)?;
        }
        Ok(self.blocks)
    }

    async fn load_cached<C: BlockCache>(&mut self, cache: &C) -> Result<(), FetchError> {
        let root = self.root;
        let Some(manifest) = gateway::cached(cache, Codec::DagCbor, &root).await else { return Ok(()) };
        self.accept(root, manifest)?;
        for cid in self.missing() {
            if let Some(bytes) = gateway::cached(cache, Codec::Raw, &cid).await {
                self.accept(cid, bytes)?;
            }
        }
        Ok(())
    }

    /// Requests the DAG as a CAR from one gateway after another, until a gateway delivers at least one missing block.
    async fn fetch_car<S: BlockSource + BlockCache>(&mut self, source: &S) -> Result<(), FetchError> {
        let path = format!("/ipfs/{}?format=car", self.root);
        for gateway in 0.. {
            let mut car = CarStream::new(self);
            let Some(status) = source.stream(gateway, &path, &mut |bytes: &[u8]| car.push(bytes)).await else { break };
            let CarStream { accepted, result, .. } = car;
            for cid in &accepted {
                source.cache_block(cid, &self.blocks[cid]).await;
            }
            match (status, result) {
                (Err(error), _) => source.gateway_failed(gateway, &error.into()),
                (_, Err(FetchError::Client(error @ ClientError::Store(StoreError::Mismatch { .. })))) => {
                    source.gateway_failed(gateway, &error);
                }
                (_, result) => result?,
            }
            if !accepted.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Returns the CIDs of the leaves that have not arrived yet. The list is empty until the manifest has arrived.
    fn missing(&self) -> Vec<Cid> {
        self.leaves.iter().flat_map(|leaves| &leaves.missing).copied().collect()
    }

    /// Stores a block that the caller has checked against its CID. The first block must be the manifest, and each later
    /// block must be a missing leaf.
    fn accept(&mut self, cid: Cid, bytes: Vec<u8>) -> Result<(), FetchError> {
        let too_large = || FetchError::TooLarge { root: self.root.into() };
        self.bytes_left = self.bytes_left.checked_sub(bytes.len()).ok_or_else(too_large)?;
        match &mut self.leaves {
            Some(leaves) => {
                leaves.missing.remove(&cid);
            }
            None => {
                let links = (self.links)(&bytes)?;
                if let Some(other) = links.iter().find(|cid| Codec::of(cid) != Ok(Codec::Raw)) {
                    return Err(ClientError::from(StoreError::Codec(*other)).into());
                }
                self.leaves = Some(Leaves { links: links.len(), missing: links.into_iter().collect() });
            }
        }
        self.blocks.insert(cid, bytes);
        Ok(())
    }
}

/// Reads a CAR while its bytes arrive, and stores those of its blocks that were missing.
struct CarStream<'a, L> {
    dag: &'a mut DagFetch<L>,
    reader: CarReader,
    /// The number of blocks read from the CAR so far, including those that were not missing.
    blocks: usize,
    /// CIDs of the blocks from this CAR that were missing before and are now stored.
    accepted: Vec<Cid>,
    /// The first error, if there is one: the DAG is malformed or too large, or a block does not match its CID.
    result: Result<(), FetchError>,
}

impl<'a, L: Fn(&[u8]) -> Result<Vec<Cid>, ProtocolError>> CarStream<'a, L> {
    fn new(dag: &'a mut DagFetch<L>) -> Self {
        let reader = CarReader::new(dag.bytes_left);
        Self { dag, reader, blocks: 0, accepted: Vec::new(), result: Ok(()) }
    }

    /// Reads more bytes of the CAR. Returns `Break` if the DAG is complete, or if the bytes are not a CAR of this DAG.
    ///
    /// A CAR of this DAG starts with the manifest. After the manifest, it contains only blocks of the DAG, and at most
    /// as many blocks as the manifest has links.
    fn push(&mut self, bytes: &[u8]) -> ControlFlow<()> {
        let mut blocks = Vec::new();
        let read = self.reader.push(bytes, &mut blocks);
        for block in blocks {
            self.block(block)?;
        }
        match read {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                if matches!(error, StoreError::Mismatch { .. }) {
                    self.result = Err(ClientError::from(error).into());
                }
                ControlFlow::Break(())
            }
        }
    }

    fn block(&mut self, block: Block) -> ControlFlow<()> {
        let cid = block.cid();
        self.blocks += 1;
        let is_missing = match &self.dag.leaves {
            None if cid == self.dag.root => true,
            Some(leaves) if self.blocks <= 1 + leaves.links && leaves.missing.contains(&cid) => true,
            Some(leaves) if self.blocks <= 1 + leaves.links && self.dag.blocks.contains_key(&cid) => false,
            _ => return ControlFlow::Break(()),
        };
        if is_missing {
            self.result = self.dag.accept(cid, block.into_bytes());
            if self.result.is_err() {
                return ControlFlow::Break(());
            }
            self.accepted.push(cid);
        }
        match &self.dag.leaves {
            Some(leaves) if leaves.missing.is_empty() => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}
