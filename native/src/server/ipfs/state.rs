//! The state that all IPFS handlers share.

use super::error::IpfsError;
use crate::blocks::BlockStore;
use axum::{
    extract::State,
    http::{HeaderValue, StatusCode},
};
use std::sync::Arc;

/// The total size in bytes at which the blocks of an upload, collected in memory, are stored together.
pub(super) const BATCH_BYTES: usize = 8 << 20;

/// The commands that a client may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Commands that store and read blocks.
    Anyone,
    /// Commands that store, read, pin and delete blocks.
    Owner,
}

/// The state that all IPFS handlers share.
pub(super) struct IpfsState {
    pub(super) store: Arc<BlockStore>,
    pub(super) access: Access,
    /// Origins of other websites whose pages may use the commands.
    pub(super) origins: Vec<HeaderValue>,
}

/// The shared state, in the form in which handlers receive it.
pub(super) type SharedIpfs = State<Arc<IpfsState>>;

impl IpfsState {
    /// Returns an error unless the client is the owner.
    pub(super) fn only_owner(&self) -> Result<(), IpfsError> {
        match self.access {
            Access::Owner => Ok(()),
            Access::Anyone => Err(IpfsError::new(
                StatusCode::FORBIDDEN,
                "only the owner of this node may pin and delete; pass pin=false",
            )),
        }
    }

    /// Runs `work` on a thread for blocking work.
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
