//! The commands `dag/import` and `dag/export` of Kubo's RPC, which transfer DAGs as CAR files.

use super::{
    block::lines,
    error::IpfsError,
    query::{Flag, KuboQuery},
    state::{BATCH_BYTES, SharedIpfs},
    stream,
};
use axum::{
    extract::{Multipart, State},
    response::Response,
};
use r3mes_wgpu::store::{Block, CarReader, MAX_CAR_BYTES};
use serde_json::json;

/// Stores the blocks of uploaded CAR files as they arrive, and checks each block against its CID. Then pins the roots
/// of the files, unless the request has the option `pin-roots=false`.
pub(super) async fn import(
    State(ipfs): SharedIpfs,
    query: KuboQuery,
    mut form: Multipart,
) -> Result<Response, IpfsError> {
    let pin = query.flag("pin-roots", Flag::On)?;
    if pin == Flag::On {
        ipfs.only_owner()?;
    }
    let (mut roots, mut count, mut bytes) = (Vec::new(), 0usize, 0usize);
    while let Some(mut file) = form.next_field().await.map_err(IpfsError::bad)? {
        let (mut reader, mut pending) = (CarReader::new(MAX_CAR_BYTES), Vec::new());
        loop {
            let piece = file.chunk().await.map_err(IpfsError::bad)?;
            if let Some(piece) = &piece {
                reader.push(piece, &mut pending)?;
            }
            let pending_bytes: usize = pending.iter().map(|block: &Block| block.bytes().len()).sum();
            if piece.is_none() || pending_bytes >= BATCH_BYTES {
                count += pending.len();
                bytes += pending_bytes;
                let batch = std::mem::take(&mut pending);
                ipfs.with(move |store| store.put(&batch)).await?;
            }
            if piece.is_none() {
                break;
            }
        }
        roots.extend(reader.finish()?);
    }
    let mut results = Vec::new();
    if pin == Flag::On {
        for root in roots {
            let error = match ipfs.with(move |store| store.pin(&root)).await {
                Ok(()) => String::new(),
                Err(error) => error.to_string(),
            };
            results.push(json!({ "Root": { "Cid": { "/": root.to_string() }, "PinErrorMsg": error } }));
        }
    }
    if query.flag("stats", Flag::Off)? == Flag::On {
        results.push(json!({ "Stats": { "BlockCount": count, "BlockBytesCount": bytes } }));
    }
    Ok(lines(results.into_iter()))
}

/// Returns the DAG under a root CID as one CAR file.
pub(super) async fn export(State(ipfs): SharedIpfs, query: KuboQuery) -> Result<Response, IpfsError> {
    let root = query.cid()?;
    let order = ipfs.with(move |store| store.dag(&root)).await?;
    Ok(stream::car(ipfs.store.clone(), root, order))
}
