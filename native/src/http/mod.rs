//! The node's face: a Cosmos node's routes, an IPFS gateway's, and the page, on one port.
//!
//! Requests are answered from the ledger at once. Transactions wait in a queue and are settled one after the other by
//! one thread, since settling a submission means recomputing it.

mod blocks;
mod cosmos;
mod folder;
mod grants;
#[cfg_attr(not(test), expect(dead_code, reason = "the node keeps its blocks in its ledger until its next form"))]
pub(crate) mod ipfs;
pub(crate) mod origin;
mod page;
mod status;

use super::engine::Engine;
use super::node::{Node, transactions::Outcome};
use anyhow::{Context, Result};
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use r3mes_wgpu::chain::tx_hash;
use serde_json::json;
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};
use tokio::{net::TcpListener, sync::broadcast};
use tower_http::{compression::CompressionLayer, cors::CorsLayer};

/// Transactions that may wait.
const QUEUE: usize = 1024;
/// Outcomes that a slow listener may lag behind.
const EVENTS: usize = 256;
/// Most bytes of a request.
const MAX_BODY_BYTES: usize = 16 << 20;

/// What is served.
pub(crate) struct Settings {
    /// Where to listen.
    pub(crate) listen: SocketAddr,
    /// What signatures are bound to.
    pub(crate) chain_id: String,
    /// Folder with config.json and model.safetensors.
    pub(crate) model: PathBuf,
    /// Folder with the built page; it may come later.
    pub(crate) page: PathBuf,
    /// Origins of other sites whose pages may ask.
    pub(crate) origins: Vec<HeaderValue>,
    /// Micro-units that a transaction must pay, to be taken here.
    pub(crate) min_fee: u64,
}

/// What handlers share.
pub(crate) struct Face {
    node: Arc<Node<Engine>>,
    settings: Settings,
    queue: SyncSender<Vec<u8>>,
    /// Hashes of transactions in the queue.
    waiting: Mutex<BTreeSet<String>>,
    events: broadcast::Sender<Arc<Outcome>>,
    start: Instant,
}

type Shared = State<Arc<Face>>;

/// Listens and serves in threads of its own, for as long as the process lives; returns where.
pub(crate) fn serve(node: Arc<Node<Engine>>, settings: Settings) -> Result<SocketAddr> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let listen = settings.listen;
    let listener = runtime.block_on(TcpListener::bind(listen)).with_context(|| format!("listening on {listen}"))?;
    let address = listener.local_addr()?;
    let (queue, transactions) = sync_channel(QUEUE);
    let face = Arc::new(Face {
        node,
        settings: Settings { listen: address, ..settings },
        queue,
        waiting: Mutex::default(),
        events: broadcast::channel(EVENTS).0,
        start: Instant::now(),
    });
    let settle = face.clone();
    std::thread::Builder::new().name("transactions".into()).spawn(move || settle.settle(&transactions))?;
    let router = router(face);
    std::thread::Builder::new().name("http".into()).spawn(move || {
        if let Err(error) = runtime.block_on(async { axum::serve(listener, router).await }) {
            eprintln!("the node's HTTP face ended: {error}");
        }
    })?;
    Ok(address)
}

fn router(face: Arc<Face>) -> Router {
    let cors = CorsLayer::new()
        .allow_origin(face.settings.origins.clone())
        .allow_methods([axum::http::Method::GET, axum::http::Method::POST])
        .allow_headers([header::CONTENT_TYPE]);
    Router::new()
        .merge(cosmos::routes())
        .merge(grants::routes())
        .merge(blocks::routes())
        .merge(status::routes())
        .merge(page::routes(&face))
        .layer(CompressionLayer::new())
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn_with_state(face.clone(), only_known_hosts))
        .layer(cors)
        .with_state(face)
}

/// On loopback, refuses requests that name another host: a page elsewhere may point its own name at this machine, and
/// would then be of one origin with the node.
async fn only_known_hosts(State(face): Shared, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let listen = face.settings.listen;
    let known = [format!("127.0.0.1:{}", listen.port()), format!("localhost:{}", listen.port()), listen.to_string()];
    if listen.ip().is_loopback() && !known.iter().any(|known| known == host) {
        return failure(StatusCode::MISDIRECTED_REQUEST, 7, "this node answers on loopback only");
    }
    next.run(request).await
}

/// An error as Cosmos nodes put it.
fn failure(status: StatusCode, code: u32, message: impl std::fmt::Display) -> Response {
    (status, Json(json!({ "code": code, "message": message.to_string(), "details": [] }))).into_response()
}

/// The ledger failed, not the request.
fn broken(error: anyhow::Error) -> Response {
    eprintln!("node: {error:#}");
    failure(StatusCode::INTERNAL_SERVER_ERROR, 13, "the ledger could not be read; the node's log says why")
}

/// Runs what waits for the disk or a core off the threads that answer.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T, Response> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(broken),
        Err(error) => Err(broken(error.into())),
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())
}

impl Face {
    /// Puts a checked transaction into the queue; one that waits there already is no error.
    fn enqueue(&self, tx: Vec<u8>) -> Result<(), &'static str> {
        let hash = tx_hash(&tx);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.contains(&hash) {
            return Ok(());
        }
        match self.queue.try_send(tx) {
            Ok(()) => {
                waiting.insert(hash);
                Ok(())
            }
            Err(TrySendError::Full(_)) => Err("mempool is full"),
            Err(TrySendError::Disconnected(_)) => Err("the node settles no transactions any more"),
        }
    }

    /// Settles what waits, in order, and tells those who listen.
    fn settle(&self, transactions: &Receiver<Vec<u8>>) {
        while let Ok(tx) = transactions.recv() {
            match self.node.deliver(&tx, &self.settings.chain_id, now()) {
                Ok(Ok(outcome)) => {
                    // nobody listening is no error
                    let _ = self.events.send(Arc::new(outcome));
                }
                Ok(Err(refusal)) => eprintln!("node: a transaction came too late: {}", refusal.log),
                Err(error) => eprintln!("node: settling a transaction: {error:#}"),
            }
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&tx_hash(&tx));
        }
    }
}
