//! Moving blocks: from sources to here, and from here to stores.
//!
//! A block is checked against its CID before it is used or cached, so that neither sources nor caches need to be
//! trusted.

mod car;
mod fetch;
mod gateway;
mod put;

pub use fetch::{Blocks, FetchError};
pub use gateway::{CAR_CONTENT_TYPE, block};
pub use put::BlockStore;
pub(crate) use put::put_blocks;

use super::{ClientError, NoResponse, Response};
use crate::store::Cid;
use std::ops::ControlFlow;

/// Receives the bytes of a response as they arrive, and breaks when it needs no more.
pub type ChunkSink<'a> = &'a mut dyn FnMut(&[u8]) -> ControlFlow<()>;

/// A source of blocks: an ordered list of gateways, of which the node is usually number 0.
#[expect(async_fn_in_trait, reason = "a browser's futures are never Send")]
pub trait BlockSource {
    /// Requests a block from the gateway of this number, or returns `None` if there are fewer gateways.
    async fn get(&self, gateway: usize, path: &str) -> Option<Result<Response, NoResponse>>;

    /// Requests a CAR from the gateway of this number and passes the body of a successful response to `sink` as it
    /// arrives, including that of a response that breaks off. Returns the status, or `None` if there are fewer
    /// gateways.
    async fn stream(&self, gateway: usize, path: &str, sink: ChunkSink<'_>) -> Option<Result<u16, NoResponse>> {
        let response = self.get(gateway, path).await?;
        Some(response.map(|Response { status, body }| {
            if (200..300).contains(&status) {
                // all bytes are here, so it does not matter whether the sink needs more
                let _ = sink(&body);
            }
            status
        }))
    }

    /// Called when this gateway did not deliver and the next one is tried.
    fn gateway_failed(&self, _gateway: usize, _reason: &ClientError) {}
}

/// A cache of blocks. By default nothing is cached.
#[expect(async_fn_in_trait, reason = "a browser's futures are never Send")]
pub trait BlockCache {
    /// Returns the bytes of a block, if they are cached. The caller checks them.
    async fn load_block(&self, _cid: &Cid) -> Option<Vec<u8>> {
        None
    }
    /// Caches a block that was checked.
    async fn cache_block(&self, _cid: &Cid, _bytes: &[u8]) {}
}
