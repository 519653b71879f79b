//! Blocks by their CIDs: the trustless gateway's raw form, and Kubo's `block/put`.

use super::{Face, Shared, blocking, failure};
use axum::{
    Router,
    extract::{Multipart, Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use r3mes_wgpu::store::{Block, Cid, Codec, StoreError};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

pub(super) fn routes() -> Router<Arc<Face>> {
    Router::new().route("/ipfs/{cid}", get(block)).route("/api/v0/block/put", post(put))
}

/// <https://specs.ipfs.tech/http-gateways/trustless-gateway/>, `format=raw` only.
async fn block(State(face): Shared, Path(text): Path<String>) -> Result<Response, Response> {
    let cid = Cid::try_from(text.as_str()).map_err(|error| failure(StatusCode::BAD_REQUEST, 3, error))?;
    let found = blocking(move || Ok(face.node.get_block(&cid))).await?;
    match found {
        Ok(bytes) => {
            let kind = (header::CONTENT_TYPE, "application/vnd.ipld.raw".to_owned());
            let forever = (header::CACHE_CONTROL, "public, max-age=29030400, immutable".to_owned());
            Ok(([kind, forever, (header::ETAG, format!("\"{cid}.raw\""))], bytes).into_response())
        }
        Err(error @ StoreError::Missing(_)) => Err(failure(StatusCode::NOT_FOUND, 5, error)),
        Err(error) => Err(failure(StatusCode::SERVICE_UNAVAILABLE, 14, error)),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Put {
    cid_codec: String,
    mhtype: Option<String>,
}

/// Stores every part of the form; answers a line of JSON for each, as Kubo does.
async fn put(State(face): Shared, Query(asked): Query<Put>, mut form: Multipart) -> Result<Response, Response> {
    let invalid = |message: String| failure(StatusCode::BAD_REQUEST, 3, message);
    let codec = Codec::ALL.into_iter().find(|codec| codec.name() == asked.cid_codec);
    let codec = codec.ok_or_else(|| invalid(format!("cid-codec {}", asked.cid_codec)))?;
    if asked.mhtype.is_some_and(|hash| hash != "sha2-256") {
        return Err(invalid("only sha2-256 is taken".to_owned()));
    }
    let mut blocks = Vec::new();
    while let Some(part) = form.next_field().await.map_err(|error| invalid(error.to_string()))? {
        let bytes = part.bytes().await.map_err(|error| invalid(error.to_string()))?;
        blocks.push(Block::new(codec, bytes.to_vec()).map_err(|error| invalid(error.to_string()))?);
    }
    let lines: String = blocks
        .iter()
        .map(|block| format!("{}\n", json!({ "Key": block.cid().to_string(), "Size": block.bytes().len() })))
        .collect();
    blocking(move || face.node.blocks().put(&blocks)).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], lines).into_response())
}
