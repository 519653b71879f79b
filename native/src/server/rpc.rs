//! CometBFT 0.38's JSON-RPC, as far as wallets and CosmJS ask it: a POST to `/`, and `status` by its own path too, by which
//! wallets look whether a chain is there.
//!
//! <https://docs.cometbft.com/v0.38/rpc/>. Where a CometBFT cuts the blocks, it is asked. The chain of one sequencer has no
//! votes: a block's hash is its own, and there are no commits to show.

use super::{AppState, Shared, blocking, cosmos, now};
use crate::{consensus::Engine, node::Record};
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
    tx::{MAX_TX_BYTES, rfc3339, tx_hash},
};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// As what it answers.
const VERSION: &str = "0.38.17";
/// What a CometBFT behind the node is asked: nothing that waits, and nothing of its own affairs.
const ASKED: [&str; 14] = [
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
    Router::new().route("/", post(answer)).route("/status", get(status_alone))
}

#[derive(Deserialize)]
struct Request {
    #[serde(default)]
    id: Value,
    method: String,
    #[serde(default)]
    params: Value,
}

/// JSON-RPC's code of what is not the asker's fault.
const INTERNAL: i32 = -32603;

/// JSON-RPC's code and words.
pub(super) struct Failure(i32, pub(super) String);

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        eprintln!("node: {error:#}");
        Self(INTERNAL, "the ledger could not be read; the node's log says why".to_owned())
    }
}

fn invalid(words: impl Into<String>) -> Failure {
    Failure(-32602, words.into())
}

async fn answer(State(face): Shared, Json(request): Json<Request>) -> Result<Response, Response> {
    let Request { id, method, params } = request;
    respond(face, id, method, params).await
}

async fn status_alone(State(face): Shared) -> Result<Response, Response> {
    respond(face, json!(-1), "status".to_owned(), Value::Null).await
}

async fn respond(face: Arc<AppState>, id: Value, method: String, params: Value) -> Result<Response, Response> {
    let answer = blocking(move || Ok(call(&face, &method, &params))).await?;
    let answer = match answer {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err(Failure(code, words)) => {
            json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": words, "data": words } })
        }
    };
    Ok((StatusCode::OK, Json(answer)).into_response())
}

/// The result of a method.
pub(super) fn call(face: &AppState, method: &str, params: &Value) -> Result<Value, Failure> {
    if let Some(engine) = face.settings.engine.as_ref().filter(|_| ASKED.contains(&method)) {
        return ask(engine, method, params);
    }
    match method {
        "health" => Ok(json!({})),
        "status" => Ok(status(face)),
        "abci_info" => Ok(abci_info(face)),
        "abci_query" => abci_query(face, params),
        "broadcast_tx_sync" | "broadcast_tx_async" => broadcast(face, params),
        "tx" => tx(face, params),
        "tx_search" => tx_search(face, params),
        "block" => block(face, params),
        _ => Err(Failure(-32601, format!("method {method} is not there"))),
    }
}

/// What a CometBFT answers, in its own words.
fn ask(engine: &Engine, method: &str, params: &Value) -> Result<Value, Failure> {
    let mut answer = engine.call(method, params).map_err(|error| Failure(INTERNAL, format!("{error:#}")))?;
    if let Some(result) = answer.get_mut("result") {
        return Ok(result.take());
    }
    let error = &answer["error"];
    let code = error["code"].as_i64().and_then(|code| i32::try_from(code).ok()).unwrap_or(INTERNAL);
    let words = [&error["data"], &error["message"]].into_iter().find_map(Value::as_str).unwrap_or_default();
    Err(Failure(code, words.to_owned()))
}

fn status(face: &AppState) -> Value {
    let ledger = face.ledger();
    let head = ledger.state().scalars();
    let genesis = hex(&ledger.genesis().hash());
    json!({
        "node_info": {
            "protocol_version": { "p2p": "8", "block": "11", "app": "1" },
            "id": genesis[..40].to_lowercase(), "listen_addr": face.settings.listen.to_string(),
            "network": ledger.genesis().chain_id, "version": VERSION, "channels": "", "moniker": "r3mes-wgpu",
            "other": { "tx_index": "on", "rpc_address": format!("tcp://{}", face.settings.listen) },
        },
        "sync_info": {
            "latest_block_hash": hex(&head.hash), "latest_app_hash": hex(&ledger.root()),
            "latest_block_height": head.height.to_string(), "latest_block_time": rfc3339(head.time),
            "earliest_block_hash": genesis, "earliest_app_hash": genesis, "earliest_block_height": "1",
            "earliest_block_time": rfc3339(head.time), "catching_up": false,
        },
        "validator_info": {
            "address": genesis[..40], "voting_power": "1",
            // the sequencer signs no blocks: what CosmJS wants here is the form of a key
            "pub_key": { "type": "tendermint/PubKeyEd25519", "value": BASE64.encode(ledger.genesis().hash()) },
        },
    })
}

