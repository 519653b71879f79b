//! Streamed responses. The blocks of a response are read from disk a few at a time, as fast as the client receives
//! them.

use super::error::IpfsError;
use crate::blocks::BlockStore;
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

/// The blocks of a CAR file are collected until their total size reaches this number of bytes, and are then sent as one
/// piece. Sending each block separately would be slow, because an artifact has many small blocks.
const PIECE_BYTES: usize = 64 << 10;
/// The maximum number of pieces that wait in memory if the client reads slowly.
const BUFFERED_PIECES: usize = 2;

/// Streams a CAR file with the root `root` and the blocks whose CIDs are in `order`. If a block is deleted before it is
/// sent, the response ends early with an error.
pub(super) fn car(store: Arc<BlockStore>, root: Cid, order: Vec<Cid>) -> Response {
    let body = body(async move |send| {
        let mut piece = car_header(root);
        for cid in order {
            piece.extend(car_section(&Block::check(cid, get(&store, cid).await?)?));
            if piece.len() >= PIECE_BYTES && send.send(Ok(take(&mut piece).into())).await.is_err() {
                return Ok(());
            }
        }
        // sending fails only if the client has disconnected
        let _ = send.send(Ok(piece.into())).await;
        Ok(())
    });
    ([(header::CONTENT_TYPE, CAR_CONTENT_TYPE)], body).into_response()
}

/// Streams the contents of a file. The first piece is read before the response starts, so that the client receives an
/// error response if the CID does not belong to a file.
pub(super) async fn file(store: Arc<BlockStore>, mut reader: FileReader) -> Result<Response, IpfsError> {
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

/// Returns the next bytes of a file, or `None` at the end of the file.
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

/// Returns a response body whose pieces are received from a channel. A background task runs `write`, an asynchronous
/// function that sends the pieces through the channel. If `write` fails, the body ends early with an error.
fn body<F>(write: impl FnOnce(Sender<io::Result<Bytes>>) -> F) -> Body
where
    F: Future<Output = Result<(), StoreError>> + Send + 'static,
{
    let (send, receive) = channel(BUFFERED_PIECES);
    let writing = write(send.clone());
    tokio::spawn(async move {
        if let Err(error) = writing.await {
            // sending fails only if the client has disconnected
            let _ = send.send(Err(io::Error::other(error))).await;
        }
    });
    Body::from_stream(ReceiverStream::new(receive))
}
