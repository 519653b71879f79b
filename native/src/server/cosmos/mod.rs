//! HTTP routes for transactions and queries. Their paths and JSON are those of the REST server of a Cosmos SDK 0.50
//! node.

mod bank;
mod chain;
mod grants;
mod txs;

use super::state::AppState;
use axum::Router;
use std::sync::Arc;

pub(super) fn routes() -> Router<Arc<AppState>> {
    Router::new().merge(bank::routes()).merge(chain::routes()).merge(grants::routes()).merge(txs::routes())
}
