//! The state that all handlers share, and the error responses that they return.

use crate::{clock::unix_seconds, consensus::CometRpc, node::Node};
use anyhow::Result;
use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use r3mes_wgpu::{
    ledger::{Ledger, Refusal},
    tx::TxError,
};
use serde_json::json;
use std::{fmt::Display, net::SocketAddr, path::PathBuf, sync::Arc, time::Instant};
use tracing::error;

/// The settings of a node's HTTP server.
pub(crate) struct ServerSettings {
    /// Address to listen on.
    pub(crate) listen: SocketAddr,
    /// Folder that contains `config.json` and `model.safetensors`.
    pub(crate) model: PathBuf,
    /// Folder that contains the built mining page. It need not exist yet.
    pub(crate) page: PathBuf,
    /// Origins of other websites whose pages may use the node.
    pub(crate) origins: Vec<HeaderValue>,
    /// The CometBFT process that produces the blocks, or `None` if this node produces them itself.
    pub(crate) engine: Option<CometRpc>,
}

/// The state of the HTTP server.
pub(super) struct AppState {
    pub(super) node: Arc<Node>,
    pub(super) settings: ServerSettings,
    /// Time at which the server started.
    pub(super) start: Instant,
}

/// The shared state, in the form in which handlers receive it.
pub(super) type SharedApp = State<Arc<AppState>>;

impl AppState {
    /// Returns the ledger after the last block.
    pub(super) fn ledger(&self) -> Ledger {
        self.node.ledger()
    }

    /// Submits a transaction to the node's mempool or to CometBFT. The inner error means that the transaction was
    /// refused. The outer error is any other failure, such as no response from CometBFT.
    pub(super) fn admit(&self, tx: Vec<u8>) -> Result<Result<(), Refusal>> {
        match &self.settings.engine {
            Some(engine) => engine.broadcast(&tx),
            None => Ok(self.node.admit(tx, unix_seconds())),
        }
    }
}

/// Returns an error response in the format of Cosmos nodes. `code` is a gRPC status code.
pub(super) fn failure(status: StatusCode, code: u32, message: impl Display) -> Response {
    (status, Json(json!({ "code": code, "message": message.to_string(), "details": [] }))).into_response()
}

/// Logs an internal error and returns a response without its details.
pub(super) fn internal_error(error: anyhow::Error) -> Response {
    error!(error = %format_args!("{error:#}"), "request failed");
    failure(StatusCode::INTERNAL_SERVER_ERROR, 13, "the ledger could not be read; the node's log has the reason")
}

/// Runs work that waits for the disk or keeps a core busy, on a thread for blocking work.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T, Response> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(internal_error),
        Err(error) => Err(internal_error(error.into())),
    }
}

/// Returns the response to a request that names an invalid address.
pub(super) fn invalid_address(error: TxError) -> Response {
    failure(StatusCode::BAD_REQUEST, 3, error)
}
