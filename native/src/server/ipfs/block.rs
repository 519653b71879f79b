//! The commands `block/put`, `block/get` and `block/stat` of Kubo's RPC.

use super::{
    error::IpfsError,
    owner::Caller,
    query::{Flag, KuboQuery},
    state::SharedIpfs,
    upload::Upload,
};
use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use r3mes_wgpu::store::{Block, Cid, Codec, MAX_BLOCK_BYTES};
use serde_json::{Value, json};

/// The maximum total size, in bytes, of the blocks in one request. All of them are held in memory.
const MAX_PUT_BYTES: usize = 16 << 20;

/// Stores each file of the multipart form as one block. If an error occurs, stores none of them. The response has one
/// line of JSON per file.
pub(super) async fn put(
    State(ipfs): SharedIpfs,
    caller: Caller,
    query: KuboQuery,
    mut upload: Upload,
) -> Result<Response, IpfsError> {
    let options = || {
        query.options(&["cid-codec", "format", "mhtype", "mhlen", "pin", "version"])?;
        query.only("mhtype", "sha2-256")?;
        if !matches!(query.text("mhlen"), None | Some("-1" | "32")) {
            return Err(IpfsError::bad("mhlen: only 32 is supported"));
        }
        let codec = block_format(&query)?;
        Ok::<_, IpfsError>((codec, caller.pins(&query, "pin", Flag::Off)?))
    };
    // the files are read even if an option is invalid, because a client that is still sending may miss the response
    let (options, files) = (options(), files(&mut upload).await);
    let ((codec, is_version_0), pin) = options?;
    let block = |bytes| Block::new(codec, bytes).map(|block| if is_version_0 { block.with_version_0() } else { block });
    let blocks = files?.into_iter().map(block).collect::<Result<Vec<_>, _>>()?;
    let lines =
        lines(blocks.iter().map(|block| json!({ "Key": block.cid().to_string(), "Size": block.bytes().len() })));
    let cids: Vec<Cid> = blocks.iter().map(Block::cid).collect();
    ipfs.store(&caller, upload.client(), blocks).await?;
    if pin == Flag::On {
        ipfs.with(move |store| store.pin_all(&cids)).await?;
    }
    Ok(lines)
}

/// Returns the codec of the blocks that a request `block/put` stores, and whether their CIDs have version 0. The
/// request states the codec in the option `cid-codec` or in the older option `format`. Some codecs have different names
/// in the two options.
fn block_format(query: &KuboQuery) -> Result<(Codec, bool), IpfsError> {
    let name = match (query.text("cid-codec"), query.text("format")) {
        (Some(_), Some(_)) => return Err(IpfsError::bad("cid-codec and format exclude each other")),
        (codec, format) => codec.or(format).unwrap_or("raw"),
    };
    let (name, is_version_0) = match name {
        "v0" => ("dag-pb", true),
        "protobuf" => ("dag-pb", false),
        "cbor" => ("dag-cbor", false),
        name => (name, query.text("version") == Some("0")),
    };
    let codec = Codec::ALL.into_iter().find(|codec| codec.name() == name);
    let codec =
        codec.ok_or_else(|| IpfsError::bad(format!("the codec is {name}, but must be raw, dag-cbor or dag-pb")))?;
    match is_version_0 && codec != Codec::DagPb {
        true => Err(IpfsError::bad(format!("a CID of version 0 cannot state the codec {name}; pass version=1"))),
        false => Ok((codec, is_version_0)),
    }
}

/// Returns the bytes of each file of a multipart form.
async fn files(upload: &mut Upload) -> Result<Vec<Vec<u8>>, IpfsError> {
    let (mut files, mut left) = (Vec::new(), MAX_PUT_BYTES);
    while let Some(mut file) = upload.next_file().await? {
        let mut bytes = Vec::new();
        while let Some(piece) = file.next_piece().await? {
            let too_much =
                || IpfsError::bad(format!("the blocks in the request exceed {MAX_PUT_BYTES} bytes in total"));
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
    query.options(&[])?;
    let cid = query.cid()?;
    let bytes = ipfs.with(move |store| Ok(store.get(&cid)?)).await?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response())
}

/// Returns the size, in bytes, of the block whose CID is the command's argument.
pub(super) async fn stat(State(ipfs): SharedIpfs, query: KuboQuery) -> Result<Json<Value>, IpfsError> {
    query.options(&[])?;
    let cid = query.cid()?;
    let size = ipfs.with(move |store| Ok(store.size(&cid)?)).await?;
    Ok(Json(json!({ "Key": cid.to_string(), "Size": size })))
}

/// Returns a response with one JSON value per line, which is Kubo's format for streamed results.
pub(super) fn lines(values: impl Iterator<Item = Value>) -> Response {
    let lines: String = values.map(|value| format!("{value}\n")).collect();
    ([(header::CONTENT_TYPE, "application/json")], lines).into_response()
}
