//! HTTP routes that broadcast, simulate and find transactions.

use crate::{
    node::FoundTx,
    server::{
        events::{event_json, events_json},
        extract::{InvalidArgument, JsonOf, PathOf, QueryOf, invalid},
        pagination::{DEFAULT_LIMIT, PageRequest},
        rpc::{self, TxPage},
        state::{AppState, SharedApp, blocking, failure},
    },
};
use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::Response,
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use r3mes_wgpu::{
    ledger::SimulatedTx,
    tx::{MAX_TX_BYTES, code::codespace, rfc3339, tx_hash},
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn routes() -> Router<Arc<AppState>> {
    Router::new()
        .route("/cosmos/tx/v1beta1/txs", post(broadcast).get(search))
        .route("/cosmos/tx/v1beta1/txs/{hash}", get(transaction))
        .route("/cosmos/tx/v1beta1/simulate", post(simulate))
}

#[derive(Deserialize)]
struct BroadcastRequest {
    tx_bytes: String,
    mode: String,
}

/// Submits a transaction to the mempool. When a block has executed the transaction, clients can query the outcome by
/// the transaction's hash.
async fn broadcast(State(app): SharedApp, JsonOf(request): JsonOf<BroadcastRequest>) -> Result<Json<Value>, Response> {
    if request.mode != "BROADCAST_MODE_SYNC" {
        return Err(invalid("only BROADCAST_MODE_SYNC is supported").into());
    }
    let tx = read_tx(&request.tx_bytes)?;
    let hash = tx_hash(&tx);
    let known = hash.clone();
    let admitted = blocking(move || {
        // submitting a transaction again after it was executed successfully counts as success
        if app.node.transaction(&known)?.is_some_and(|found| found.outcome.code == 0) {
            return Ok(Ok(Ok(())));
        }
        Ok(app.admit(tx))
    })
    .await?;
    let admitted = admitted.map_err(|error| failure(StatusCode::SERVICE_UNAVAILABLE, 14, format!("{error:#}")))?;
    let (code, log) = admitted.err().map_or((0, String::new()), |refusal| (refusal.code, refusal.log));
    Ok(Json(json!({ "tx_response": response(&hash, 0, code, &log, &[]) })))
}

/// Decodes the field `tx_bytes` of a request, which contains a transaction in base64. Returns the transaction's bytes.
fn read_tx(tx_bytes: &str) -> Result<Vec<u8>, InvalidArgument> {
    if tx_bytes.is_empty() {
        return Err(invalid("invalid empty tx"));
    }
    if tx_bytes.len() > 2 * MAX_TX_BYTES {
        return Err(invalid(format!("the transaction is too large: it may have at most {MAX_TX_BYTES} bytes")));
    }
    BASE64.decode(tx_bytes).map_err(|_| invalid("tx_bytes is not base64"))
}

async fn transaction(State(app): SharedApp, PathOf(hash): PathOf<String>) -> Result<Json<Value>, Response> {
    let known = hash.to_uppercase();
    if known.len() != 64 || rpc::unhex(&known).is_none() {
        return Err(invalid(format!("invalid transaction hash {hash:?}: it must have 64 hexadecimal digits")).into());
    }
    match blocking(move || app.node.transaction(&known)).await? {
        Some(found) => Ok(Json(json!({ "tx_response": found_response(&found) }))),
        None => Err(failure(StatusCode::NOT_FOUND, 5, format!("tx not found: {hash}"))),
    }
}

/// The query parameters of a search for transactions. The parameter `events` is not included, because it can occur
/// several times and is read separately.
#[derive(Default, Deserialize)]
#[serde(default)]
struct SearchRequest {
    query: String,
    /// The number of the page of results to return. The first page has the number 1. If the value is 0, the parameter
    /// `pagination.offset`, which older clients send, selects the page instead.
    page: usize,
    limit: usize,
    order_by: Option<Order>,
}

#[derive(Deserialize, PartialEq)]
enum Order {
    #[serde(rename = "ORDER_BY_ASC", alias = "ORDER_BY_UNSPECIFIED", alias = "0", alias = "1")]
    Ascending,
    #[serde(rename = "ORDER_BY_DESC", alias = "2")]
    Descending,
}

/// Returns the transactions that satisfy the conditions in the parameter `query`. Clients that were written for older
/// Cosmos nodes send one parameter `events` for each condition instead.
async fn search(
    State(app): SharedApp,
    QueryOf(request): QueryOf<SearchRequest>,
    QueryOf(params): QueryOf<Vec<(String, String)>>,
    QueryOf(pagination): QueryOf<PageRequest>,
) -> Result<Json<Value>, Response> {
    let events = params.into_iter().filter(|(name, _)| name == "events").map(|(_, condition)| condition);
    let conditions: Vec<String> =
        Some(request.query).filter(|query| !query.is_empty()).into_iter().chain(events).collect();
    if conditions.is_empty() {
        return Err(invalid("query cannot be empty: state conditions such as query=tx.height=5").into());
    }
    let query = conditions.join(" AND ");
    let descending = request.order_by.map_or(pagination.reverse, |order| order == Order::Descending);
    let limit = [request.limit, pagination.limit, DEFAULT_LIMIT].into_iter().find(|limit| *limit > 0);
    let limit = limit.unwrap_or(DEFAULT_LIMIT).min(rpc::MAX_PAGE);
    let skipped = match request.page {
        0 => pagination.offset,
        page => (page - 1).saturating_mul(limit),
    };
    let page = TxPage { skipped, limit, descending };
    let found = blocking(move || Ok(rpc::find(&app, &query, &page))).await?;
    let (found, total) = found.map_err(|error| error.to_rest())?;
    let responses: Vec<Value> = found.iter().map(found_response).collect();
    Ok(Json(json!({ "txs": [], "tx_responses": responses, "pagination": null, "total": total.to_string() })))
}

#[derive(Deserialize)]
struct SimulateRequest {
    tx_bytes: String,
}

/// Executes a transaction on a copy of the ledger, without checking its signature.
async fn simulate(State(app): SharedApp, JsonOf(request): JsonOf<SimulateRequest>) -> Result<Json<Value>, Response> {
    let tx = read_tx(&request.tx_bytes)?;
    let simulated = blocking(move || Ok(app.ledger().simulate(&tx, app.node.min_fee()))).await?;
    let SimulatedTx { gas, outcome, events } = simulated.map_err(|refusal| invalid(refusal.log))?;
    if outcome.code != 0 {
        let message = format!("{} With gas wanted: '0' and gas used: '{gas}' ", outcome.log);
        return Err(failure(StatusCode::BAD_REQUEST, 2, message));
    }
    Ok(Json(json!({
        "gas_info": { "gas_wanted": "0", "gas_used": gas.to_string() },
        "result": {
            "data": BASE64.encode(outcome.data()), "log": "", "msg_responses": [],
            "events": events.into_iter().map(event_json).collect::<Vec<_>>(),
        },
    })))
}

fn found_response(found: &FoundTx) -> Value {
    let FoundTx { height, time, tx, outcome, .. } = found;
    let mut response = response(&outcome.hash, *height, outcome.code, &outcome.log, &outcome.data());
    response["events"] = events_json(outcome, tx).into();
    response["timestamp"] = rfc3339(*time).into();
    response
}

fn response(hash: &str, height: u64, code: u32, log: &str, data: &[u8]) -> Value {
    let data = data_encoding::HEXUPPER.encode(data);
    json!({
        "height": height.to_string(), "txhash": hash, "codespace": codespace(code), "code": code,
        "data": data, "raw_log": log, "logs": [], "info": "", "gas_wanted": "0", "gas_used": "0", "tx": null,
        "timestamp": "", "events": [],
    })
}
