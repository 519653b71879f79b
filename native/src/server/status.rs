//! Routes for people and dashboards (health, statistics, metrics), and a stream of the chain's events for web pages.

use super::state::{AppState, SharedApp};
use crate::node::AddedBlock;
use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
    routing::get,
};
use futures_util::stream::{self, Stream, StreamExt};
use serde_json::{Value, json};
use std::{convert::Infallible, sync::Arc};
use tokio_stream::wrappers::BroadcastStream;

pub(super) fn routes() -> Router<Arc<AppState>> {
    Router::new()
        .route("/health", get(health))
        .route("/stats", get(stats))
        .route("/metrics", get(metrics))
        .route("/events", get(events))
}

/// Returns the height of the last block. If the node cannot write to its disk, returns the HTTP status 503 and the
/// reason. The node tries again by itself.
async fn health(State(app): SharedApp) -> (StatusCode, Json<Value>) {
    let height = app.ledger().state().head().height;
    match app.node.fault() {
        None => (StatusCode::OK, Json(json!({ "status": "ok", "height": height }))),
        Some(error) => {
            let health = json!({ "status": "failing", "height": height, "error": error });
            (StatusCode::SERVICE_UNAVAILABLE, Json(health))
        }
    }
}

async fn stats(State(app): SharedApp) -> Json<Value> {
    let ledger = app.ledger();
    let head = ledger.state().head();
    Json(json!({
        "round": head.round, "accepted_in_round": head.accepted_in_round, "accepted_total": head.accepted_total,
        "adapter": ledger.state().adapter().to_string(), "fees": head.fees,
        "uptime_seconds": app.start.elapsed().as_secs(),
    }))
}

/// Returns the metrics in Prometheus' text format: <https://prometheus.io/docs/instrumenting/exposition_formats/>.
async fn metrics(State(app): SharedApp) -> Response {
    let ledger = app.ledger();
    let head = ledger.state().head();
    let mut text = String::new();
    for (name, kind, help, value) in [
        ("r3mes_accepted_total", "counter", "Accepted gradients.", head.accepted_total),
        ("r3mes_rounds_total", "counter", "Optimizer steps.", head.round),
        ("r3mes_fees_total", "counter", "Fees collected, in micro-units.", head.fees),
        ("r3mes_height", "gauge", "Height of the last block.", head.height),
        ("r3mes_uptime_seconds", "gauge", "Seconds since the node started.", app.start.elapsed().as_secs()),
    ] {
        text += &format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

/// Streams, as server-sent events, the transactions and the ledger events of every block that is added after the
/// request.
async fn events(State(app): SharedApp) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let blocks = BroadcastStream::new(app.node.listen()).filter_map(|added| async { added.ok() });
    let events = blocks.flat_map(|added| stream::iter(block_events(&added).into_iter().map(Ok)));
    Sse::new(events).keep_alive(KeepAlive::default())
}

/// Returns one server-sent event for each transaction of a block, and one for each ledger event that no transaction
/// caused.
fn block_events(added: &AddedBlock) -> Vec<Event> {
    let height = added.block.height;
    let txs = added.applied.outcomes.iter().map(|outcome| {
        let data = json!({
            "hash": outcome.hash, "height": height, "code": outcome.code, "log": outcome.log,
            "signer": outcome.signer, "events": outcome.events,
        });
        Event::default().event("tx").data(data.to_string())
    });
    let own =
        added.applied.events.iter().map(|event| {
            Event::default().event("ledger").data(json!({ "height": height, "event": event }).to_string())
        });
    txs.chain(own).collect()
}
