//! The part of CometBFT 0.38's JSON-RPC that wallets and CosmJS use. Calls are sent with `POST /`. Wallets also send
//! `GET /status`, to test whether a node responds.
//!
//! See <https://docs.cometbft.com/v0.38/rpc/>. A replica forwards the calls to its CometBFT. A single sequencer (a node
//! that produces blocks without CometBFT) answers them itself. Its chain has no votes and therefore no commits, and its
//! block hashes are not computed in CometBFT's way.

use super::{
    events::event_json,
    state::{AppState, SharedApp, blocking},
};
use crate::{clock::unix_seconds, consensus::CometRpc, node::BlockRecord};
use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use r3mes_wgpu::{
    ledger::TxOutcome,
    tx::{MAX_TX_BYTES, code::codespace, rfc3339, tx_hash},
};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tracing::error;

/// The CometBFT version that a node without CometBFT reports in its status. Clients conclude from this version how to
/// call the node.
const VERSION: &str = "0.38.17";
/// The methods that a replica forwards to CometBFT. Methods that wait for an event, such as `broadcast_tx_commit`, and
/// methods that administer CometBFT are not forwarded.
const FORWARDED: [&str; 14] = [
    "health",
    "status",
    "abci_info",
    "abci_query",
    "broadcast_tx_sync",
    "broadcast_tx_async",
    "tx",
    "tx_search",
    "block",
    "block_results",
    "header",
    "commit",
    "validators",
    "consensus_params",
];

pub(super) fn routes() -> Router<Arc<AppState>> {
    Router::new().route("/", post(handle)).route("/status", get(status_alone))
}

#[derive(Deserialize)]
struct RpcRequest {
    #[serde(default)]
    id: Value,
    method: String,
    #[serde(default)]
    params: Value,
}

/// The JSON-RPC error code for internal errors.
const INTERNAL: i32 = -32603;

/// A JSON-RPC error: its code and its message.
pub(super) struct RpcError {
    code: i32,
    pub(super) message: String,
}

impl RpcError {
    fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<anyhow::Error> for RpcError {
    fn from(error: anyhow::Error) -> Self {
        error!(error = %format_args!("{error:#}"), "request failed");
        Self::new(INTERNAL, "the ledger could not be read; the node's log has the reason")
    }
}

fn invalid(message: impl Into<String>) -> RpcError {
    RpcError::new(-32602, message)
}

async fn handle(State(app): SharedApp, Json(request): Json<RpcRequest>) -> Result<Response, Response> {
    let RpcRequest { id, method, params } = request;
    respond(app, id, method, params).await
}

async fn status_alone(State(app): SharedApp) -> Result<Response, Response> {
    respond(app, json!(-1), "status".to_owned(), Value::Null).await
}

async fn respond(app: Arc<AppState>, id: Value, method: String, params: Value) -> Result<Response, Response> {
    let response = blocking(move || Ok(call(&app, &method, &params))).await?;
    let response = match response {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err(RpcError { code, message }) => {
            json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message, "data": message } })
        }
    };
    Ok((StatusCode::OK, Json(response)).into_response())
}

/// Executes a JSON-RPC method, here or in CometBFT, and returns its result.
pub(super) fn call(app: &AppState, method: &str, params: &Value) -> Result<Value, RpcError> {
    if let Some(engine) = app.settings.engine.as_ref().filter(|_| FORWARDED.contains(&method)) {
        return forward(engine, method, params);
    }
    match method {
        "health" => Ok(json!({})),
        "status" => Ok(status(app)),
        "abci_info" => Ok(abci_info(app)),
        "abci_query" => abci_query(app, params),
        "broadcast_tx_sync" | "broadcast_tx_async" => broadcast(app, params),
        "tx" => tx(app, params),
        "tx_search" => tx_search(app, params),
        "block" => block(app, params),
        _ => Err(RpcError::new(-32601, format!("method {method} not found"))),
    }
}

/// Forwards a call to CometBFT, and returns CometBFT's result or error.
fn forward(engine: &CometRpc, method: &str, params: &Value) -> Result<Value, RpcError> {
    let mut response = engine.call(method, params).map_err(|error| RpcError::new(INTERNAL, format!("{error:#}")))?;
    if let Some(result) = response.get_mut("result") {
        return Ok(result.take());
    }
    let error = &response["error"];
    let code = error["code"].as_i64().and_then(|code| i32::try_from(code).ok()).unwrap_or(INTERNAL);
    let message = [&error["data"], &error["message"]].into_iter().find_map(Value::as_str).unwrap_or_default();
    Err(RpcError::new(code, message))
}

