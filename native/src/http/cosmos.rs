//! Transactions and queries, by the paths and in the JSON of a Cosmos SDK 0.50 node's REST server.

use super::{Face, Shared, blocking, failure, now};
use crate::node::transactions::{Outcome, Refusal};
use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use r3mes_wgpu::chain::{ADDRESS_PREFIX, DENOM, MAX_TX_BYTES, client::JobInfo, code, tx_hash};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// The only pool.
const POOL: &str = "0";

pub(super) fn routes() -> Router<Arc<Face>> {
    Router::new()
        .route("/cosmos/tx/v1beta1/txs", axum::routing::post(broadcast))
        .route("/cosmos/tx/v1beta1/txs/{hash}", get(transaction))
        .route("/cosmos/auth/v1beta1/accounts/{address}", get(account))
        .route("/cosmos/bank/v1beta1/balances/{address}", get(balances))
        .route("/remes/remes/v1/task_pool/active", get(active_pools))
        .route("/remes/remes/v1/task_pool/{pool}/available_chunks", get(available_chunks))
        .route("/remes/remes/v1/params", get(params))
        .route("/r3mes/wgpu/v1/job", get(job))
        .route("/r3mes/wgpu/v1/tasks/{address}", get(held_task))
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
    let (node, checked, chain_id) = (face.clone(), tx.clone(), face.settings.chain_id.clone());
    let known = hash.clone();
    let checked = blocking(move || {
        // one that was settled before is well
        if node.node.outcome(&known)?.is_some() {
            return Ok(Ok(None));
        }
        Ok(node.node.check(&checked, &chain_id, now())?.map(Some))
    })
    .await?;
    let refused = match checked {
        Ok(None) => None,
        Ok(Some(signed)) if signed.fee.amount < face.settings.min_fee => {
            let (paid, least) = (signed.fee.amount, face.settings.min_fee);
            let log = format!("insufficient fee: got {paid}{DENOM}, required {least}{DENOM}");
            Some(Refusal { code: code::INSUFFICIENT_FEE, log })
        }
        Ok(Some(_)) => face.enqueue(tx).err().map(|log| Refusal { code: code::MEMPOOL_FULL, log: log.to_owned() }),
        Err(refusal) => Some(refusal),
    };
    let (code, log) = refused.map_or((0, String::new()), |refusal| (refusal.code, refusal.log));
    Ok(Json(json!({ "tx_response": response(&hash, 0, code, &log, &[]) })).into_response())
}

async fn transaction(State(face): Shared, Path(hash): Path<String>) -> Result<Response, Response> {
    let asked = hash.to_uppercase();
    match blocking(move || face.node.outcome(&asked)).await? {
        Some(outcome) => Ok(Json(json!({ "tx_response": outcome_response(&outcome) })).into_response()),
        None => Err(failure(StatusCode::NOT_FOUND, 5, format!("tx not found: {hash}"))),
    }
}

fn outcome_response(outcome: &Outcome) -> Value {
    let Outcome { hash, height, code, log, data, .. } = outcome;
    let mut response = response(hash, *height, *code, log, data);
    if let Some(submitted) = &outcome.submission {
        response["events"] = json!([{ "type": "gradient_accepted", "attributes": [
            { "key": "artifact", "value": submitted.artifact },
            { "key": "round", "value": submitted.round.to_string() },
            { "key": "payee", "value": submitted.payee },
            { "key": "balance", "value": submitted.balance.to_string() },
        ] }]);
    }
    response
}

fn response(hash: &str, height: u64, code: u32, log: &str, data: &[u8]) -> Value {
    let data: String = data.iter().map(|byte| format!("{byte:02X}")).collect();
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
    let asked = address.clone();
    let sequence = blocking(move || face.node.sequence(&asked)).await?;
    Ok(Json(json!({ "account": {
        "@type": "/cosmos.auth.v1beta1.BaseAccount", "address": address, "pub_key": null, "account_number": "0",
        "sequence": sequence.to_string(),
    } })))
}

async fn balances(State(face): Shared, Path(address): Path<String>) -> Result<Json<Value>, Response> {
    let amount = blocking(move || face.node.balance(&address)).await?;
    let coins = if amount == 0 { json!([]) } else { json!([{ "denom": DENOM, "amount": amount.to_string() }]) };
    let total = if amount == 0 { "0" } else { "1" };
    Ok(Json(json!({ "balances": coins, "pagination": { "next_key": null, "total": total } })))
}

async fn active_pools(State(face): Shared) -> Result<Json<Value>, Response> {
    let status = blocking(move || face.node.status()).await?;
    Ok(Json(json!({ "pools": [{
        "pool_id": POOL, "round": status.round.to_string(), "adapter": status.adapter.to_string(),
        "accepted": status.accepted_in_round.to_string(),
    }] })))
}

#[derive(Deserialize)]
struct Limit {
    limit: Option<u64>,
}

async fn available_chunks(
    State(face): Shared,
    Path(pool): Path<String>,
    Query(asked): Query<Limit>,
) -> Result<Json<Value>, Response> {
    if pool != POOL {
        return Err(failure(StatusCode::NOT_FOUND, 5, format!("pool {pool} is not there")));
    }
    let chunk = blocking(move || face.node.available(now())).await?.filter(|_| asked.limit != Some(0));
    let chunks: Vec<_> = chunk.iter().map(|chunk| json!({ "chunk_id": chunk.to_string() })).collect();
    Ok(Json(json!({ "chunks": chunks })))
}

async fn params(State(face): Shared) -> Json<Value> {
    let genesis = face.node.genesis();
    Json(json!({ "params": {
        "bech32_prefix": ADDRESS_PREFIX, "denom": DENOM, "chain_id": face.settings.chain_id,
        "reward_per_gradient": genesis.reward.to_string(), "tasks_per_round": genesis.quota,
        "claim_lifetime_seconds": genesis.claim_lifetime.to_string(), "min_fee": face.settings.min_fee.to_string(),
    } }))
}

async fn job(State(face): Shared) -> Result<Json<JobInfo>, Response> {
    let shared = face.clone();
    let status = blocking(move || shared.node.status()).await?;
    let job = &face.node.genesis().job;
    Ok(Json(JobInfo {
        chain_id: face.settings.chain_id.clone(),
        arithmetic_version: job.arithmetic_version,
        model: job.model.to_string(),
        rank: job.rank,
        targets: job.targets.clone(),
        round: status.round,
        accepted: status.accepted_total,
        reward: face.node.genesis().reward,
    }))
}

async fn held_task(State(face): Shared, Path(address): Path<String>) -> Result<Json<Value>, Response> {
    if let Some(refusal) = foreign(&address) {
        return Err(refusal);
    }
    let held = blocking(move || face.node.held_task(&address)).await?;
    let (task, round) = held.map_or((None, 0), |(task, round)| (Some(task.cid().to_string()), round));
    Ok(Json(json!({ "task": task, "round": round })))
}

/// The answer to a question about what is no address.
fn foreign(address: &str) -> Option<Response> {
    r3mes_wgpu::chain::check_address(address).err().map(|error| failure(StatusCode::BAD_REQUEST, 3, error))
}
