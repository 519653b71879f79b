//! How the node is: for people, dashboards and pages.

use super::{Face, Shared, blocking};
use axum::{
    Json, Router,
    extract::State,
    http::header,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
    routing::get,
};
use serde_json::{Value, json};
use std::{convert::Infallible, sync::Arc};
use tokio_stream::{Stream, StreamExt, wrappers::BroadcastStream};

pub(super) fn routes() -> Router<Arc<Face>> {
    Router::new()
        .route("/health", get(health))
        .route("/stats", get(stats))
        .route("/metrics", get(metrics))
        .route("/events", get(events))
}

async fn health(State(face): Shared) -> Result<Json<Value>, Response> {
    let height = blocking(move || face.node.height()).await?;
    Ok(Json(json!({ "status": "ok", "height": height })))
}

async fn stats(State(face): Shared) -> Result<Json<Value>, Response> {
    let shared = face.clone();
    let status = blocking(move || shared.node.status()).await?;
    Ok(Json(json!({
        "round": status.round, "accepted_in_round": status.accepted_in_round, "accepted_total": status.accepted_total,
        "adapter": status.adapter.to_string(), "fees": status.fees, "uptime_seconds": face.start.elapsed().as_secs(),
    })))
}

/// <https://prometheus.io/docs/instrumenting/exposition_formats/>.
async fn metrics(State(face): Shared) -> Result<Response, Response> {
    let shared = face.clone();
    let (status, height) = blocking(move || Ok((shared.node.status()?, shared.node.height()?))).await?;
    let mut text = String::new();
    for (name, kind, help, value) in [
        ("r3mes_accepted_total", "counter", "Accepted gradients.", status.accepted_total),
        ("r3mes_rounds_total", "counter", "Optimizer steps.", status.round),
        ("r3mes_fees_total", "counter", "Fees collected, in micro-units.", status.fees),
        ("r3mes_height", "gauge", "Transactions settled.", height),
        ("r3mes_uptime_seconds", "gauge", "Seconds since the node started.", face.start.elapsed().as_secs()),
    ] {
        text += &format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
    }
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response())
}

/// Every transaction as it is settled.
async fn events(State(face): Shared) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let outcomes = BroadcastStream::new(face.events.subscribe()).filter_map(Result::ok);
    let events = outcomes.map(|outcome| {
        let data = json!({
            "hash": outcome.hash, "height": outcome.height, "code": outcome.code, "log": outcome.log,
            "signer": outcome.signer, "submission": outcome.submission,
        });
        Ok(Event::default().event("tx").data(data.to_string()))
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}
