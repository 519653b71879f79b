//! What a node is asked without a key: blocks by their CIDs, and the model's files.

use super::client::{ClientError, Host, Request, Response};
use crate::store::{Block, Cid, Codec, StoreError};

/// The bytes of a block, checked; from the host's own store where it has them.
pub async fn block<H: Host>(host: &H, codec: Codec, cid: &Cid) -> Result<Vec<u8>, ClientError> {
    let checked = |bytes: Vec<u8>| Block::fetch(codec, cid, &|_| Ok(bytes.clone())).map(Block::into_bytes);
    if let Some(bytes) = host.kept(cid).await
        && let Ok(bytes) = checked(bytes)
    {
        return Ok(bytes);
    }
    let bytes = match ask(host, &format!("/ipfs/{cid}?format=raw"), None).await {
        Err(ClientError::Refused { status: 404, .. }) => return Err(StoreError::Missing(*cid).into()),
        answer => checked(answer?)?,
    };
    host.keep(cid, &bytes).await;
    Ok(bytes)
}

/// A file of the model: `config.json` or `model.safetensors`. Its bytes are checked by the manifest's CID only.
pub async fn model_file<H: Host>(host: &H, name: &str) -> Result<Vec<u8>, ClientError> {
    ask(host, &format!("/r3mes/wgpu/v1/model/{name}"), None).await
}

/// The body of an answer that is no refusal.
pub(super) async fn ask<H: Host>(host: &H, path: &str, body: Option<(&str, &[u8])>) -> Result<Vec<u8>, ClientError> {
    let Response { status, body } = host.request(Request { path, body }).await?;
    match status {
        200..300 => Ok(body),
        _ => {
            let message = String::from_utf8_lossy(&body).chars().take(500).collect();
            Err(ClientError::Refused { status, message })
        }
    }
}
