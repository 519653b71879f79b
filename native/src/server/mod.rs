//! The HTTP server of a node. On one port, it serves the routes of a Cosmos node, CometBFT's JSON-RPC, an IPFS gateway
//! and the mining page.
//!
//! Queries are answered from the ledger after the last block. Transactions go to the node's mempool, from which a
//! thread produces blocks. On a replica, transactions go to CometBFT instead.

mod connections;
mod cosmos;
mod duties;
mod events;
mod extract;
mod guard;
mod ipfs;
mod model_files;
mod origin;
mod page;
mod page_files;
mod pagination;
mod peer;
mod remes;
mod rpc;
mod state;
mod status;
mod task_cids;

pub(crate) use state::ServerSettings;

use crate::{clock::unix_seconds, node::Node, threads};
use anyhow::{Context, Result};
use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{HeaderValue, Method, header},
    middleware::{from_fn, from_fn_with_state},
};
use clap::Args;
use connections::ConnectionLimits;
use ipfs::OwnerToken;
use state::AppState;
use std::{
    net::{SocketAddr, ToSocketAddrs},
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use task_cids::TaskCids;
use tokio::{net::TcpListener, sync::Semaphore};
use tower_http::{
    compression::{
        CompressionLayer,
        predicate::{DefaultPredicate, NotForContentType, Predicate},
    },
    cors::CorsLayer,
};
use tracing::error;

/// The maximum time between two checks of whether the ledger needs a block without transactions.
const TICK: Duration = Duration::from_millis(100);
/// The time to wait after a failed attempt to produce a block, before the next attempt.
const PAUSE: Duration = Duration::from_secs(1);
/// The maximum number of threads for those parts of requests that wait for the disk or keep a core busy.
const BLOCKING_THREADS: usize = 64;
/// The maximum size of a request body in bytes. The IPFS routes that upload files have a higher limit.
const MAX_BODY_BYTES: usize = 1 << 20;

/// Flags of a node's HTTP server.
#[derive(Args, Clone)]
pub(crate) struct ServeArgs {
    /// Listen on this address [default: 127.0.0.1:7717, or another port if that one is taken]
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = listen_address, env = "R3MES_LISTEN")]
    pub(crate) listen: Option<SocketAddr>,
    /// Serve the mining page from this folder, which contains the output of the page's build [default: dist]
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
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).max_blocking_threads(BLOCKING_THREADS).enable_all().build()?;
    let listen = settings.listen;
    let owner = OwnerToken::open(&settings.folder)?;
    let listener = runtime.block_on(TcpListener::bind(listen)).with_context(|| format!("listening on {listen}"))?;
    let address = listener.local_addr()?;
    let settings = ServerSettings { listen: address, ..settings };
    let app = Arc::new(AppState {
        node,
        settings,
        start: Instant::now(),
        task_cids: TaskCids::default(),
        queries: Semaphore::new(thread::available_parallelism().map_or(1, usize::from)),
    });
    if app.settings.engine.is_none() {
        let node = app.node.clone();
        threads::start("sequencer", move || produce_blocks(&node))?;
    }
    let router = router(app, owner);
    let limits = ConnectionLimits::of_this_process();
    threads::start("http", move || runtime.block_on(connections::serve(listener, router, limits)))?;
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

fn router(app: Arc<AppState>, owner: OwnerToken) -> Router {
    let cors = CorsLayer::new()
        .allow_origin(app.settings.origins.clone())
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::CONTENT_TYPE]);
    let predicate = DefaultPredicate::new()
        .and(NotForContentType::const_new("application/octet-stream"))
        .and(NotForContentType::const_new("application/vnd.ipld"));
    let api = Router::new()
        .merge(cosmos::routes())
        .merge(duties::routes())
        .merge(remes::routes())
        .merge(model_files::routes());
    Router::new()
        .merge(extract::with_errors(api))
        .merge(ipfs::routes(app.node.blocks().clone(), owner, app.settings.origins.clone()))
        .merge(rpc::routes())
        .merge(status::routes())
        .layer(from_fn(guard::no_blind_requests))
        .merge(page::routes(&app))
        // blocks and weights hardly get smaller, and compressing them would keep the cores busy
        .layer(CompressionLayer::new().compress_when(predicate))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn_with_state(app.clone(), guard::only_known_hosts))
        .layer(cors)
        .with_state(app)
}

/// Parses the address on which the server listens: an IP address or a host name of this machine, and a port.
fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let addresses = text.to_socket_addrs().map_err(|error| {
        format!("{error}; expected an address and a port, such as 127.0.0.1:7717, localhost:7717 or 0.0.0.0:80")
    })?;
    // a host name may have addresses of both kinds; clients try IPv4 when IPv6 does not answer, and some know no IPv6
    let (v4, v6): (Vec<_>, Vec<_>) = addresses.partition(SocketAddr::is_ipv4);
    v4.into_iter().chain(v6).next().ok_or_else(|| format!("{text} has no address"))
}
