//! Routes for transactions and queries. Their paths and JSON are those of the REST server of a Cosmos SDK 0.50 node.

use super::{
    events::event_json,
    rpc,
    state::{AppState, SharedApp, blocking, failure, read_address},
};
use crate::clock::unix_seconds;
use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use r3mes_wgpu::{
    client::JobInfo,
    ledger::TxOutcome,
    tx::{DENOM, MAX_TX_BYTES, code::codespace, tx_hash},
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn routes() -> Router<Arc<AppState>> {
    Router::new()
        .route("/cosmos/tx/v1beta1/txs", axum::routing::post(broadcast))
        .route("/cosmos/tx/v1beta1/txs/{hash}", get(transaction))
        .route("/cosmos/auth/v1beta1/accounts/{address}", get(account))
        .route("/cosmos/bank/v1beta1/balances/{address}", get(balances))
        .route("/cosmos/bank/v1beta1/balances/{address}/by_denom", get(balance))
        .route("/cosmos/base/tendermint/v1beta1/node_info", get(node_info))
        .route("/cosmos/base/tendermint/v1beta1/syncing", get(syncing))
        .route("/cosmos/base/tendermint/v1beta1/blocks/{height}", get(block))
        .route("/r3mes/wgpu/v1/job", get(job))
}

#[derive(Deserialize)]
struct BroadcastRequest {
    tx_bytes: String,
    mode: String,
}

/// Submits a transaction to the mempool. When a block has executed the transaction, clients can query the outcome by
/// the transaction's hash.
async fn broadcast(State(app): SharedApp, Json(request): Json<BroadcastRequest>) -> Result<Response, Response> {
    let invalid = |message: &str| failure(StatusCode::BAD_REQUEST, 3, message);
    if request.mode != "BROADCAST_MODE_SYNC" {
        return Err(invalid("only BROADCAST_MODE_SYNC is supported"));
    }
    if request.tx_bytes.len() > 2 * MAX_TX_BYTES {
        return Err(invalid("the transaction is too large"));
    }
    let tx = BASE64.decode(&request.tx_bytes).map_err(|_| invalid("tx_bytes is not base64"))?;
    let hash = tx_hash(&tx);
    let known = hash.clone();
    let admitted = blocking(move || {
        // submitting a transaction again after it was executed successfully counts as success
        if app.node.outcome(&known)?.is_some_and(|(_, _, outcome)| outcome.code == 0) {
            return Ok(Ok(Ok(())));
        }
        Ok(app.admit(tx))
    })
    .await?;
    let admitted = admitted.map_err(|error| failure(StatusCode::SERVICE_UNAVAILABLE, 14, format!("{error:#}")))?;
    let (code, log) = admitted.err().map_or((0, String::new()), |refusal| (refusal.code, refusal.log));
    Ok(Json(json!({ "tx_response": response(&hash, 0, code, &log, &[]) })).into_response())
}

async fn transaction(State(app): SharedApp, Path(hash): Path<String>) -> Result<Response, Response> {
    let known = hash.to_uppercase();
    match blocking(move || app.node.outcome(&known)).await? {
        Some((height, _, outcome)) => {
            Ok(Json(json!({ "tx_response": outcome_response(height, &outcome) })).into_response())
        }
        None => Err(failure(StatusCode::NOT_FOUND, 5, format!("tx not found: {hash}"))),
    }
}

fn outcome_response(height: u64, outcome: &TxOutcome) -> Value {
    let TxOutcome { hash, code, log, events, .. } = outcome;
    let mut response = response(hash, height, *code, log, &outcome.data());
    response["events"] = events.iter().map(event_json).collect();
    response
}

fn response(hash: &str, height: u64, code: u32, log: &str, data: &[u8]) -> Value {
    let data = data_encoding::HEXUPPER.encode(data);
    json!({
        "height": height.to_string(), "txhash": hash, "codespace": codespace(code), "code": code,
        "data": data, "raw_log": log, "logs": [], "info": "", "gas_wanted": "0", "gas_used": "0", "events": [],
    })
}

/// Returns the sequence number of the account with this address. The account number is always 0, and a valid address
/// that was never used also counts as an account.
async fn account(State(app): SharedApp, Path(address): Path<String>) -> Result<Json<Value>, Response> {
    let address = read_address(&address)?;
    let sequence = app.ledger().state().account_of(&address).sequence;
    Ok(Json(json!({ "account": {
        "@type": "/cosmos.auth.v1beta1.BaseAccount", "address": address, "pub_key": null, "account_number": "0",
        "sequence": sequence.to_string(),
    } })))
}

async fn balances(State(app): SharedApp, Path(address): Path<String>) -> Result<Json<Value>, Response> {
    let amount = app.ledger().state().account_of(&read_address(&address)?).balance;
    let coins = if amount == 0 { json!([]) } else { json!([{ "denom": DENOM, "amount": amount.to_string() }]) };
    let total = if amount == 0 { "0" } else { "1" };
    Ok(Json(json!({ "balances": coins, "pagination": { "next_key": null, "total": total } })))
}

#[derive(Deserialize)]
struct DenomQuery {
    denom: String,
}

async fn balance(
    State(app): SharedApp,
    Path(address): Path<String>,
    Query(query): Query<DenomQuery>,
) -> Result<Json<Value>, Response> {
    let held = app.ledger().state().account_of(&read_address(&address)?).balance;
    let amount = if query.denom == DENOM { held } else { 0 };
    Ok(Json(json!({ "balance": { "denom": query.denom, "amount": amount.to_string() } })))
}

/// Calls a method of the node's JSON-RPC and returns its result, which the REST routes convert to their own format. If
/// the method fails, returns a response with the HTTP status 404.
async fn call_rpc(app: Arc<AppState>, method: &'static str, params: Value) -> Result<Value, Response> {
    let result = blocking(move || Ok(rpc::call(&app, method, &params))).await?;
    result.map_err(|error| failure(StatusCode::NOT_FOUND, 5, error.message))
}

async fn node_info(State(app): SharedApp) -> Result<Json<Value>, Response> {
    let mut node = call_rpc(app, "status", Value::Null).await?["node_info"].take();
    if let Some(id) = node.as_object_mut().and_then(|node| node.remove("id")) {
        node["default_node_id"] = id;
    }
    let version = env!("CARGO_PKG_VERSION");
    Ok(Json(json!({
        "default_node_info": node,
        "application_version": { "name": "r3mes", "app_name": "r3mes-wgpu", "version": version },
    })))
}

async fn syncing(State(app): SharedApp) -> Result<Json<Value>, Response> {
    let status = call_rpc(app, "status", Value::Null).await?;
    Ok(Json(json!({ "syncing": status["sync_info"]["catching_up"] })))
}

/// Returns the block at a height. If the height is `latest`, returns the last block.
async fn block(State(app): SharedApp, Path(height): Path<String>) -> Result<Json<Value>, Response> {
    let height = if height == "latest" { Value::Null } else { json!(height) };
    let mut block = call_rpc(app, "block", json!({ "height": height })).await?;
    to_base64(&mut block);
    Ok(Json(block))
}

/// Replaces the hexadecimal hashes and addresses in `json`, a result of the JSON-RPC, with base64, which the REST API
/// uses. Also renames the fields `parts` to `part_set_header`.
fn to_base64(json: &mut Value) {
    match json {
        Value::Array(all) => all.iter_mut().for_each(to_base64),
        Value::Object(fields) => {
            if let Some(parts) = fields.remove("parts") {
                fields.insert("part_set_header".to_owned(), parts);
            }
            for (name, field) in fields {
                let hexadecimal = name == "hash" || name.ends_with("_hash") || name.ends_with("_address");
                match field.as_str().filter(|_| hexadecimal).and_then(rpc::unhex) {
                    Some(bytes) => *field = json!(BASE64.encode(bytes)),
                    None => to_base64(field),
                }
            }
        }
        _ => {}
    }
}

async fn job(State(app): SharedApp) -> Json<JobInfo> {
    Json(JobInfo::of(&app.ledger(), unix_seconds()))
}
