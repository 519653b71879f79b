//! The HTTP part of an IPFS peer: a trustless gateway, and those commands of Kubo's RPC that work on the node's own
//! blocks.
//!
//! | route | what it does |
//! |---|---|
//! | `GET /ipfs/{cid}` with `?format=raw` or `car`, or an `Accept` header | returns a block, or a DAG |
//! | `POST /api/v0/block/put`, `block/get`, `block/stat` | stores and returns blocks |
//! | `POST /api/v0/dag/import`, `dag/export` | stores and returns DAGs as CARs |
//! | `POST /api/v0/add`, `cat` | stores and returns files as UnixFS, with CIDv1 |
//! | `POST /api/v0/pin/add`, `pin/ls`, `pin/rm`, `repo/gc` | pins and deletes blocks, for the owner only |
//! | `POST /api/v0/repo/stat`, `id`, `version` | describes the node |

mod block;
mod dag;
mod error;
mod gateway;
mod pin;
mod query;
mod repo;
mod state;
mod stream;
#[cfg(test)]
mod tests;
mod unixfs;

pub(super) use state::Access;

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

/// The maximum size in bytes of a request that uploads files.
const MAX_UPLOAD_BYTES: usize = 256 << 20;

/// Returns the IPFS routes for a block store, as a router that can be merged into one with any state.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>(
    store: Arc<BlockStore>,
    access: Access,
    origins: Vec<HeaderValue>,
) -> Router<S> {
    let ipfs = Arc::new(IpfsState { store, access, origins });
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
        .route("/ipfs/{cid}/{*path}", get(gateway::no_paths))
        .nest("/api/v0", commands)
        .with_state(ipfs)
}

/// Refuses commands from the pages of unknown websites. Without this, a browser would send them and hide only the
/// response from the page.
async fn only_known_sites(State(ipfs): SharedIpfs, request: Request, next: Next) -> Response {
    let headers = request.headers();
    if let Some(origin) = headers.get(header::ORIGIN) {
        let site = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let own = site.is_some_and(|(_, site)| Some(site) == host);
        if !own && !ipfs.origins.contains(origin) {
            return IpfsError::new(
                StatusCode::FORBIDDEN,
                "pages of other websites may not send commands; start the node with --allow-origin to allow one",
            )
            .into_response();
        }
    }
    next.run(request).await
}
