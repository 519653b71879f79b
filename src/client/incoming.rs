//! A manifest and the blocks that it links, on their way here: those that are kept, then all in one answer, as a CAR, then
//! those that are still lacking one by one.

#[cfg(test)]
mod tests;

use crate::{
    client::{ClientError, Host, fetch::FetchError, gateway},
    protocol::WorkError,
    store::{Block, CarReader, Cid, Codec, StoreError},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

/// A DAG of two levels.
pub(super) struct Incoming<'a, L> {
    root: Cid,
    /// Reads a manifest.
    links: L,
    blocks: &'a mut BTreeMap<Cid, Vec<u8>>,
    /// Bytes that may still come.
    left: usize,
    /// Known with the manifest.
    linked: Option<Linked>,
}

/// What a manifest links.
struct Linked {
    /// How often it does.
    links: usize,
    /// What has not come.
    lacking: BTreeSet<Cid>,
}

impl<'a, L: Fn(&[u8]) -> Result<Vec<Cid>, WorkError>> Incoming<'a, L> {
    /// Under `root`, whose bytes `links` reads: what is not among `blocks`, and is of at most so many bytes.
    pub(super) fn new(root: Cid, links: L, blocks: &'a mut BTreeMap<Cid, Vec<u8>>, most_bytes: usize) -> Self {
        Self { root, links, blocks, left: most_bytes, linked: None }
    }

    /// Gets all of it.
    pub(super) async fn get<H: Host>(mut self, host: &H) -> Result<(), FetchError> {
        self.look(host).await?;
        // a CAR has all blocks again
        let most_are_lacking = self.linked.as_ref().is_none_or(|linked| 2 * linked.lacking.len() > linked.links);
        if most_are_lacking {
            self.by_car(host).await?;
        }
        if self.linked.is_none() {
            let root = self.root;
            self.accept(root, gateway::block(host, Codec::DagCbor, &root).await?)?;
        }
        for cid in self.lacking() {
            self.accept(cid, gateway::block(host, Codec::Raw, &cid).await?)?;
        }
        Ok(())
    }

    /// Finds what the host kept.
    async fn look<H: Host>(&mut self, host: &H) -> Result<(), FetchError> {
        let root = self.root;
        let Some(manifest) = gateway::kept(host, Codec::DagCbor, &root).await else { return Ok(()) };
        self.accept(root, manifest)?;
        for cid in self.lacking() {
            if let Some(bytes) = gateway::kept(host, Codec::Raw, &cid).await {
                self.accept(cid, bytes)?;
            }
        }
        Ok(())
    }

    /// Asks one gateway after the other for a CAR, until something comes by one.
    async fn by_car<H: Host>(&mut self, host: &H) -> Result<(), FetchError> {
        let path = format!("/ipfs/{}?format=car", self.root);
        for at in 0.. {
            let mut car = Car::new(self);
            let Some(answer) = host.dag(at, &path, &mut |bytes: &[u8]| car.take(bytes)).await else { break };
            let Car { came, end, .. } = car;
            for cid in &came {
                host.keep(cid, &self.blocks[cid]).await;
            }
            match (answer, end) {
                (Err(offline), _) => host.passed_over(at, &offline.into()),
                (_, Err(FetchError::Client(lie @ ClientError::Store(StoreError::Mismatch { .. })))) => {
                    host.passed_over(at, &lie);
                }
                (_, end) => end?,
            }
            if !came.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// What the manifest links and has not come, as far as is known.
    fn lacking(&self) -> Vec<Cid> {
        self.linked.iter().flat_map(|linked| &linked.lacking).copied().collect()
    }

    /// Takes in the manifest, or a block that is lacking, which is checked.
    fn accept(&mut self, cid: Cid, bytes: Vec<u8>) -> Result<(), FetchError> {
        let too_large = || FetchError::TooLarge { root: self.root.into() };
        self.left = self.left.checked_sub(bytes.len()).ok_or_else(too_large)?;
        match &mut self.linked {
            Some(linked) => {
                linked.lacking.remove(&cid);
            }
            None => {
                let links = (self.links)(&bytes)?;
                if let Some(other) = links.iter().find(|cid| Codec::of(cid) != Ok(Codec::Raw)) {
                    return Err(ClientError::from(StoreError::Codec(*other)).into());
                }
                let lacking = links.iter().filter(|cid| !self.blocks.contains_key(cid)).copied().collect();
                self.linked = Some(Linked { links: links.len(), lacking });
            }
        }
        self.blocks.insert(cid, bytes);
        Ok(())
    }
}

/// A CAR of it as it comes.
struct Car<'i, 'a, L> {
    dag: &'i mut Incoming<'a, L>,
    reader: CarReader,
    /// Blocks in it so far.
    blocks: usize,
    /// Those of them that were lacking.
    came: Vec<Cid>,
    /// What is wrong with the DAG, or that a block was another's.
    end: Result<(), FetchError>,
}

impl<'i, 'a, L: Fn(&[u8]) -> Result<Vec<Cid>, WorkError>> Car<'i, 'a, L> {
    fn new(dag: &'i mut Incoming<'a, L>) -> Self {
        let reader = CarReader::new(dag.left);
        Self { dag, reader, blocks: 0, came: Vec::new(), end: Ok(()) }
    }

    /// Breaks where all is there, and where something comes that is no CAR of this DAG: the manifest, then what it links,
    /// each as often as it is linked at most.
    fn take(&mut self, bytes: &[u8]) -> ControlFlow<()> {
        let mut blocks = Vec::new();
        let read = self.reader.push(bytes, &mut blocks);
        for block in blocks {
            self.block(block)?;
        }
        match read {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                if matches!(error, StoreError::Mismatch { .. }) {
                    self.end = Err(ClientError::from(error).into());
                }
                ControlFlow::Break(())
            }
        }
    }

    fn block(&mut self, block: Block) -> ControlFlow<()> {
        let cid = block.cid();
        self.blocks += 1;
        let lacking = match &self.dag.linked {
            None if cid == self.dag.root => true,
            Some(linked) if self.blocks <= 1 + linked.links && linked.lacking.contains(&cid) => true,
            Some(linked) if self.blocks <= 1 + linked.links && self.dag.blocks.contains_key(&cid) => false,
            _ => return ControlFlow::Break(()),
        };
        if lacking {
            self.end = self.dag.accept(cid, block.into_bytes());
            if self.end.is_err() {
                return ControlFlow::Break(());
            }
            self.came.push(cid);
        }
        match &self.dag.linked {
            Some(linked) if linked.lacking.is_empty() => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}
