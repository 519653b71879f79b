//! The commands `dag/import` and `dag/export` of Kubo's RPC, which transfer DAGs as CAR files.

use super::{
    block::lines,
    error::IpfsError,
    owner::Caller,
    query::{Flag, KuboQuery},
    state::{Batch, SharedIpfs},
    stream,
    upload::Upload,
};
use axum::{extract::State, response::Response};
use r3mes_wgpu::store::{CarReader, MAX_CAR_BYTES};
use serde_json::json;

/// The maximum number of blocks in one upload. It limits uploads of many small blocks. If all blocks have the maximum
/// size of 1 MiB, the size limit of a CAR file is reached much earlier.
const MAX_BLOCKS: usize = 1 << 16;

/// Stores the blocks of uploaded CAR files as they arrive, and checks each block against its CID. Then pins the roots
/// of the files, unless the request has the option `pin-roots=false`.
pub(super) async fn import(
    State(ipfs): SharedIpfs,
    caller: Caller,
    query: KuboQuery,
    mut upload: Upload,
) -> Result<Response, IpfsError> {
    query.options(&["pin-roots", "stats"])?;
    let pin = caller.pins(&query, "pin-roots", Flag::On)?;
    let client = upload.client();
    let (mut results, mut roots) = (Vec::new(), Vec::new());
    let (mut count, mut bytes) = (0usize, 0usize);
    while let Some(mut file) = upload.next_file().await? {
        let (mut reader, mut batch) = (CarReader::new(MAX_CAR_BYTES).tolerant(), Batch::default());
        loop {
            let piece = file.next_piece().await?;
            if let Some(piece) = &piece {
                reader.push(piece, &mut batch.blocks)?;
            }
            if piece.is_none() || batch.is_full() {
                let blocks = batch.take();
                count += blocks.len();
                bytes += blocks.iter().map(|block| block.bytes().len()).sum::<usize>();
                if count > MAX_BLOCKS {
                    return Err(IpfsError::bad(format!("an upload may have at most {MAX_BLOCKS} blocks")));
                }
                ipfs.store(&caller, client, blocks).await?;
            }
            if piece.is_none() {
                break;
            }
        }
        let reason = "blocks with this hash function cannot be checked, and are not stored";
        let skipped = reader.skipped().iter();
        results.extend(skipped.map(|cid| json!({ "Skipped": { "Cid": { "/": cid.to_string() }, "Reason": reason } })));
        roots.extend(reader.finish()?);
    }
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
    query.options(&[])?;
    let root = query.cid()?;
    let order = ipfs.with(move |store| store.dag(&root)).await?;
    Ok(stream::car(ipfs.store.clone(), root, order))
}