fn status(app: &AppState) -> Value {
    let ledger = app.ledger();
    let head = ledger.state().head();
    let genesis = hex(&ledger.genesis().hash());
    json!({
        "node_info": {
            "protocol_version": { "p2p": "8", "block": "11", "app": "1" },
            "id": genesis[..40].to_lowercase(), "listen_addr": app.settings.listen.to_string(),
            "network": ledger.genesis().chain_id, "version": VERSION, "channels": "", "moniker": "r3mes-wgpu",
            "other": { "tx_index": "on", "rpc_address": format!("tcp://{}", app.settings.listen) },
        },
        "sync_info": {
            "latest_block_hash": hex(&head.hash), "latest_app_hash": hex(&ledger.root()),
            "latest_block_height": head.height.to_string(), "latest_block_time": rfc3339(head.time),
            "earliest_block_hash": genesis, "earliest_app_hash": genesis, "earliest_block_height": "1",
            "earliest_block_time": rfc3339(head.time), "catching_up": false,
        },
        "validator_info": {
            "address": genesis[..40], "voting_power": "1",
            // the sequencer signs no blocks, but CosmJS requires a key here
            "pub_key": { "type": "tendermint/PubKeyEd25519", "value": BASE64.encode(ledger.genesis().hash()) },
        },
    })
}

fn abci_info(app: &AppState) -> Value {
    let ledger = app.ledger();
    json!({ "response": {
        "data": "r3mes-wgpu", "version": env!("CARGO_PKG_VERSION"), "app_version": "1",
        "last_block_height": ledger.state().head().height.to_string(),
        "last_block_app_hash": BASE64.encode(ledger.root()),
    } })
}

fn abci_query(app: &AppState, params: &Value) -> Result<Value, RpcError> {
    let path = params["path"].as_str().ok_or_else(|| invalid("path is missing"))?;
    let data = unhex(params["data"].as_str().unwrap_or_default()).ok_or_else(|| invalid("data is not hexadecimal"))?;
    let ledger = app.ledger();
    let (code, log, value) = match ledger.query(path, &data, app.node.min_fee()) {
        Ok(value) => (0, String::new(), value),
        Err(refusal) => (refusal.code, refusal.log, Vec::new()),
    };
    // clients would treat a response with height 0 as a missing response
    let height = ledger.state().head().height.max(1);
    Ok(json!({ "response": {
        "code": code, "log": log, "info": "", "index": "0", "key": null, "value": BASE64.encode(value),
        "proofOps": null, "height": height.to_string(), "codespace": codespace(code),
    } }))
}

fn broadcast(app: &AppState, params: &Value) -> Result<Value, RpcError> {
    let text = params["tx"].as_str().filter(|text| text.len() <= 2 * MAX_TX_BYTES);
    let tx = text
        .and_then(|text| BASE64.decode(text).ok())
        .ok_or_else(|| invalid("tx is missing, not base64, or too large"))?;
    let hash = tx_hash(&tx);
    let ran = app.node.outcome(&hash)?.is_some_and(|(_, _, outcome)| outcome.code == 0);
    let refusal = if ran { None } else { app.node.admit(tx, unix_seconds()).err() };
    let (code, log) = refusal.map_or((0, String::new()), |refusal| (refusal.code, refusal.log));
    Ok(json!({ "code": code, "data": "", "log": log, "codespace": codespace(code), "hash": hash }))
}

/// Returns the transaction whose hash, in base64, is the parameter `hash`.
fn tx(app: &AppState, params: &Value) -> Result<Value, RpcError> {
    let hash = params["hash"]
        .as_str()
        .and_then(|hash| BASE64.decode(hash).ok())
        .ok_or_else(|| invalid("hash is missing or not base64"))?;
    let hash = hex(&hash);
    find_tx(app, &hash)?.ok_or_else(|| RpcError::new(INTERNAL, format!("tx ({hash}) not found")))
}

