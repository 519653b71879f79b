//! HTTP queries of the R3MES module. Their paths and field names are those of the protobuf package `remes.remes.v1`.

use super::{
    extract::{PathOf, QueryOf},
    state::{AppState, SharedApp, failure, read_address},
};
use crate::{clock::unix_seconds, output::hex};
use axum::{Json, Router, extract::State, http::StatusCode, response::Response, routing::get};
use r3mes_wgpu::{
    client::GradientStatus,
    ledger::{Finding, Round, SubmissionStatus, fee_waiver, global_seed},
    tx::{ADDRESS_PREFIX, DENOM},
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// The ID of the only task pool, the set of chunks that miners can claim.
const POOL: &str = "0";
/// The maximum number of chunks that one response lists.
const MAX_CHUNKS: usize = 256;

pub(super) fn routes() -> Router<Arc<AppState>> {
    Router::new()
        .route("/remes/remes/v1/params", get(params))
        .route("/remes/remes/v1/reward_formula", get(reward_formula))
        .route("/remes/remes/v1/model_params", get(model_params))
        .route("/remes/remes/v1/task_pool/active", get(active_pools))
        .route("/remes/remes/v1/task_pool/{pool}/available_chunks", get(available_chunks))
        .route("/remes/remes/v1/global_seed/{round}", get(seed))
        .route("/remes/remes/v1/stored_gradient/{id}", get(stored))
        .route("/remes/remes/v1/miner_score/{address}", get(score))
        .route("/remes/remes/v1/miner_fraud_score/{address}", get(fraud_score))
        .route("/remes/remes/v1/node_registration/{address}", get(registration))
}

async fn active_pools(State(app): SharedApp) -> Json<Value> {
    let ledger = app.ledger();
    let head = ledger.state().head();
    Json(json!({ "pools": [{
        "pool_id": POOL, "round": head.round.to_string(), "adapter": ledger.state().adapter().to_string(),
        "accepted": head.accepted_in_round.to_string(),
    }] }))
}

#[derive(Deserialize)]
struct LimitQuery {
    limit: Option<usize>,
}

async fn available_chunks(
    State(app): SharedApp,
    PathOf(pool): PathOf<String>,
    QueryOf(query): QueryOf<LimitQuery>,
) -> Result<Json<Value>, Response> {
    if pool != POOL {
        return Err(failure(StatusCode::NOT_FOUND, 5, format!("pool {pool} not found; the only pool is {POOL}")));
    }
    let ledger = app.ledger().at(unix_seconds());
    let chunks = ledger.state().available().take(query.limit.unwrap_or(MAX_CHUNKS).min(MAX_CHUNKS));
    let chunks: Vec<_> = chunks.map(|chunk| json!({ "chunk_id": chunk.to_string() })).collect();
    Ok(Json(json!({ "chunks": chunks })))
}

async fn params(State(app): SharedApp) -> Json<Value> {
    let ledger = app.ledger();
    let genesis = ledger.genesis();
    let params = &genesis.params;
    let mut json = serde_json::to_value(params).unwrap_or_default();
    for (name, value) in [
        ("bech32_prefix", json!(ADDRESS_PREFIX)),
        ("denom", json!(DENOM)),
        ("chain_id", json!(genesis.chain_id)),
        ("reward_per_gradient", json!(params.reward.to_string())),
        ("tasks_per_round", json!(genesis.quota)),
        ("claim_lifetime_seconds", json!(params.claim_lifetime.to_string())),
        ("min_fee", json!(app.node.min_fee().to_string())),
        ("fee_waiver", json!(fee_waiver())),
    ] {
        json[name] = value;
    }
    Json(json!({ "params": json }))
}

/// Returns the network's rewards and penalties. The field `formulas` is a string that contains them as JSON.
async fn reward_formula(State(app): SharedApp) -> Json<Value> {
    let ledger = app.ledger();
    let params = &ledger.genesis().params;
    let coins = |amount: u64| json!({ "amount": amount.to_string(), "denom": DENOM });
    let formulas = json!({
        "accepted_gradient": coins(params.reward), "all_verifiers_per_accepted_gradient": coins(params.verification_budget),
        "verification_of_wrong_gradient": coins(params.verifier_reward),
        "slashed_for_wrong_attestation": share(params.fraud_penalty), "slashed_for_missing_attestation": share(params.silence_penalty),
        "rewards_in_escrow_without_a_stake": params.probation,
    });
    Json(json!({ "formulas": formulas.to_string() }))
}

/// Formats a fraction, given in units of 1/10,000, as a decimal number with four decimals: 250 becomes `0.0250`.
fn share(myriad: u64) -> String {
    format!("{}.{:04}", myriad / 10_000, myriad % 10_000)
}

/// Returns the CID of the current round's adapter (`model_ipfs_hash`) and the CID of the frozen model
/// (`model_version`). Every submission must state the model's CID.
async fn model_params(State(app): SharedApp) -> Json<Value> {
    let ledger = app.ledger();
    let (adapter, round) = (ledger.state().adapter().to_string(), ledger.state().head().round.to_string());
    let model = ledger.genesis().job.model.to_string();
    Json(json!({ "model_ipfs_hash": adapter, "model_version": model, "training_round_id": round }))
}

/// Returns a miner's fraud score: the number of its rejected submissions divided by the number of its accepted and
/// rejected submissions, with six decimals. A submission is rejected if its gradient is wrong or unavailable.
async fn fraud_score(State(app): SharedApp, PathOf(address): PathOf<String>) -> Result<Json<Value>, Response> {
    let address = read_address(&address)?;
    let reputation = app.ledger().state().reputation(&address);
    let (wrong, all) = (reputation.rejected, reputation.accepted + reputation.rejected);
    let millionths = (u128::from(wrong) * 1_000_000).checked_div(all.into()).unwrap_or(0);
    let score = format!("{}.{:06}", millionths / 1_000_000, millionths % 1_000_000);
    Ok(Json(json!({ "miner": address, "fraud_score": score })))
}

async fn stored(State(app): SharedApp, PathOf(id): PathOf<u64>) -> Result<Json<Value>, Response> {
    let ledger = app.ledger();
    let Some(submission) = ledger.state().submission(id) else {
        return Err(failure(
            StatusCode::NOT_FOUND,
            5,
            format!("gradient {id} not found: the ledger has not seen it or no longer keeps it"),
        ));
    };
    let (status, finding) = match submission.status {
        SubmissionStatus::Pending => ("pending", None),
        SubmissionStatus::Challenged(_) => ("challenged", None),
        SubmissionStatus::Accepted => ("accepted", None),
        SubmissionStatus::Disputed => ("disputed", None),
        SubmissionStatus::Withdrawn => ("withdrawn", None),
        SubmissionStatus::Settled => ("settled", None),
        SubmissionStatus::Voided => ("rejected", Some("voided".to_owned())),
        SubmissionStatus::Rejected(Finding::Unavailable) => ("rejected", Some("unavailable".to_owned())),
        SubmissionStatus::Rejected(_) => ("rejected", Some("mismatch".to_owned())),
    };
    let mut stored = json!(GradientStatus { status: status.to_owned(), finding, round: submission.round });
    stored["id"] = json!(id);
    stored["miner"] = json!(submission.miner);
    stored["ipfs_hash"] = json!(submission.artifact.to_string());
    stored["gradient_hash"] = json!(submission.commitment.to_string());
    Ok(Json(json!({ "stored_gradient": stored })))
}

async fn score(State(app): SharedApp, PathOf(address): PathOf<String>) -> Result<Json<Value>, Response> {
    let address = read_address(&address)?;
    let reputation = app.ledger().state().reputation(&address);
    Ok(Json(json!({ "miner_score": {
        "trust_score": share(reputation.trust.into()),
        "accepted": reputation.accepted.to_string(), "rejected": reputation.rejected.to_string(),
        "escrow": reputation.escrow.to_string(),
    } })))
}

async fn registration(State(app): SharedApp, PathOf(address): PathOf<String>) -> Result<Json<Value>, Response> {
    let address = read_address(&address)?;
    let ledger = app.ledger();
    let Some(node) = ledger.state().node(&address) else {
        return Err(failure(StatusCode::NOT_FOUND, 5, format!("{address} is not registered as a node")));
    };
    Ok(Json(json!({ "node_registration": {
        "registration_id": node.id.to_string(), "node_address": address, "roles": node.roles,
        "stake": node.stake.to_string(),
    } })))
}

async fn seed(State(app): SharedApp, PathOf(round): PathOf<u64>) -> Result<Json<Value>, Response> {
    let ledger = app.ledger();
    let Some(Round { hash, .. }) = ledger.state().round_of(round) else {
        return Err(failure(
            StatusCode::NOT_FOUND,
            5,
            format!("round {round} has not started, or the ledger no longer keeps it"),
        ));
    };
    Ok(Json(json!({ "global_seed": global_seed(hash, round).to_string(), "block_hash": hex(hash) })))
}
