//! The state that all IPFS handlers share.

use super::{
    error::IpfsError,
    owner::{Caller, OwnerToken},
    upload::Uploads,
};
use crate::{
    blocks::{BlockStore, cost},
    server::peer::Client,
};
use axum::{extract::State, http::HeaderValue};
use r3mes_wgpu::store::Block;
use std::sync::Arc;

/// The blocks of an upload are collected in memory until they take this number of bytes or the upload ends. They are
/// then written to the store.
pub(super) const BATCH_BYTES: usize = 8 << 20;

/// The state that all handlers of IPFS routes share.
pub(super) struct IpfsState {
    pub(super) store: Arc<BlockStore>,
    pub(super) owner: OwnerToken,
    /// The origins of other websites whose pages may send commands to the node.
    pub(super) origins: Vec<HeaderValue>,
    pub(super) uploads: Arc<Uploads>,
}

/// The state that all handlers of IPFS routes share, in the form in which the router passes it to a handler.
pub(super) type SharedIpfs = State<Arc<IpfsState>>;

impl IpfsState {
    /// Stores blocks that a client has uploaded. Returns an error if a client other than the node's owner has stored
    /// too many bytes lately.
    pub(super) async fn store(&self, caller: &Caller, client: Client, blocks: Vec<Block>) -> Result<(), IpfsError> {
        if *caller != Caller::Owner {
            self.uploads.count(client, blocks.iter().map(|block| cost(block.bytes())).sum())?;
        }
        self.with(move |store| store.put(&blocks)).await
    }

    /// Runs `work` on the block store, in a thread for blocking work.
    pub(super) async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&BlockStore) -> anyhow::Result<T> + Send + 'static,
    ) -> Result<T, IpfsError> {
        let store = self.store.clone();
        match tokio::task::spawn_blocking(move || work(&store)).await {
            Ok(result) => result.map_err(IpfsError::from),
            Err(error) => Err(anyhow::Error::from(error).into()),
        }
    }
}

/// The blocks of an upload that have not been written to the store yet.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) blocks: Vec<Block>,
    counted: usize,
    bytes: usize,
}

impl Batch {
    /// Returns whether the blocks take so much memory that they should be stored before more are received.
    pub(super) fn is_full(&mut self) -> bool {
        // only blocks that were added since the last call are counted, so that many small blocks take little time
        self.bytes += self.blocks[self.counted..].iter().map(|block| cost(block.bytes()) as usize).sum::<usize>();
        self.counted = self.blocks.len();
        self.bytes >= BATCH_BYTES
    }

    /// Removes and returns the blocks.
    pub(super) fn take(&mut self) -> Vec<Block> {
        std::mem::take(self).blocks
    }
}
