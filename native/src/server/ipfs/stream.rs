//! Long answers: some blocks at a time from the disk, as fast as the client reads.

use super::Refusal;
use crate::node::blocks::BlockStore;
use axum::{
    body::{Body, Bytes},
    http::header,
    response::{IntoResponse, Response},
};
use r3mes_wgpu::{
    client::blocks::CAR_CONTENT_TYPE,
    store::{Block, Cid, StoreError, car_header, car_section, unixfs::FileReader},
};
use std::{io, mem::take, sync::Arc};
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;

/// Bytes of a CAR that are sent together, a block more or less: each sending costs, and an artifact has many small blocks.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that wait for a slow client.
const WAITING: usize = 2;

/// The blocks `order`, of which `root` is the root, as a CAR. One that goes meanwhile breaks the answer off.
pub(super) fn car(store: Arc<BlockStore>, root: Cid, order: Vec<Cid>) -> Response {
    let body = body(async move |send| {
        let mut piece = car_header(root);
        for cid in order {
            piece.extend(car_section(&Block::check(cid, get(&store, cid).await?)?));
            if piece.len() >= PIECE_BYTES && send.send(Ok(take(&mut piece).into())).await.is_err() {
                return Ok(());
            }
        }
        // a client that left hears nothing
        let _ = send.send(Ok(piece.into())).await;
        Ok(())
    });
    ([(header::CONTENT_TYPE, CAR_CONTENT_TYPE)], body).into_response()
}

/// The bytes of a file. The first piece is there before anything is answered, so that what is no file is refused.
pub(super) async fn file(store: Arc<BlockStore>, mut reader: FileReader) -> Result<Response, Refusal> {
    let first = next(&store, &mut reader).await?;
    let body = body(async move |send| {
        let mut piece = first;
        while let Some(bytes) = piece {
            if send.send(Ok(bytes.into())).await.is_err() {
                break;
            }
            piece = next(&store, &mut reader).await?;
        }
        Ok(())
    });
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response())
}

/// The next bytes of a file; `None` at its end.
async fn next(store: &Arc<BlockStore>, reader: &mut FileReader) -> Result<Option<Vec<u8>>, StoreError> {
    while let Some(cid) = reader.next_block() {
        let bytes = reader.push_block(get(store, cid).await?)?;
        if !bytes.is_empty() {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

async fn get(store: &Arc<BlockStore>, cid: Cid) -> Result<Vec<u8>, StoreError> {
    let store = store.clone();
    let failed = |error: tokio::task::JoinError| StoreError::Unavailable { cid, reason: error.to_string().into() };
    tokio::task::spawn_blocking(move || store.get(&cid)).await.map_err(failed)?
}

/// A body that a task writes; where the task fails, the body breaks off.
fn body<F>(write: impl FnOnce(Sender<io::Result<Bytes>>) -> F) -> Body
where
    F: Future<Output = Result<(), StoreError>> + Send + 'static,
{
    let (send, receive) = channel(WAITING);
    let writing = write(send.clone());
    tokio::spawn(async move {
        if let Err(error) = writing.await {
            // a client that left hears nothing
            let _ = send.send(Err(io::Error::other(error))).await;
        }
    });
    Body::from_stream(ReceiverStream::new(receive))
}
