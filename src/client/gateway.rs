//! What a node is asked without a key: blocks by their CIDs, and the model's files.

use super::{ClientError, Host, Request, Response};
use crate::store::{Block, Cid, Codec, StoreError};

/// The kind of a [DAG](Host::dag) in one answer, in the order and with the blocks that are read here.
pub const CAR_KIND: &str = "application/vnd.ipld.car; version=1; order=dfs; dups=n";

/// The bytes of a block that the host kept, checked.
pub(crate) async fn kept<H: Host>(host: &H, codec: Codec, cid: &Cid) -> Option<Vec<u8>> {
    checked(codec, cid, host.kept(cid).await?).ok()
}

fn checked(codec: Codec, cid: &Cid, bytes: Vec<u8>) -> Result<Vec<u8>, StoreError> {
    match Codec::of(cid)? == codec {
        true => Ok(Block::check(*cid, bytes)?.into_bytes()),
        false => Err(StoreError::Codec(*cid)),
    }
}

/// The bytes of a block, checked; from the host's own store where it has them, else from the first gateway that gives
/// them.
pub async fn block<H: Host>(host: &H, codec: Codec, cid: &Cid) -> Result<Vec<u8>, ClientError> {
    if let Some(bytes) = kept(host, codec, cid).await {
        return Ok(bytes);
    }
    let mut why = None;
    for at in 0.. {
        let Some(answer) = host.gateway(at, &format!("/ipfs/{cid}?format=raw")).await else { break };
        let bytes = match answer.map_err(ClientError::from).and_then(accepted) {
            Err(ClientError::Refused { status: 404 | 410, .. }) => Err(StoreError::Missing(*cid).into()),
            answer => answer.and_then(|bytes| checked(codec, cid, bytes).map_err(ClientError::from)),
        };
        match bytes {
            Ok(bytes) => {
                host.keep(cid, &bytes).await;
                return Ok(bytes);
            }
            Err(error) => {
                host.passed_over(at, &error);
                // what may pass weighs more: the caller tries again
                if why.as_ref().is_none_or(|why: &ClientError| !why.is_temporary()) {
                    why = Some(error);
                }
            }
        }
    }
    Err(why.unwrap_or_else(|| StoreError::Missing(*cid).into()))
}

/// A file of the model: `config.json` or `model.safetensors`. Its bytes are checked by the manifest's CID only.
pub async fn model_file<H: Host>(host: &H, name: &str) -> Result<Vec<u8>, ClientError> {
    ask(host, &format!("/r3mes/wgpu/v1/model/{name}"), None).await
}

/// The body of an answer that is no refusal.
pub(crate) async fn ask<H: Host>(host: &H, path: &str, body: Option<(&str, &[u8])>) -> Result<Vec<u8>, ClientError> {
    accepted(host.request(Request { path, body }).await?)
}

pub(crate) fn accepted(Response { status, body }: Response) -> Result<Vec<u8>, ClientError> {
    match status {
        200..300 => Ok(body),
        _ => {
            let message = String::from_utf8_lossy(&body).chars().take(500).collect();
            Err(ClientError::Refused { status, message })
        }
    }
}
