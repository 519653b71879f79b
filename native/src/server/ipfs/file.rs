//! `add` and `cat`: files as UnixFS.

use super::{BATCH_BYTES, Peer, Refusal, Shared, block::lines, options::Flag, options::Options, stream};
use axum::{
    extract::{Multipart, State, multipart::Field},
    response::Response,
};
use r3mes_wgpu::store::{
    Block,
    unixfs::{FileBuilder, FileLayout, FilePart, FileReader},
};
use serde_json::json;

/// Most letters of a file's name that are answered.
const MAX_NAME: usize = 255;

/// Adds every file of the form, and pins it unless told otherwise. As Kubo's `add --cid-version=1`, which must be said,
/// because CIDs of version 0 are not made here.
pub(super) async fn add(State(peer): Shared, options: Options, mut form: Multipart) -> Result<Response, Refusal> {
    if options.text("cid-version") != Some("1") {
        return Err(Refusal::bad("CIDs of version 0 are not made here; pass cid-version=1"));
    }
    let limited =
        [("raw-leaves", "true"), ("hash", "sha2-256"), ("trickle", "false"), ("wrap-with-directory", "false")];
    limited.iter().try_for_each(|(name, value)| options.only(name, value))?;
    let layout = layout(&options)?;
    let (pin, hash_only) = (options.flag("pin", Flag::On)?, options.flag("only-hash", Flag::Off)?);
    if (pin, hash_only) == (Flag::On, Flag::Off) {
        peer.only_owner()?;
    }
    let mut told = Vec::new();
    while let Some(file) = form.next_field().await.map_err(Refusal::bad)? {
        let name: Option<String> = file.file_name().map(|name| name.chars().take(MAX_NAME).collect());
        let FilePart { cid, blocks, .. } = write(&peer, layout, hash_only, file).await?;
        if (pin, hash_only) == (Flag::On, Flag::Off) {
            peer.with(move |store| store.pin(&cid)).await?;
        }
        let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| cid.to_string());
        told.push(json!({ "Name": name, "Hash": cid.to_string(), "Size": blocks.to_string() }));
    }
    Ok(lines(told.into_iter()))
}

async fn write(peer: &Peer, layout: FileLayout, hash_only: Flag, mut file: Field<'_>) -> Result<FilePart, Refusal> {
    let (mut builder, mut waiting) = (FileBuilder::new(layout), Vec::new());
    while let Some(piece) = file.chunk().await.map_err(Refusal::bad)? {
        builder.push(&piece, &mut waiting)?;
        if waiting.iter().map(|block: &Block| block.bytes().len()).sum::<usize>() >= BATCH_BYTES {
            store(peer, hash_only, std::mem::take(&mut waiting)).await?;
        }
    }
    let root = builder.finish(&mut waiting)?;
    store(peer, hash_only, waiting).await?;
    Ok(root)
}

async fn store(peer: &Peer, hash_only: Flag, blocks: Vec<Block>) -> Result<(), Refusal> {
    match hash_only {
        Flag::On => Ok(()),
        Flag::Off => peer.with(move |store| store.put(&blocks)).await,
    }
}

fn layout(options: &Options) -> Result<FileLayout, Refusal> {
    let chunk = options.text("chunker").map_or(Some(262_144), |chunker| chunker.strip_prefix("size-")?.parse().ok());
    let chunk = chunk.ok_or_else(|| Refusal::bad("chunker: size- and a number of bytes is meant"))?;
    Ok(FileLayout::new(chunk, options.number("max-file-links")?.unwrap_or(174))?)
}

/// A file's bytes, or those from `offset` on, at most `length` of them.
pub(super) async fn cat(State(peer): Shared, options: Options) -> Result<Response, Refusal> {
    let (root, start) = (options.cid()?, options.number("offset")?.unwrap_or(0));
    let length = options.number::<u64>("length")?.unwrap_or(u64::MAX);
    stream::file(peer.store.clone(), FileReader::new(root, start..start.saturating_add(length))).await
}
