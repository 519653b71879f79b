//! The HTTP interface of an IPFS peer: a trustless gateway, and those commands of Kubo's RPC that work on the node's
//! own blocks. Some commands, such as pinning, require the token of the node's owner; see [`owner`].
//!
//! | Route | What it does |
//! |---|---|
//! | `GET /ipfs/{cid}` with `format=raw`, `format=car` or an `Accept` header | returns a block, or a DAG as a CAR |
//! | `POST /api/v0/block/put`, `block/get`, `block/stat` | stores blocks, returns a block, or returns its size |
//! | `POST /api/v0/dag/import`, `dag/export` | stores the blocks of CAR files, or returns a DAG as a CAR file |
//! | `POST /api/v0/add`, `cat` | stores files as UnixFS, or returns a file |
//! | `POST /api/v0/pin/ls` | lists the pins |
//! | `POST /api/v0/pin/add`, `pin/rm`, `repo/gc` | pins or unpins DAGs, or deletes unpinned blocks; owner only |
//! | `POST /api/v0/repo/stat`, `id`, `version` | describes the block store, the peer or the program |

mod block;
mod dag;
mod error;
mod gateway;
mod owner;
mod pin;
mod query;
mod repo;
mod state;
mod stream;
#[cfg(test)]
mod tests;
mod unixfs;
mod upload;

pub(crate) use owner::OwnerToken;

use crate::blocks::BlockStore;
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use error::IpfsError;
use state::{IpfsState, SharedIpfs};
use std::sync::Arc;
use upload::{UploadLimits, Uploads};

/// The maximum size, in bytes, of a request that uploads files.
const MAX_UPLOAD_BYTES: usize = 256 << 20;

/// Returns a router with the IPFS routes of a block store. The router contains its own state, so it can be merged into
/// a router with any other state.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>(
    store: Arc<BlockStore>,
    owner: OwnerToken,
    origins: Vec<HeaderValue>,
) -> Router<S> {
    let uploads = Arc::new(Uploads::new(UploadLimits::of(store.quota().unpinned_bytes)));
    let ipfs = Arc::new(IpfsState { store, owner, origins, uploads });
    let commands = Router::new()
        .route("/block/put", post(block::put))
        .route("/block/get", post(block::get))
        .route("/block/stat", post(block::stat))
        .route("/dag/import", post(dag::import))
        .route("/dag/export", post(dag::export))
        .route("/add", post(unixfs::add))
        .route("/cat", post(unixfs::cat))
        .route("/pin/add", post(pin::add))
        .route("/pin/ls", post(pin::list))
        .route("/pin/rm", post(pin::remove))
        .route("/repo/stat", post(repo::stat))
        .route("/repo/gc", post(repo::collect))
        .route("/id", post(repo::id))
        .route("/version", post(repo::version))
        .layer(DefaultBodyLimit::max(MAX_UPLOAD_BYTES))
        .layer(from_fn_with_state(ipfs.clone(), only_known_sites));
    Router::new()
        .route("/ipfs/{cid}", get(gateway::serve))
        .route("/ipfs/{cid}/", get(gateway::serve))
        .route("/ipfs/{cid}/{*path}", get(gateway::no_paths))
        .nest("/api/v0", commands)
        .with_state(ipfs)
}

/// Refuses commands from web pages of other origins, unless the node allows the origin. Without this check, any web
/// page could make a browser send commands to the node, although the browser would not give the responses to the page.
async fn only_known_sites(State(ipfs): SharedIpfs, request: Request, next: Next) -> Response {
    let headers = request.headers();
    if let Some(origin) = headers.get(header::ORIGIN) {
        let site = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let own = site.is_some_and(|(_, site)| Some(site) == host);
        if !own && !ipfs.origins.contains(origin) {
            return IpfsError::new(
                StatusCode::FORBIDDEN,
                "commands from pages of other websites are refused; start the node with --allow-origin to allow one",
            )
            .into_response();
        }
    }
    next.run(request).await
}
