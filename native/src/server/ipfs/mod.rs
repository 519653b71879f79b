//! The node as an IPFS peer over HTTP: a trustless gateway, and the part of Kubo's RPC that works on one's own blocks.
//!
//! | route | |
//! |---|---|
//! | `GET /ipfs/{cid}` with `?format=raw` or `car`, or an `Accept` header | a block, or a DAG |
//! | `POST /api/v0/block/put`, `block/get`, `block/stat` | blocks |
//! | `POST /api/v0/dag/import`, `dag/export` | DAGs as CAR |
//! | `POST /api/v0/add`, `cat` | files as UnixFS, CIDv1 |
//! | `POST /api/v0/pin/add`, `pin/ls`, `pin/rm`, `repo/gc` | the owner's |
//! | `POST /api/v0/repo/stat`, `id`, `version` | about the node |

mod block;
mod dag;
mod file;
mod gateway;
mod options;
mod pin;
mod refusal;
mod repo;
mod stream;
#[cfg(test)]
mod tests;

use crate::node::blocks::BlockStore;
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use refusal::Refusal;
use std::sync::Arc;

/// Most bytes of a request that carries files.
const MAX_UPLOAD_BYTES: usize = 256 << 20;
/// Most bytes of blocks that wait in memory to be stored together.
const BATCH_BYTES: usize = 8 << 20;

/// What whoever reaches the node may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Put blocks and get them.
    Anyone,
    /// Say what stays, too.
    Owner,
}

/// What handlers share.
struct Peer {
    store: Arc<BlockStore>,
    access: Access,
    /// Other sites whose pages may ask.
    origins: Vec<HeaderValue>,
}

type Shared = State<Arc<Peer>>;

/// The routes over a store, to be merged into a router of any state.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>(
    store: Arc<BlockStore>,
    access: Access,
    origins: Vec<HeaderValue>,
) -> Router<S> {
    let peer = Arc::new(Peer { store, access, origins });
    let commands = Router::new()
        .route("/block/put", post(block::put))
        .route("/block/get", post(block::get))
        .route("/block/stat", post(block::stat))
        .route("/dag/import", post(dag::import))
        .route("/dag/export", post(dag::export))
        .route("/add", post(file::add))
        .route("/cat", post(file::cat))
        .route("/pin/add", post(pin::add))
        .route("/pin/ls", post(pin::list))
        .route("/pin/rm", post(pin::remove))
        .route("/repo/stat", post(repo::stat))
        .route("/repo/gc", post(repo::collect))
        .route("/id", post(repo::id))
        .route("/version", post(repo::version))
        .layer(DefaultBodyLimit::max(MAX_UPLOAD_BYTES))
        .layer(from_fn_with_state(peer.clone(), only_known_sites));
    Router::new()
        .route("/ipfs/{cid}", get(gateway::answer))
        .route("/ipfs/{cid}/{*path}", get(gateway::no_paths))
        .nest("/api/v0", commands)
        .with_state(peer)
}

/// Refuses commands that another site's page sends: a browser does so without asking, and only hides the answer.
async fn only_known_sites(State(peer): Shared, request: Request, next: Next) -> Response {
    let headers = request.headers();
    if let Some(origin) = headers.get(header::ORIGIN) {
        let site = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let own = site.is_some_and(|(_, site)| Some(site) == host);
        if !own && !peer.origins.contains(origin) {
            return Refusal::new(StatusCode::FORBIDDEN, "pages of other sites give no commands here").into_response();
        }
    }
    next.run(request).await
}

impl Peer {
    /// That whoever asks may pin.
    fn only_owner(&self) -> Result<(), Refusal> {
        match self.access {
            Access::Owner => Ok(()),
            Access::Anyone => {
                Err(Refusal::new(StatusCode::FORBIDDEN, "what is pinned here is its owner's affair; pass pin=false"))
            }
        }
    }

    /// Runs what waits for the disk off the threads that answer.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&BlockStore) -> anyhow::Result<T> + Send + 'static,
    ) -> Result<T, Refusal> {
        let store = self.store.clone();
        match tokio::task::spawn_blocking(move || work(&store)).await {
            Ok(result) => result.map_err(Refusal::from),
            Err(error) => Err(anyhow::Error::from(error).into()),
        }
    }
}
