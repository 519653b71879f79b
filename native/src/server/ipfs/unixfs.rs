//! The commands `add` and `cat` of Kubo's RPC, which store and return UnixFS files.

use super::{
    block::lines,
    error::IpfsError,
    owner::Caller,
    query::{Flag, KuboQuery},
    state::{Batch, IpfsState, SharedIpfs},
    stream,
    upload::Upload,
};
use crate::server::peer::Client;
use axum::{extract::State, response::Response};
use r3mes_wgpu::store::{
    Block, Cid,
    unixfs::{FileBuilder, FileLayout, FilePart, FileReader},
};
use serde_json::json;

/// The maximum length, in characters, of a file name in a response. Longer names are cut off.
const MAX_NAME: usize = 255;

/// Stores each file of the multipart form. If the node's owner has sent the request, also pins each file, unless the
/// request has the option `pin=false`.
pub(super) async fn add(
    State(ipfs): SharedIpfs,
    caller: Caller,
    query: KuboQuery,
    mut upload: Upload,
) -> Result<Response, IpfsError> {
    query.options(&[
        "chunker",
        "cid-version",
        "hash",
        "max-file-links",
        "only-hash",
        "pin",
        "raw-leaves",
        "trickle",
        "wrap-with-directory",
    ])?;
    [("hash", "sha2-256"), ("trickle", "false"), ("wrap-with-directory", "false")]
        .iter()
        .try_for_each(|(name, value)| query.only(name, value))?;
    let (layout, only_hash) = (layout(&query)?, query.flag("only-hash", Flag::Off)? == Flag::On);
    let pins = !only_hash && caller.pins(&query, "pin", Flag::On)? == Flag::On;
    let client = upload.client();
    // the blocks of small files are stored together, because each transaction of the store waits for the disk
    let (mut batch, mut added) = (Batch::default(), Vec::new());
    while let Some(mut file) = upload.next_file().await? {
        let name: Option<String> = file.name().map(|name| name.chars().take(MAX_NAME).collect());
        if name.as_ref().is_some_and(|name| name.contains('/') || name.contains("%2F")) {
            return Err(IpfsError::bad("folders are not supported; add each file by itself, with a name without /"));
        }
        let mut builder = FileBuilder::new(layout);
        while let Some(piece) = file.next_piece().await? {
            builder.push(&piece, &mut batch.blocks)?;
            if batch.is_full() {
                store(&ipfs, &caller, client, only_hash, batch.take()).await?;
            }
        }
        added.push((name, builder.finish(&mut batch.blocks)?));
    }
    store(&ipfs, &caller, client, only_hash, batch.take()).await?;
    if pins {
        let roots: Vec<Cid> = added.iter().map(|(_, file)| file.cid).collect();
        ipfs.with(move |store| store.pin_all(&roots)).await?;
    }
    let results = added.into_iter().map(|(name, FilePart { cid, blocks, .. })| {
        let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| cid.to_string());
        json!({ "Name": name, "Hash": cid.to_string(), "Size": blocks.to_string() })
    });
    Ok(lines(results))
}

/// Stores the blocks of an uploaded file. Does nothing if `only_hash` is true, because the client then asks only for
/// the CID of the file.
async fn store(
    ipfs: &IpfsState,
    caller: &Caller,
    client: Client,
    only_hash: bool,
    blocks: Vec<Block>,
) -> Result<(), IpfsError> {
    if only_hash { Ok(()) } else { ipfs.store(caller, client, blocks).await }
}

/// Returns the layout of the tree of blocks in which `add` stores a file. As in Kubo, CIDs have version 0 by default.
/// The request can state whether the leaves of the tree are raw blocks or UnixFS nodes. By default, they are UnixFS
/// nodes if CIDs have version 0, and raw blocks if CIDs have version 1.
fn layout(query: &KuboQuery) -> Result<FileLayout, IpfsError> {
    let chunk = query.text("chunker").map_or(Some(262_144), |chunker| chunker.strip_prefix("size-")?.parse().ok());
    let chunk = chunk.ok_or_else(|| {
        IpfsError::bad("chunker: the value must be size-N for chunks of N bytes, such as size-262144")
    })?;
    let layout = FileLayout::new(chunk, query.number("max-file-links")?.unwrap_or(174))?;
    let (layout, raw_leaves) = match query.text("cid-version") {
        None | Some("0") => (layout.with_version_0(), Flag::Off),
        Some("1") => (layout, Flag::On),
        Some(other) => return Err(IpfsError::bad(format!("cid-version={other}: the value must be 0 or 1"))),
    };
    let raw_leaves = query.flag("raw-leaves", raw_leaves)? == Flag::On;
    Ok(if raw_leaves { layout } else { layout.with_node_leaves() })
}

/// Returns the contents of a file: at most `length` bytes, beginning at the byte `offset`.
pub(super) async fn cat(State(ipfs): SharedIpfs, query: KuboQuery) -> Result<Response, IpfsError> {
    query.options(&["offset", "length"])?;
    let (root, start) = (query.cid()?, query.number("offset")?.unwrap_or(0));
    let length = query.number::<u64>("length")?.unwrap_or(u64::MAX);
    stream::file(ipfs.store.clone(), FileReader::new(root, start..start.saturating_add(length))).await
}
