//! The state that all HTTP request handlers share, and the error responses that they return.

use super::task_cids::TaskCids;
use crate::{clock::unix_seconds, consensus::CometRpc, database::is_of_database, node::Node};
use anyhow::Result;
use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use r3mes_wgpu::{
    ledger::{Ledger, Refusal},
    tx::{TxError, canonical_address},
};
use serde_json::json;
use std::{fmt::Display, net::SocketAddr, path::PathBuf, sync::Arc, time::Instant};
use tokio::sync::Semaphore;
use tracing::error;

/// The settings of a node's HTTP server.
pub(crate) struct ServerSettings {
    /// The TCP address on which the server listens.
    pub(crate) listen: SocketAddr,
    /// The data folder, which contains the file with the owner's token.
    pub(crate) folder: PathBuf,
    /// The model's folder, which contains `config.json` and `model.safetensors`.
    pub(crate) model: PathBuf,
    /// The folder of the built mining page. It need not exist when the server starts.
    pub(crate) page: PathBuf,
    /// The origins of other websites whose pages may send requests to the node and embed `embed.html`.
    pub(crate) origins: Vec<HeaderValue>,
    /// A client of the CometBFT process that produces the blocks, or `None` if this node produces them itself.
    pub(crate) engine: Option<CometRpc>,
}

/// The state that the HTTP server keeps between requests.
pub(super) struct AppState {
    pub(super) node: Arc<Node>,
    pub(super) settings: ServerSettings,
    /// The time at which the server started. The uptime that the server reports is measured from this time.
    pub(super) start: Instant,
    pub(super) task_cids: TaskCids,
    /// A semaphore that limits how many queries of the ledger run at the same time: as many as there are cores.
    pub(super) queries: Semaphore,
}

/// The shared state as an axum extractor: an argument of the request handlers.
pub(super) type SharedApp = State<Arc<AppState>>;

impl AppState {
    /// Runs a query of the ledger, in its state after the last block, on a separate thread. If as many queries are
    /// running as there are cores, first waits for one of them.
    pub(super) async fn query<T: Send + 'static>(
        self: Arc<Self>,
        query: impl FnOnce(&Self, &Ledger) -> Result<T> + Send + 'static,
    ) -> Result<T, Response> {
        let app = self.clone();
        let _permit = self.queries.acquire().await;
        blocking(move || query(&app, &app.ledger())).await
    }

    /// Returns the ledger in its state after the last block.
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

/// Logs an internal error, and returns a response that does not contain the error's details. If the database or its
/// disk has caused the error, the response has the HTTP status 503 (Service Unavailable), after which clients try
/// again.
pub(super) fn internal_error(error: anyhow::Error) -> Response {
    error!(error = %format_args!("{error:#}"), "request failed");
    if is_of_database(&error) {
        return failure(StatusCode::SERVICE_UNAVAILABLE, 14, "the node cannot use its disk now; try again later");
    }
    failure(StatusCode::INTERNAL_SERVER_ERROR, 13, "the ledger could not be read; the node's log has the reason")
}

/// Runs `work` on a separate thread. Handlers use this for work that waits for the disk or keeps a core busy, so that
/// other requests are not delayed.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T, Response> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(internal_error),
        Err(error) => Err(internal_error(error.into())),
    }
}

/// The error of a request that contains an invalid address. Request handlers convert it to an error response with the
/// operator `?`.
pub(super) struct InvalidAddress(TxError);

impl From<InvalidAddress> for Response {
    fn from(InvalidAddress(error): InvalidAddress) -> Self {
        failure(StatusCode::BAD_REQUEST, 3, error)
    }
}

/// Reads an address in a request. Returns it in lower case, or an error if it is not an address of this chain.
pub(super) fn read_address(text: &str) -> Result<String, InvalidAddress> {
    canonical_address(text).map_err(InvalidAddress)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::{memory, node};
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        thread,
        time::Duration,
    };

    #[test]
    fn at_most_as_many_queries_run_at_the_same_time_as_are_permitted() {
        const PERMITTED: usize = 3;
        static RUNNING: AtomicUsize = AtomicUsize::new(0);
        static LARGEST: AtomicUsize = AtomicUsize::new(0);
        let settings = ServerSettings {
            listen: ([127, 0, 0, 1], 0).into(),
            folder: PathBuf::new(),
            model: PathBuf::new(),
            page: PathBuf::new(),
            origins: Vec::new(),
            engine: None,
        };
        let app = Arc::new(AppState {
            node: Arc::new(node(memory()).unwrap()),
            settings,
            start: Instant::now(),
            task_cids: TaskCids::default(),
            queries: Semaphore::new(PERMITTED),
        });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let queries: Vec<_> = (0..4 * PERMITTED)
            .map(|_| {
                runtime.spawn(app.clone().query(|_, _| {
                    let running = RUNNING.fetch_add(1, Ordering::SeqCst) + 1;
                    LARGEST.fetch_max(running, Ordering::SeqCst);
                    thread::sleep(Duration::from_millis(20));
                    RUNNING.fetch_sub(1, Ordering::SeqCst);
                    Ok(())
                }))
            })
            .collect();
        queries.into_iter().for_each(|query| runtime.block_on(query).unwrap().unwrap());
        assert_eq!(LARGEST.load(Ordering::SeqCst), PERMITTED);
    }
}
