//! The commands `block/put`, `block/get` and `block/stat` of Kubo's RPC.

use super::{
    error::IpfsError,
    query::{Flag, KuboQuery},
    state::SharedIpfs,
};
use crate::blocks::BlockStore;
use axum::{
    Json,
    extract::{Multipart, State},
    http::header,
    response::{IntoResponse, Response},
};
use r3mes_wgpu::store::{Block, Codec, MAX_BLOCK_BYTES};
use serde_json::{Value, json};

/// The maximum total size, in bytes, of the blocks in one request. All of them are held in memory.
const MAX_PUT_BYTES: usize = 16 << 20;

/// Stores each file of the multipart form as one block. If an error occurs, stores none of them. The response has one
/// line of JSON per file.
pub(super) async fn put(State(ipfs): SharedIpfs, query: KuboQuery, form: Multipart) -> Result<Response, IpfsError> {
    let options = || {
        let name = query.text("cid-codec").unwrap_or("raw");
        let codec = Codec::ALL.into_iter().find(|codec| codec.name() == name);
        let expected = || IpfsError::bad(format!("cid-codec={name}: expected raw, dag-cbor or dag-pb"));
        let codec = codec.ok_or_else(expected)?;
        query.only("mhtype", "sha2-256")?;
        let pin = query.flag("pin", Flag::Off)?;
        if pin == Flag::On {
            ipfs.only_owner()?;
        }
        Ok::<_, IpfsError>((codec, pin))
    };
    // the files are read even if an option is invalid, because a client that is still sending may miss the response
    let (options, files) = (options(), files(form).await);
    let (codec, pin) = options?;
    let blocks = files?.into_iter().map(|bytes| Block::new(codec, bytes)).collect::<Result<Vec<_>, _>>()?;
    let lines =
        lines(blocks.iter().map(|block| json!({ "Key": block.cid().to_string(), "Size": block.bytes().len() })));
    let store = move |store: &BlockStore| {
        store.put(&blocks)?;
        let pinned = if pin == Flag::On { &blocks[..] } else { &[] };
        pinned.iter().try_for_each(|block| store.pin(&block.cid()))
    };
    ipfs.with(store).await?;
    Ok(lines)
}

/// Returns the bytes of each file of a multipart form.
async fn files(mut form: Multipart) -> Result<Vec<Vec<u8>>, IpfsError> {
    let (mut files, mut left) = (Vec::new(), MAX_PUT_BYTES);
    while let Some(mut file) = form.next_field().await.map_err(IpfsError::bad)? {
        let mut bytes = Vec::new();
        while let Some(piece) = file.chunk().await.map_err(IpfsError::bad)? {
            let too_much = || IpfsError::bad(format!("the blocks in the request exceed {MAX_PUT_BYTES} bytes"));
            left = left.checked_sub(piece.len()).ok_or_else(too_much)?;
            if bytes.len() + piece.len() > MAX_BLOCK_BYTES {
                return Err(IpfsError::bad(format!("a block exceeds the limit of {MAX_BLOCK_BYTES} bytes")));
            }
            bytes.extend_from_slice(&piece);
        }
        files.push(bytes);
    }
    Ok(files)
}

/// Returns the bytes of the block whose CID is the command's argument.
pub(super) async fn get(State(ipfs): SharedIpfs, query: KuboQuery) -> Result<Response, IpfsError> {
    let cid = query.cid()?;
    let bytes = ipfs.with(move |store| Ok(store.get(&cid)?)).await?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response())
}

/// Returns the size, in bytes, of the block whose CID is the command's argument.
pub(super) async fn stat(State(ipfs): SharedIpfs, query: KuboQuery) -> Result<Json<Value>, IpfsError> {
    let cid = query.cid()?;
    let size = ipfs.with(move |store| Ok(store.size(&cid)?)).await?;
    Ok(Json(json!({ "Key": cid.to_string(), "Size": size })))
}

/// Returns a response with one JSON value per line, which is Kubo's format for streamed results.
pub(super) fn lines(values: impl Iterator<Item = Value>) -> Response {
    let lines: String = values.map(|value| format!("{value}\n")).collect();
    ([(header::CONTENT_TYPE, "application/json")], lines).into_response()
}
