//! Fetches a manifest and the blocks that it links: cached blocks first, then all in one response, as a CAR, then what
//! is still missing block by block.

#[cfg(test)]
mod tests;

use super::{BlockCache, BlockSource, fetch::FetchError, gateway};
use crate::{
    client::ClientError,
    protocol::WorkError,
    store::{Block, CarReader, Cid, Codec, StoreError},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

/// The fetching of a DAG of two levels: a manifest and raw leaves.
pub(super) struct DagFetch<L> {
    root: Cid,
    /// Returns the links of a manifest.
    links: L,
    blocks: BTreeMap<Cid, Vec<u8>>,
    /// Bytes that may still arrive before the DAG is too large.
    bytes_left: usize,
    /// Known once the manifest is here.
    leaves: Option<Leaves>,
}

/// The leaves that a manifest links.
struct Leaves {
    /// Number of links, of which several may be to the same leaf.
    links: usize,
    /// Leaves that are not here yet.
    missing: BTreeSet<Cid>,
}

impl<L: Fn(&[u8]) -> Result<Vec<Cid>, WorkError>> DagFetch<L> {
    /// Prepares to fetch the manifest `root`, whose links `links` returns, and its leaves: together at most
    /// `max_bytes`.
    pub(super) fn new(root: Cid, links: L, max_bytes: usize) -> Self {
        Self { root, links, blocks: BTreeMap::new(), bytes_left: max_bytes, leaves: None }
    }

    /// Fetches all blocks.
    pub(super) async fn run<S: BlockSource + BlockCache>(
        mut self,
        source: &S,
    ) -> Result<BTreeMap<Cid, Vec<u8>>, FetchError> {
        self.load_cached(source).await?;
        // a CAR contains the cached blocks again
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

    /// Requests a CAR from one gateway after the other, until one delivers at least one block.
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

    /// Returns the leaves that are known to be missing.
    fn missing(&self) -> Vec<Cid> {
        self.leaves.iter().flat_map(|leaves| &leaves.missing).copied().collect()
    }

    /// Accepts a checked block: the manifest first, then missing leaves.
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

/// The reading of a CAR as its bytes arrive.
struct CarStream<'a, L> {
    dag: &'a mut DagFetch<L>,
    reader: CarReader,
    /// Number of blocks read from the CAR.
    blocks: usize,
    /// The blocks among them that had been missing.
    accepted: Vec<Cid>,
    /// An error if the DAG is malformed or too large, or if a block did not match its CID.
    result: Result<(), FetchError>,
}

impl<'a, L: Fn(&[u8]) -> Result<Vec<Cid>, WorkError>> CarStream<'a, L> {
    fn new(dag: &'a mut DagFetch<L>) -> Self {
        let reader = CarReader::new(dag.bytes_left);
        Self { dag, reader, blocks: 0, accepted: Vec::new(), result: Ok(()) }
    }

    /// Reads more bytes. Breaks when the DAG is complete, and when the bytes are not a CAR of this DAG: the manifest,
    /// then its leaves, each at most as often as it is linked.
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