/// Returns the transactions that match a query. Transactions are indexed by hash only, so the only supported query is
/// `tx.hash='…'`.
fn tx_search(app: &AppState, params: &Value) -> Result<Value, RpcError> {
    let query = params["query"].as_str().unwrap_or_default();
    let hash = query.trim().strip_prefix("tx.hash").map(|rest| rest.trim_start_matches([' ', '=']));
    let hash = hash.map(|hash| hash.trim_matches(['\'', ' ']).to_uppercase());
    let Some(hash) = hash.filter(|hash| hash.len() == 64) else {
        return Err(invalid("only queries of the form tx.hash='…' are supported"));
    };
    let txs: Vec<Value> = find_tx(app, &hash)?.into_iter().collect();
    Ok(json!({ "total_count": txs.len().to_string(), "txs": txs }))
}

fn find_tx(app: &AppState, hash: &str) -> Result<Option<Value>, RpcError> {
    let Some((height, index, outcome)) = app.node.outcome(hash)? else { return Ok(None) };
    let record = app.node.block(height)?;
    let bytes = record
        .and_then(|record| record.block.txs.into_iter().nth(index as usize))
        .unwrap_or_else(|| r3mes_wgpu::ledger::Tx(Vec::new()));
    Ok(Some(json!({
        "hash": hash, "height": height.to_string(), "index": index, "tx_result": result(&outcome),
        "tx": BASE64.encode(bytes.0),
    })))
}

fn result(outcome: &TxOutcome) -> Value {
    json!({
        "code": outcome.code, "data": BASE64.encode(outcome.data()), "log": outcome.log, "info": "",
        "gas_wanted": "0", "gas_used": "0", "events": outcome.events.iter().map(event_json).collect::<Vec<_>>(),
        "codespace": codespace(outcome.code),
    })
}

fn block(app: &AppState, params: &Value) -> Result<Value, RpcError> {
    let last = app.ledger().state().head().height;
    let height = match &params["height"] {
        Value::Null => last,
        Value::String(height) => height.parse().map_err(|_| invalid("height is not a number"))?,
        height => height.as_u64().ok_or_else(|| invalid("height is not a number"))?,
    };
    let missing = || RpcError::new(INTERNAL, format!("no block at height {height}; the last block has height {last}"));
    let BlockRecord { block, .. } = app.node.block(height)?.ok_or_else(missing)?;
    let before = match height {
        0 | 1 => None,
        _ => app.node.block(height - 1)?,
    };
    let (last_hash, app_hash) = match before {
        Some(before) => (before.block.hash, before.root),
        None => (app.node.genesis().hash(), [0; 32]),
    };
    let data: Vec<u8> = block.txs.iter().flat_map(|tx| Sha256::digest(&tx.0)).collect();
    let part = json!({ "total": 1, "hash": hex(&block.hash) });
    let empty = hex(&Sha256::digest([]));
    Ok(json!({
        "block_id": { "hash": hex(&block.hash), "parts": part },
        "block": {
            "header": {
                "version": { "block": "11", "app": "1" }, "chain_id": app.node.genesis().chain_id,
                "height": height.to_string(), "time": rfc3339(block.time),
                "last_block_id": { "hash": hex(&last_hash), "parts": { "total": 1, "hash": hex(&last_hash) } },
                "last_commit_hash": empty, "data_hash": hex(&Sha256::digest(&data)), "validators_hash": empty,
                "next_validators_hash": empty, "consensus_hash": empty, "app_hash": hex(&app_hash),
                "last_results_hash": empty, "evidence_hash": empty, "proposer_address": hex(&last_hash)[..40],
            },
            "data": { "txs": block.txs.iter().map(|tx| BASE64.encode(&tx.0)).collect::<Vec<_>>() },
            "evidence": { "evidence": [] },
            "last_commit": {
                "height": (height - 1).to_string(), "round": 0,
                "block_id": { "hash": hex(&last_hash), "parts": { "total": 1, "hash": hex(&last_hash) } },
                "signatures": [],
            },
        },
    }))
}

/// Encodes bytes as upper-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXUPPER.encode(bytes)
}

/// Decodes hexadecimal digits of either case. Returns `None` if `digits` has other characters or an odd length.
pub(super) fn unhex(digits: &str) -> Option<Vec<u8>> {
    data_encoding::HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok()
}
