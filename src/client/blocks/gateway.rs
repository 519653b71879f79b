//! Fetches single blocks from the cache or from gateways, and checks them against their CIDs.

use super::{BlockCache, BlockSource};
use crate::{
    client::{Classify, ClientError, Response},
    store::{Block, Cid, Codec, StoreError},
};

/// The content type of a CAR (an archive of blocks) whose blocks are in depth-first order, without duplicates. The
/// client requests this type, and a node's server returns it.
pub const CAR_CONTENT_TYPE: &str = "application/vnd.ipld.car; version=1; order=dfs; dups=n";

/// Returns the bytes of a block from the cache. Returns `None` if the cache does not have them, or if they do not match
/// the CID.
pub(super) async fn cached<C: BlockCache>(cache: &C, codec: Codec, cid: &Cid) -> Option<Vec<u8>> {
    checked(codec, cid, cache.load_block(cid).await?).ok()
}

fn checked(codec: Codec, cid: &Cid, bytes: Vec<u8>) -> Result<Vec<u8>, StoreError> {
    match Codec::of(cid)? == codec {
        true => Ok(Block::check(*cid, bytes)?.into_bytes()),
        false => Err(StoreError::Codec(*cid)),
    }
}

/// Returns the bytes of a block, checked against its CID. The bytes come from the cache if it has them, or else from
/// the first gateway that delivers them.
///
/// If every gateway fails, the error of one of them is returned: a retryable error if there is one.
pub async fn block<S: BlockSource + BlockCache>(source: &S, codec: Codec, cid: &Cid) -> Result<Vec<u8>, ClientError> {
    if let Some(bytes) = cached(source, codec, cid).await {
        return Ok(bytes);
    }
    let mut failure = None;
    for gateway in 0.. {
        let Some(response) = source.get(gateway, &format!("/ipfs/{cid}?format=raw")).await else { break };
        let bytes = match response.map_err(ClientError::from).and_then(Response::into_body) {
            Err(ClientError::Refused { status: 404 | 410, .. }) => Err(StoreError::Missing(*cid).into()),
            body => body.and_then(|bytes| checked(codec, cid, bytes).map_err(ClientError::from)),
        };
        match bytes {
            Ok(bytes) => {
                source.cache_block(cid, &bytes).await;
                return Ok(bytes);
            }
            Err(error) => {
                source.gateway_failed(gateway, &error);
                if failure.as_ref().is_none_or(|failure: &ClientError| !failure.is_retryable()) {
                    failure = Some(error);
                }
            }
        }
    }
    Err(failure.unwrap_or_else(|| StoreError::Missing(*cid).into()))
}
