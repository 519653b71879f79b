//! The node's face: a Cosmos node's routes, an IPFS gateway's, and the page, on one port.
//!
//! Requests are answered from the ledger at once. Transactions wait in the mempool, and one thread cuts blocks of them; or
//! they go to a consensus engine.

mod cosmos;
mod duties;
mod folder;
mod grants;
mod ipfs;
pub(crate) mod origin;
mod page;
mod remes;
mod rpc;
mod status;

use crate::{consensus::Engine, node::Node, threads};
use anyhow::{Context, Result};
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    serve::ListenerExt,
};
use r3mes_wgpu::ledger::{Ledger, Refusal};
use serde_json::json;
use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::net::TcpListener;
use tower_http::{compression::CompressionLayer, cors::CorsLayer};

/// Longest time between two looks whether a block is due.
const TICK: Duration = Duration::from_millis(100);
/// After a block that could not be added.
const PAUSE: Duration = Duration::from_secs(1);
/// Most bytes of a request.
const MAX_BODY_BYTES: usize = 16 << 20;

/// What is served.
pub(crate) struct Settings {
    /// Where to listen.
    pub(crate) listen: SocketAddr,
    /// Folder with config.json and model.safetensors.
    pub(crate) model: PathBuf,
    /// Folder with the built page; it may come later.
    pub(crate) page: PathBuf,
    /// Origins of other sites whose pages may ask.
    pub(crate) origins: Vec<HeaderValue>,
    /// Who cuts the blocks, where the node does not.
    pub(crate) engine: Option<Engine>,
}

/// What handlers share.
pub(crate) struct AppState {
    node: Arc<Node>,
    settings: Settings,
    start: Instant,
}

type Shared = State<Arc<AppState>>;

/// Listens and serves in threads of its own, for as long as the process lives; returns where.
pub(crate) fn serve(node: Arc<Node>, settings: Settings) -> Result<SocketAddr> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let listen = settings.listen;
    let listener = runtime.block_on(TcpListener::bind(listen)).with_context(|| format!("listening on {listen}"))?;
    let address = listener.local_addr()?;
    let face = Arc::new(AppState { node, settings: Settings { listen: address, ..settings }, start: Instant::now() });
    if face.settings.engine.is_none() {
        let sequencer = face.clone();
        threads::start("sequencer", move || sequencer.cut_blocks())?;
    }
    let router = router(face);
    threads::start("http", move || {
        // else a small piece is held back until the one before is acknowledged
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        if let Err(error) = runtime.block_on(async { axum::serve(listener, router).await }) {
            eprintln!("the node's HTTP face ended: {error}");
        }
    })?;
    Ok(address)
}

fn router(face: Arc<AppState>) -> Router {
    // who reaches loopback is on this machine
    let access = if face.settings.listen.ip().is_loopback() { ipfs::Access::Owner } else { ipfs::Access::Anyone };
    let cors = CorsLayer::new()
        .allow_origin(face.settings.origins.clone())
        .allow_methods([axum::http::Method::GET, axum::http::Method::POST])
        .allow_headers([header::CONTENT_TYPE]);
    Router::new()
        .merge(cosmos::routes())
        .merge(duties::routes())
        .merge(remes::routes())
        .merge(grants::routes())
        .merge(ipfs::routes(face.node.blocks().clone(), access, face.settings.origins.clone()))
        .merge(rpc::routes())
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

impl AppState {
    /// The ledger as of the last block.
    fn ledger(&self) -> Ledger {
        self.node.ledger()
    }

    /// Hands a transaction to who cuts the blocks; fails where that is an engine that does not answer.
    fn admit(&self, tx: Vec<u8>) -> Result<Result<(), Refusal>> {
        match &self.settings.engine {
            Some(engine) => engine.broadcast(&tx),
            None => Ok(self.node.admit(tx, now())),
        }
    }

    /// Cuts blocks of what waits, in order.
    fn cut_blocks(&self) {
        loop {
            match self.node.produce(now()) {
                Ok(Some(_)) => {}
                Ok(None) => self.node.wait(TICK),
                Err(error) => {
                    eprintln!("node: adding a block: {error:#}");
                    std::thread::sleep(PAUSE);
                }
            }
        }
    }
}
