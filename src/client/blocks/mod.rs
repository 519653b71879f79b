//! Moves blocks: from sources to this program, and from this program to stores.
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

/// A source of blocks: an ordered list of gateways. Index 0 is usually the node.
#[expect(async_fn_in_trait, reason = "a browser's futures are never Send")]
pub trait BlockSource {
    /// Requests a path from the gateway with this index. Returns `None` if the index is past the last gateway.
    async fn get(&self, gateway: usize, path: &str) -> Option<Result<Response, NoResponse>>;

    /// Requests a CAR from the gateway with this index and passes the body of a successful response to `sink` as it
    /// arrives, even if the response breaks off later. Returns the status, or `None` if the index is past the last
    /// gateway.
    async fn stream(&self, gateway: usize, path: &str, sink: ChunkSink<'_>) -> Option<Result<u16, NoResponse>> {
        let response = self.get(gateway, path).await?;
        Some(response.map(|Response { status, body }| {
            if (200..300).contains(&status) {
                // the whole body has been passed, so it does not matter whether the sink needs more
                let _ = sink(&body);
            }
            status
        }))
    }

    /// Reports that this gateway failed to deliver, before the next one is tried.
    fn gateway_failed(&self, _gateway: usize, _reason: &ClientError) {}
}

/// A cache of blocks. By default nothing is cached.
#[expect(async_fn_in_trait, reason = "a browser's futures are never Send")]
pub trait BlockCache {
    /// Returns the bytes of a block, if they are cached. The caller checks them.
    async fn load_block(&self, _cid: &Cid) -> Option<Vec<u8>> {
        None
    }
    /// Caches a block whose bytes match its CID.
    async fn cache_block(&self, _cid: &Cid, _bytes: &[u8]) {}
}