fn abci_info(face: &AppState) -> Value {
    let ledger = face.ledger();
    json!({ "response": {
        "data": "r3mes-wgpu", "version": env!("CARGO_PKG_VERSION"), "app_version": "1",
        "last_block_height": ledger.state().scalars().height.to_string(),
        "last_block_app_hash": BASE64.encode(ledger.root()),
    } })
}

fn abci_query(face: &AppState, params: &Value) -> Result<Value, Failure> {
    let path = params["path"].as_str().ok_or_else(|| invalid("no path"))?;
    let data = unhex(params["data"].as_str().unwrap_or_default()).ok_or_else(|| invalid("data is not hexadecimal"))?;
    let ledger = face.ledger();
    let (code, log, value) = match ledger.query(path, &data) {
        Ok(value) => (0, String::new(), value),
        Err(unanswered) => (unanswered.code, unanswered.log, Vec::new()),
    };
    // clients take height 0 for no answer
    let height = ledger.state().scalars().height.max(1);
    Ok(json!({ "response": {
        "code": code, "log": log, "info": "", "index": "0", "key": null, "value": BASE64.encode(value),
        "proofOps": null, "height": height.to_string(), "codespace": if code == 0 { "" } else { "sdk" },
    } }))
}

fn broadcast(face: &AppState, params: &Value) -> Result<Value, Failure> {
    let text = params["tx"].as_str().filter(|text| text.len() <= 2 * MAX_TX_BYTES);
    let tx = text.and_then(|text| BASE64.decode(text).ok()).ok_or_else(|| invalid("tx is not base64, or too large"))?;
    let hash = tx_hash(&tx);
    let ran = face.node.outcome(&hash)?.is_some_and(|(_, _, outcome)| outcome.code == 0);
    let refused = if ran { None } else { face.node.admit(tx, now()).err() };
    let (code, log) = refused.map_or((0, String::new()), |refusal| (refusal.code, refusal.log));
    let codespace = if code == 0 { "" } else { "remes" };
    Ok(json!({ "code": code, "data": "", "log": log, "codespace": codespace, "hash": hash }))
}

/// By `hash`, base64.
fn tx(face: &AppState, params: &Value) -> Result<Value, Failure> {
    let hash = params["hash"].as_str().and_then(|hash| BASE64.decode(hash).ok()).ok_or_else(|| invalid("no hash"))?;
    let hash = hex(&hash);
    found(face, &hash)?.ok_or_else(|| Failure(INTERNAL, format!("tx ({hash}) not found")))
}

/// By `tx.hash='…'`; other searches are not kept an index for.
fn tx_search(face: &AppState, params: &Value) -> Result<Value, Failure> {
    let query = params["query"].as_str().unwrap_or_default();
    let hash = query.trim().strip_prefix("tx.hash").map(|rest| rest.trim_start_matches([' ', '=']));
    let hash = hash.map(|hash| hash.trim_matches(['\'', ' ']).to_uppercase());
    let Some(hash) = hash.filter(|hash| hash.len() == 64) else {
        return Err(invalid("only tx.hash='…' is searched for"));
    };
    let txs: Vec<Value> = found(face, &hash)?.into_iter().collect();
    Ok(json!({ "total_count": txs.len().to_string(), "txs": txs }))
}

fn found(face: &AppState, hash: &str) -> Result<Option<Value>, Failure> {
    let Some((height, index, outcome)) = face.node.outcome(hash)? else { return Ok(None) };
    let record = face.node.block(height)?;
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
        "gas_wanted": "0", "gas_used": "0", "events": outcome.events.iter().map(cosmos::event).collect::<Vec<_>>(),
        "codespace": if outcome.code == 0 { "" } else { "remes" },
    })
}

fn block(face: &AppState, params: &Value) -> Result<Value, Failure> {
    let last = face.ledger().state().scalars().height;
    let height = match &params["height"] {
        Value::Null => last,
        Value::String(height) => height.parse().map_err(|_| invalid("height is no number"))?,
        height => height.as_u64().ok_or_else(|| invalid("height is no number"))?,
    };
    let missing = || Failure(INTERNAL, format!("height {height} is not there: the last is {last}"));
    let Record { block, .. } = face.node.block(height)?.ok_or_else(missing)?;
    let before = match height {
        0 | 1 => None,
        _ => face.node.block(height - 1)?,
    };
    let (last_hash, app_hash) = match before {
        Some(before) => (before.block.hash, before.root),
        None => (face.node.genesis().hash(), [0; 32]),
    };
    let data: Vec<u8> = block.txs.iter().flat_map(|tx| Sha256::digest(&tx.0)).collect();
    let part = json!({ "total": 1, "hash": hex(&block.hash) });
    let empty = hex(&Sha256::digest([]));
    Ok(json!({
        "block_id": { "hash": hex(&block.hash), "parts": part },
        "block": {
            "header": {
                "version": { "block": "11", "app": "1" }, "chain_id": face.node.genesis().chain_id,
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

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXUPPER.encode(bytes)
}

pub(super) fn unhex(digits: &str) -> Option<Vec<u8>> {
    data_encoding::HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok()
}
