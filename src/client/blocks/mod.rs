//! Transfers IPFS blocks: downloads them from gateways, and uploads them to stores.
//!
//! Every block is checked against its CID before it is used or cached, so neither gateways nor caches need to be
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

/// A callback that receives the body of a response piece by piece, as the bytes arrive. It returns
/// [`ControlFlow::Break`] to end the download early.
pub type ChunkSink<'a> = &'a mut dyn FnMut(&[u8]) -> ControlFlow<()>;

/// An ordered list of IPFS gateways from which blocks are fetched. The first gateway, at index 0, is usually the node
/// to which the client is connected.
#[expect(async_fn_in_trait, reason = "a browser's futures are never Send")]
pub trait BlockSource {
    /// Sends a GET request for `path` to the gateway at index `gateway`. Returns `None` if there is no such gateway.
    async fn get(&self, gateway: usize, path: &str) -> Option<Result<Response, NoResponse>>;

    /// Requests the CAR file at `path` from the gateway at index `gateway`. If the status is a success, the body is
    /// passed to `sink` as it arrives, so `sink` also gets the first part of a response that breaks off. Returns the
    /// HTTP status, or `None` if there is no such gateway.
    async fn stream(&self, gateway: usize, path: &str, sink: ChunkSink<'_>) -> Option<Result<u16, NoResponse>> {
        let response = self.get(gateway, path).await?;
        Some(response.map(|Response { status, body }| {
            if (200..300).contains(&status) {
                // the sink has received the whole body, so its request to stop has no effect
                let _ = sink(&body);
            }
            status
        }))
    }

    /// Called when a gateway failed to deliver the requested blocks, before the next gateway is tried.
    fn gateway_failed(&self, _gateway: usize, _reason: &ClientError) {}
}

/// A cache of blocks. The default methods cache nothing.
#[expect(async_fn_in_trait, reason = "a browser's futures are never Send")]
pub trait BlockCache {
    /// Returns the bytes of the block with this CID, or `None` if it is not cached. The caller must check the bytes
    /// against the CID.
    async fn load_block(&self, _cid: &Cid) -> Option<Vec<u8>> {
        None
    }
    /// Caches a block. The caller has checked that the bytes match the CID.
    async fn cache_block(&self, _cid: &Cid, _bytes: &[u8]) {}
}
