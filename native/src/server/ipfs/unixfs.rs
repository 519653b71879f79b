//! The commands `add` and `cat` of Kubo's RPC, which store and return UnixFS files.

use super::{
    block::lines,
    error::IpfsError,
    query::{Flag, KuboQuery},
    state::{BATCH_BYTES, IpfsState, SharedIpfs},
    stream,
};
use axum::{
    extract::{Multipart, State, multipart::Field},
    response::Response,
};
use r3mes_wgpu::store::{
    Block,
    unixfs::{FileBuilder, FileLayout, FilePart, FileReader},
};
use serde_json::json;

/// The maximum length, in characters, of a file name in a response. Longer names are cut off.
const MAX_NAME: usize = 255;

/// Stores each file of the multipart form, and pins it unless the request has the option `pin=false`. The client must
/// pass `cid-version=1`, because this node creates no CIDs of version 0.
pub(super) async fn add(State(ipfs): SharedIpfs, query: KuboQuery, mut form: Multipart) -> Result<Response, IpfsError> {
    if query.text("cid-version") != Some("1") {
        return Err(IpfsError::bad("this node makes no CIDs of version 0; pass cid-version=1"));
    }
    let limited =
        [("raw-leaves", "true"), ("hash", "sha2-256"), ("trickle", "false"), ("wrap-with-directory", "false")];
    limited.iter().try_for_each(|(name, value)| query.only(name, value))?;
    let layout = layout(&query)?;
    let (pin, hash_only) = (query.flag("pin", Flag::On)?, query.flag("only-hash", Flag::Off)?);
    if (pin, hash_only) == (Flag::On, Flag::Off) {
        ipfs.only_owner()?;
    }
    let mut results = Vec::new();
    while let Some(file) = form.next_field().await.map_err(IpfsError::bad)? {
        let name: Option<String> = file.file_name().map(|name| name.chars().take(MAX_NAME).collect());
        let FilePart { cid, blocks, .. } = write(&ipfs, layout, hash_only, file).await?;
        if (pin, hash_only) == (Flag::On, Flag::Off) {
            ipfs.with(move |store| store.pin(&cid)).await?;
        }
        let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| cid.to_string());
        results.push(json!({ "Name": name, "Hash": cid.to_string(), "Size": blocks.to_string() }));
    }
    Ok(lines(results.into_iter()))
}

/// Stores a file as UnixFS blocks and returns its root. If `hash_only` is on, stores nothing and only computes the
/// root.
async fn write(
    ipfs: &IpfsState,
    layout: FileLayout,
    hash_only: Flag,
    mut file: Field<'_>,
) -> Result<FilePart, IpfsError> {
    let (mut builder, mut pending) = (FileBuilder::new(layout), Vec::new());
    while let Some(piece) = file.chunk().await.map_err(IpfsError::bad)? {
        builder.push(&piece, &mut pending)?;
        if pending.iter().map(|block: &Block| block.bytes().len()).sum::<usize>() >= BATCH_BYTES {
            store(ipfs, hash_only, std::mem::take(&mut pending)).await?;
        }
    }
    let root = builder.finish(&mut pending)?;
    store(ipfs, hash_only, pending).await?;
    Ok(root)
}

async fn store(ipfs: &IpfsState, hash_only: Flag, blocks: Vec<Block>) -> Result<(), IpfsError> {
    match hash_only {
        Flag::On => Ok(()),
        Flag::Off => ipfs.with(move |store| store.put(&blocks)).await,
    }
}

fn layout(query: &KuboQuery) -> Result<FileLayout, IpfsError> {
    let chunk = query.text("chunker").map_or(Some(262_144), |chunker| chunker.strip_prefix("size-")?.parse().ok());
    let chunk =
        chunk.ok_or_else(|| IpfsError::bad("chunker: expected size-N for chunks of N bytes, such as size-262144"))?;
    Ok(FileLayout::new(chunk, query.number("max-file-links")?.unwrap_or(174))?)
}

/// Returns the contents of a file: at most `length` bytes, beginning at the byte `offset`.
pub(super) async fn cat(State(ipfs): SharedIpfs, query: KuboQuery) -> Result<Response, IpfsError> {
    let (root, start) = (query.cid()?, query.number("offset")?.unwrap_or(0));
    let length = query.number::<u64>("length")?.unwrap_or(u64::MAX);
    stream::file(ipfs.store.clone(), FileReader::new(root, start..start.saturating_add(length))).await
}
