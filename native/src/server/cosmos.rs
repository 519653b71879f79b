//! Transactions and queries, by the paths and in the JSON of a Cosmos SDK 0.50 node's REST server.

use super::{AppState, Shared, blocking, failure, now, rpc};
use crate::output::hex;
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
    ledger::{Event, TxOutcome},
    tx::{DENOM, MAX_TX_BYTES, tx_hash},
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
struct Broadcast {
    tx_bytes: String,
    mode: String,
}

/// Checks a transaction and queues it; what it comes to is asked for by its hash.
async fn broadcast(State(face): Shared, Json(asked): Json<Broadcast>) -> Result<Response, Response> {
    let invalid = |message: &str| failure(StatusCode::BAD_REQUEST, 3, message);
    if asked.mode != "BROADCAST_MODE_SYNC" {
        return Err(invalid("only BROADCAST_MODE_SYNC is taken"));
    }
    if asked.tx_bytes.len() > 2 * MAX_TX_BYTES {
        return Err(invalid("the transaction is too large"));
    }
    let tx = BASE64.decode(&asked.tx_bytes).map_err(|_| invalid("tx_bytes is not base64"))?;
    let hash = tx_hash(&tx);
    let known = hash.clone();
    let admitted = blocking(move || {
        // one that ran before is well
        if face.node.outcome(&known)?.is_some_and(|(_, _, outcome)| outcome.code == 0) {
            return Ok(Ok(Ok(())));
        }
        Ok(face.admit(tx))
    })
    .await?;
    let admitted = admitted.map_err(|error| failure(StatusCode::SERVICE_UNAVAILABLE, 14, format!("{error:#}")))?;
    let (code, log) = admitted.err().map_or((0, String::new()), |refusal| (refusal.code, refusal.log));
    Ok(Json(json!({ "tx_response": response(&hash, 0, code, &log, &[]) })).into_response())
}

async fn transaction(State(face): Shared, Path(hash): Path<String>) -> Result<Response, Response> {
    let asked = hash.to_uppercase();
    match blocking(move || face.node.outcome(&asked)).await? {
        Some((height, _, outcome)) => {
            Ok(Json(json!({ "tx_response": outcome_response(height, &outcome) })).into_response())
        }
        None => Err(failure(StatusCode::NOT_FOUND, 5, format!("tx not found: {hash}"))),
    }
}

fn outcome_response(height: u64, outcome: &TxOutcome) -> Value {
    let TxOutcome { hash, code, log, events, .. } = outcome;
    let mut response = response(hash, height, *code, log, &outcome.data());
    response["events"] = events.iter().map(event).collect();
    response
}

/// An event as Cosmos chains have them.
pub(super) fn event(event: &Event) -> Value {
    let (name, attributes) = event.attributes();
    let attribute = |(key, value): &(String, String)| json!({ "key": key, "value": value, "index": true });
    json!({ "type": name, "attributes": attributes.iter().map(attribute).collect::<Vec<_>>() })
}

fn response(hash: &str, height: u64, code: u32, log: &str, data: &[u8]) -> Value {
    let data = data_encoding::HEXUPPER.encode(data);
    json!({
        "height": height.to_string(), "txhash": hash, "codespace": if code == 0 { "" } else { "remes" }, "code": code,
        "data": data, "raw_log": log, "logs": [], "info": "", "gas_wanted": "0", "gas_used": "0", "events": [],
    })
}

/// Every account is there, with number 0: whoever can sign has one.
async fn account(State(face): Shared, Path(address): Path<String>) -> Result<Json<Value>, Response> {
    if let Some(refusal) = foreign(&address) {
        return Err(refusal);
    }
    let sequence = face.ledger().state().account_of(&address).sequence;
    Ok(Json(json!({ "account": {
        "@type": "/cosmos.auth.v1beta1.BaseAccount", "address": address, "pub_key": null, "account_number": "0",
        "sequence": sequence.to_string(),
    } })))
}

