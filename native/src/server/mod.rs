//! The HTTP server of a node. On one port, it serves the routes of a Cosmos node, CometBFT's JSON-RPC, an IPFS gateway
//! and the mining page.
//!
//! Queries are answered from the ledger after the last block. Transactions go to the node's mempool, from which a
//! thread produces blocks. On a replica, transactions go to CometBFT instead.

mod cosmos;
mod duties;
mod events;
mod extract;
mod ipfs;
mod origin;
mod page;
mod page_files;
mod pagination;
mod remes;
mod rpc;
mod state;
mod status;

pub(crate) use state::ServerSettings;

use crate::{clock::unix_seconds, node::Node, threads};
use anyhow::{Context, Result};
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::Response,
    serve::ListenerExt,
};
use clap::Args;
use state::{AppState, SharedApp, failure};
use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tokio::net::TcpListener;
use tower_http::{compression::CompressionLayer, cors::CorsLayer};
use tracing::error;

/// The maximum time between two checks of whether the ledger needs a block without transactions.
const TICK: Duration = Duration::from_millis(100);
/// The time to wait before the next attempt if a block could not be produced.
const PAUSE: Duration = Duration::from_secs(1);
/// The maximum size of a request body in bytes. The IPFS routes that upload files have a higher limit.
const MAX_BODY_BYTES: usize = 16 << 20;

/// Flags of a node's HTTP server.
#[derive(Args, Clone)]
pub(crate) struct ServeArgs {
    /// Listen on this address [default: 127.0.0.1:7717, or another port if that one is taken]
    #[arg(long, value_name = "ADDRESS:PORT", env = "R3MES_LISTEN")]
    pub(crate) listen: Option<SocketAddr>,
    /// Serve the mining page from this folder, which the page's build has written [default: dist]
    #[arg(long, value_name = "DIR", env = "R3MES_PAGE")]
    pub(crate) page: Option<PathBuf>,
    /// Allow pages of another website, such as https://example.org, to send requests to this node; may be repeated
    #[arg(long, value_name = "ORIGIN", value_parser = origin::parse)]
    pub(crate) allow_origin: Vec<HeaderValue>,
    /// Refuse transactions whose fee is lower than this many micro-units
    #[arg(long, value_name = "MICRO", default_value_t = 0, env = "R3MES_MIN_FEE")]
    pub(crate) min_fee: u64,
}

/// Starts threads that serve HTTP requests until the process ends. Returns the address on which the server listens.
pub(crate) fn serve(node: Arc<Node>, settings: ServerSettings) -> Result<SocketAddr> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let listen = settings.listen;
    let listener = runtime.block_on(TcpListener::bind(listen)).with_context(|| format!("listening on {listen}"))?;
    let address = listener.local_addr()?;
    let settings = ServerSettings { listen: address, ..settings };
    let app = Arc::new(AppState { node, settings, start: Instant::now() });
    if app.settings.engine.is_none() {
        let node = app.node.clone();
        threads::start("sequencer", move || produce_blocks(&node))?;
    }
    let router = router(app);
    threads::start("http", move || {
        // without TCP_NODELAY, a small packet would wait until the previous one is acknowledged
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        if let Err(error) = runtime.block_on(async { axum::serve(listener, router).await }) {
            error!(%error, "the HTTP server stopped");
        }
    })?;
    Ok(address)
}

/// Produces blocks whenever transactions are pending or the ledger needs a block, until the process ends.
fn produce_blocks(node: &Node) {
    loop {
        match node.produce(unix_seconds()) {
            Ok(Some(_)) => {}
            Ok(None) => node.wait(TICK),
            Err(error) => {
                error!(error = %format_args!("{error:#}"), "cannot add a block; retrying in 1 s");
                thread::sleep(PAUSE);
            }
        }
    }
}

fn router(app: Arc<AppState>) -> Router {
    // only this machine can reach a loopback address
    let access = if app.settings.listen.ip().is_loopback() { ipfs::Access::Owner } else { ipfs::Access::Anyone };
    let cors = CorsLayer::new()
        .allow_origin(app.settings.origins.clone())
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::CONTENT_TYPE]);
    let api = Router::new().merge(cosmos::routes()).merge(duties::routes()).merge(remes::routes());
    Router::new()
        .merge(extract::with_errors(api))
        .merge(ipfs::routes(app.node.blocks().clone(), access, app.settings.origins.clone()))
        .merge(rpc::routes())
        .merge(status::routes())
        .merge(page::routes(&app))
        .layer(CompressionLayer::new())
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn_with_state(app.clone(), only_known_hosts))
        .layer(cors)
        .with_state(app)
}

/// If the server listens on a loopback address, refuses requests whose `Host` header names neither this address nor
/// `localhost`. Otherwise a website could make its own host name resolve to this machine (DNS rebinding), and browsers
/// would treat its pages as pages of the node.
async fn only_known_hosts(State(app): SharedApp, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let listen = app.settings.listen;
    let known = [format!("127.0.0.1:{}", listen.port()), format!("localhost:{}", listen.port()), listen.to_string()];
    if listen.ip().is_loopback() && !known.iter().any(|known| known == host) {
        return failure(StatusCode::MISDIRECTED_REQUEST, 7, "this node answers only requests for its loopback address");
    }
    next.run(request).await
}
