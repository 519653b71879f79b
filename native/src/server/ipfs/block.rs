//! `block/put`, `block/get`, `block/stat`.

use super::{Refusal, Shared, options::Flag, options::Options};
use axum::{
    Json,
    extract::{Multipart, State},
    http::header,
    response::{IntoResponse, Response},
};
use r3mes_wgpu::store::{Block, Codec, MAX_BLOCK_BYTES};
use serde_json::{Value, json};

/// Most bytes of the blocks of one request, which are in memory together.
const MAX_PUT_BYTES: usize = 16 << 20;

/// Stores every file of the form, all or none; answers a line of JSON for each.
pub(super) async fn put(State(peer): Shared, options: Options, mut form: Multipart) -> Result<Response, Refusal> {
    let name = options.text("cid-codec").unwrap_or("raw");
    let codec = Codec::ALL.into_iter().find(|codec| codec.name() == name);
    let codec = codec.ok_or_else(|| Refusal::bad(format!("cid-codec={name}: raw, dag-cbor or dag-pb is meant")))?;
    options.only("mhtype", "sha2-256")?;
    let pin = options.flag("pin", Flag::Off)?;
    if pin == Flag::On {
        peer.only_owner()?;
    }
    let (mut blocks, mut left) = (Vec::new(), MAX_PUT_BYTES);
    while let Some(mut file) = form.next_field().await.map_err(Refusal::bad)? {
        let mut bytes = Vec::new();
        while let Some(piece) = file.chunk().await.map_err(Refusal::bad)? {
            let too_much = || Refusal::bad(format!("more than {MAX_PUT_BYTES} bytes of blocks in one request"));
            left = left.checked_sub(piece.len()).ok_or_else(too_much)?;
            if bytes.len() + piece.len() > MAX_BLOCK_BYTES {
                return Err(Refusal::bad(format!("a block exceeds the limit of {MAX_BLOCK_BYTES} bytes")));
            }
            bytes.extend_from_slice(&piece);
        }
        blocks.push(Block::new(codec, bytes)?);
    }
    let lines =
        lines(blocks.iter().map(|block| json!({ "Key": block.cid().to_string(), "Size": block.bytes().len() })));
    let store = move |store: &crate::node::blocks::BlockStore| {
        store.put(&blocks)?;
        let pinned = if pin == Flag::On { &blocks[..] } else { &[] };
        pinned.iter().try_for_each(|block| store.pin(&block.cid()))
    };
    peer.with(store).await?;
    Ok(lines)
}

/// The bytes of a block.
pub(super) async fn get(State(peer): Shared, options: Options) -> Result<Response, Refusal> {
    let cid = options.cid()?;
    let bytes = peer.with(move |store| Ok(store.get(&cid)?)).await?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response())
}

/// The length of a block.
pub(super) async fn stat(State(peer): Shared, options: Options) -> Result<Json<Value>, Refusal> {
    let cid = options.cid()?;
    let size = peer.with(move |store| Ok(store.size(&cid)?)).await?;
    Ok(Json(json!({ "Key": cid.to_string(), "Size": size })))
}

/// Values one a line, as Kubo streams them.
pub(super) fn lines(values: impl Iterator<Item = Value>) -> Response {
    let lines: String = values.map(|value| format!("{value}\n")).collect();
    ([(header::CONTENT_TYPE, "application/json")], lines).into_response()
}