async fn balances(State(face): Shared, Path(address): Path<String>) -> Json<Value> {
    let amount = face.ledger().state().account_of(&address).balance;
    let coins = if amount == 0 { json!([]) } else { json!([{ "denom": DENOM, "amount": amount.to_string() }]) };
    let total = if amount == 0 { "0" } else { "1" };
    Json(json!({ "balances": coins, "pagination": { "next_key": null, "total": total } }))
}

#[derive(Deserialize)]
struct Denom {
    denom: String,
}

async fn balance(State(face): Shared, Path(address): Path<String>, Query(asked): Query<Denom>) -> Json<Value> {
    let held = face.ledger().state().account_of(&address).balance;
    let amount = if asked.denom == DENOM { held } else { 0 };
    Json(json!({ "balance": { "denom": asked.denom, "amount": amount.to_string() } }))
}

/// What CometBFT's RPC says, for the REST server to say in its own names.
async fn consensus(face: Arc<AppState>, method: &'static str, params: Value) -> Result<Value, Response> {
    let told = blocking(move || Ok(rpc::call(&face, method, &params))).await?;
    told.map_err(|failed| failure(StatusCode::NOT_FOUND, 5, failed.1))
}

async fn node_info(State(face): Shared) -> Result<Json<Value>, Response> {
    let mut node = consensus(face, "status", Value::Null).await?["node_info"].take();
    if let Some(id) = node.as_object_mut().and_then(|node| node.remove("id")) {
        node["default_node_id"] = id;
    }
    let version = env!("CARGO_PKG_VERSION");
    Ok(Json(json!({
        "default_node_info": node,
        "application_version": { "name": "r3mes", "app_name": "r3mes-wgpu", "version": version },
    })))
}

async fn syncing(State(face): Shared) -> Result<Json<Value>, Response> {
    let status = consensus(face, "status", Value::Null).await?;
    Ok(Json(json!({ "syncing": status["sync_info"]["catching_up"] })))
}

/// A block by its height, or `latest`.
async fn block(State(face): Shared, Path(height): Path<String>) -> Result<Json<Value>, Response> {
    let height = if height == "latest" { Value::Null } else { json!(height) };
    let mut block = consensus(face, "block", json!({ "height": height })).await?;
    in_base64(&mut block);
    Ok(Json(block))
}

/// RPC's hexadecimal hashes and addresses, as REST has them.
fn in_base64(told: &mut Value) {
    match told {
        Value::Array(all) => all.iter_mut().for_each(in_base64),
        Value::Object(fields) => {
            if let Some(parts) = fields.remove("parts") {
                fields.insert("part_set_header".to_owned(), parts);
            }
            for (name, field) in fields {
                let hexadecimal = name == "hash" || name.ends_with("_hash") || name.ends_with("_address");
                match field.as_str().filter(|_| hexadecimal).and_then(rpc::unhex) {
                    Some(bytes) => *field = json!(BASE64.encode(bytes)),
                    None => in_base64(field),
                }
            }
        }
        _ => {}
    }
}

async fn job(State(face): Shared) -> Json<JobInfo> {
    let ledger = face.ledger();
    let (genesis, head) = (ledger.genesis(), ledger.state().scalars());
    Json(JobInfo {
        chain_id: genesis.chain_id.clone(),
        genesis: hex(&genesis.hash()),
        height: head.height,
        time: head.time.max(now()),
        arithmetic_version: genesis.job.arithmetic_version,
        model: genesis.job.model.to_string(),
        rank: genesis.job.rank,
        targets: genesis.job.targets.clone(),
        round: head.round,
        accepted: head.accepted_total,
        reward: genesis.params.reward,
    })
}

/// The answer to a question about what is no address.
pub(super) fn foreign(address: &str) -> Option<Response> {
    r3mes_wgpu::tx::check_address(address).err().map(|error| failure(StatusCode::BAD_REQUEST, 3, error))
}
