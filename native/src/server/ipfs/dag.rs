//! `dag/import` and `dag/export`: DAGs as CAR files.

use super::{BATCH_BYTES, Refusal, Shared, block::lines, options::Flag, options::Options, stream};
use axum::{
    extract::{Multipart, State},
    response::Response,
};
use r3mes_wgpu::store::{Block, CarReader, MAX_CAR_BYTES};
use serde_json::json;

/// Stores every block of the files as they come, each checked; pins the roots unless told otherwise.
pub(super) async fn import(State(peer): Shared, options: Options, mut form: Multipart) -> Result<Response, Refusal> {
    let pin = options.flag("pin-roots", Flag::On)?;
    if pin == Flag::On {
        peer.only_owner()?;
    }
    let (mut roots, mut count, mut bytes) = (Vec::new(), 0usize, 0usize);
    while let Some(mut file) = form.next_field().await.map_err(Refusal::bad)? {
        let (mut reader, mut waiting) = (CarReader::new(MAX_CAR_BYTES), Vec::new());
        loop {
            let piece = file.chunk().await.map_err(Refusal::bad)?;
            if let Some(piece) = &piece {
                reader.push(piece, &mut waiting)?;
            }
            let waiting_bytes: usize = waiting.iter().map(|block: &Block| block.bytes().len()).sum();
            if piece.is_none() || waiting_bytes >= BATCH_BYTES {
                count += waiting.len();
                bytes += waiting_bytes;
                let batch = std::mem::take(&mut waiting);
                peer.with(move |store| store.put(&batch)).await?;
            }
            if piece.is_none() {
                break;
            }
        }
        roots.extend(reader.finish()?);
    }
    let mut told = Vec::new();
    if pin == Flag::On {
        for root in roots {
            let error = match peer.with(move |store| store.pin(&root)).await {
                Ok(()) => String::new(),
                Err(refusal) => refusal.to_string(),
            };
            told.push(json!({ "Root": { "Cid": { "/": root.to_string() }, "PinErrorMsg": error } }));
        }
    }
    if options.flag("stats", Flag::Off)? == Flag::On {
        told.push(json!({ "Stats": { "BlockCount": count, "BlockBytesCount": bytes } }));
    }
    Ok(lines(told.into_iter()))
}

/// A DAG as one file.
pub(super) async fn export(State(peer): Shared, options: Options) -> Result<Response, Refusal> {
    let root = options.cid()?;
    let order = peer.with(move |store| store.whole(&root)).await?;
    Ok(stream::car(peer.store.clone(), root, order))
}
