//! The state that all IPFS handlers share.

use super::error::IpfsError;
use crate::blocks::BlockStore;
use axum::{
    extract::State,
    http::{HeaderValue, StatusCode},
};
use std::sync::Arc;

/// The blocks of an upload are collected in memory until their total size reaches this number of bytes or the upload
/// ends. They are then written to the store.
pub(super) const BATCH_BYTES: usize = 8 << 20;

/// Who can reach the node. This determines the commands that clients may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Any client can reach the node. Clients may store and read blocks, but not pin or delete them.
    Anyone,
    /// Only the node's owner can reach the node. Clients may store, read, pin and delete blocks.
    Owner,
}

/// The state that all handlers of IPFS routes share.
pub(super) struct IpfsState {
    pub(super) store: Arc<BlockStore>,
    pub(super) access: Access,
    /// The origins of other websites whose pages may send commands to the node.
    pub(super) origins: Vec<HeaderValue>,
}

/// The shared state, as the router passes it to a handler.
pub(super) type SharedIpfs = State<Arc<IpfsState>>;

impl IpfsState {
    /// Returns an error with the HTTP status 403 if clients other than the node's owner can reach the node.
    pub(super) fn only_owner(&self) -> Result<(), IpfsError> {
        match self.access {
            Access::Owner => Ok(()),
            Access::Anyone => Err(IpfsError::new(
                StatusCode::FORBIDDEN,
                "only the owner of this node may pin and delete blocks; to store blocks without pinning them, \
                 pass pin=false (for dag/import: pin-roots=false)",
            )),
        }
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
