//! What miners, verifiers and proposers are to do, and what became of what they did.

use super::{Face, Shared, cosmos::foreign, failure, now};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::Response,
    routing::get,
};
use r3mes_wgpu::chain::client::{
    Claimed, Docket, Duty, GivenAnswer, HeldTask, OpenDispute, Stored, Sum, Summand, Watched,
};
use r3mes_wgpu::ledger::{
    Aggregation, Assignment, Doubtful, Finding, Held, Round, Stage, Status, Submission, global_seed,
};
use r3mes_wgpu::work::Task;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn routes() -> Router<Arc<Face>> {
    Router::new()
        .route("/r3mes/wgpu/v1/tasks/{address}", get(held))
        .route("/r3mes/wgpu/v1/challenges/{address}", get(challenges))
        .route("/r3mes/wgpu/v1/aggregations/{address}", get(aggregation))
        .route("/r3mes/wgpu/v1/disputes", get(disputes))
        .route("/remes/remes/v1/stored_gradient/{id}", get(stored))
        .route("/remes/remes/v1/miner_score/{address}", get(score))
        .route("/remes/remes/v1/node_registration/{address}", get(registration))
        .route("/remes/remes/v1/global_seed/{round}", get(seed))
}

/// A task that this program can not describe: the ledger's own, so it never is.
fn broken(error: impl std::fmt::Display) -> Response {
    failure(StatusCode::INTERNAL_SERVER_ERROR, 13, error)
}

async fn held(State(face): Shared, Path(address): Path<String>) -> Result<Json<Value>, Response> {
    foreign(&address).map_or(Ok(()), Err)?;
    let held = face.ledger().at(now()).held(&address).map_err(broken)?;
    let held = held.map(|Held { task, round, shard, global_seed, .. }| HeldTask {
        task: task.cid(),
        round,
        shard_id: shard,
        global_seed,
    });
    Ok(Json(json!({ "held": held })))
}

async fn challenges(State(face): Shared, Path(address): Path<String>) -> Result<Json<Value>, Response> {
    foreign(&address).map_or(Ok(()), Err)?;
    let duty = |assignment: Assignment| {
        let Assignment { challenge, stage, done, sealed, blocks_left, selector, task, id, submission } = assignment;
        let stage = match stage {
            Stage::Commit => "commit",
            Stage::Reveal => "reveal",
            Stage::Panel => "panel",
            Stage::Appeal => "appeal",
            Stage::Contested => "contested",
        };
        Duty {
            challenge_id: challenge,
            stage: stage.to_owned(),
            done,
            blocks_left,
            selector,
            task: task.cid(),
            stored_gradient_id: id,
            ipfs_hash: submission.artifact,
            gradient_hash: submission.commitment.to_string(),
            sealed: sealed.as_deref().map(hex),
        }
    };
    let duties = face.ledger().assignments(&address).map_err(broken)?.into_iter().map(duty).collect::<Vec<_>>();
    Ok(Json(json!({ "challenges": duties })))
}

async fn aggregation(State(face): Shared, Path(address): Path<String>) -> Result<Json<Value>, Response> {
    foreign(&address).map_or(Ok(()), Err)?;
    let sum = face.ledger().aggregation(&address).map_err(broken)?.map(|aggregation| {
        let Aggregation { round, adapter, gradients, waited, own } = aggregation;
        let summand = |(id, task, submission): (u64, Task, Submission)| Summand {
            id,
            task: task.cid(),
            artifact: submission.artifact,
            gradient_hash: submission.commitment.to_string(),
        };
        Sum {
            round,
            adapter,
            gradients: gradients.into_iter().map(summand).collect(),
            waited,
            commitment_id: own.as_ref().map(|(id, _)| *id),
            committed: own.as_ref().map_or(Vec::new(), |(_, proposal)| proposal.ids.clone()),
            shown: own.is_some_and(|(_, proposal)| proposal.adapter.is_some()),
        }
    });
    Ok(Json(json!({ "aggregation": sum })))
}

async fn disputes(State(face): Shared) -> Result<Json<Docket>, Response> {
    let ledger = face.ledger();
    let next = ledger.state().scalars().height + 1;
    let watched = |found: Doubtful| {
        let Doubtful { id, submission, task, disputable, appealable } = found;
        Watched { gradient: claimed(id, &submission, &task), disputable, appealable }
    };
    let gradients = ledger.doubtful().map_err(broken)?.into_iter().map(watched).collect();
    let mut disputes = Vec::new();
    for (dispute_id, contest, submission, task) in ledger.disputes().map_err(broken)? {
        let games = contest.answers.iter().zip(contest.dispute.games());
        disputes.push(OpenDispute {
            dispute_id,
            gradient: claimed(contest.submission, submission, &task),
            challenger: contest.challenger.clone(),
            answerable: next <= contest.dispute.deadline(),
            answers: games.map(|((sender, _), game)| GivenAnswer::new(sender.clone(), game)).collect(),
        });
    }
    Ok(Json(Docket { gradients, disputes }))
}

fn claimed(id: u64, submission: &Submission, task: &Task) -> Claimed {
    let gradient_hash = submission.commitment.to_string();
    Claimed { stored_gradient_id: id, task: task.cid(), ipfs_hash: submission.artifact, gradient_hash }
}

async fn stored(State(face): Shared, Path(id): Path<u64>) -> Result<Json<Value>, Response> {
    let ledger = face.ledger();
    let Some(submission) = ledger.state().submission(id) else {
        return Err(failure(StatusCode::NOT_FOUND, 5, format!("gradient {id} is not there, or not any more")));
    };
    let (status, finding) = match submission.status {
        Status::Pending => ("pending", None),
        Status::Challenged(_) => ("challenged", None),
        Status::Accepted => ("accepted", None),
        Status::Disputed => ("disputed", None),
        Status::Withdrawn => ("withdrawn", None),
        Status::Rejected(Finding::Unavailable) => ("rejected", Some("unavailable".to_owned())),
        Status::Rejected(_) => ("rejected", Some("mismatch".to_owned())),
    };
    let mut told = json!(Stored { status: status.to_owned(), finding, round: submission.round });
    told["id"] = json!(id);
    told["miner"] = json!(submission.miner);
    told["ipfs_hash"] = json!(submission.artifact.to_string());
    told["gradient_hash"] = json!(submission.commitment.to_string());
    Ok(Json(json!({ "stored_gradient": told })))
}

async fn score(State(face): Shared, Path(address): Path<String>) -> Result<Json<Value>, Response> {
    foreign(&address).map_or(Ok(()), Err)?;
    let standing = face.ledger().state().standing(&address);
    Ok(Json(json!({ "miner_score": {
        "trust_score": format!("{}.{:04}", standing.trust / 10_000, standing.trust % 10_000),
        "accepted": standing.accepted.to_string(), "rejected": standing.rejected.to_string(),
        "escrow": standing.escrow.to_string(),
    } })))
}

async fn registration(State(face): Shared, Path(address): Path<String>) -> Result<Json<Value>, Response> {
    foreign(&address).map_or(Ok(()), Err)?;
    let ledger = face.ledger();
    let Some(node) = ledger.state().node(&address) else {
        return Err(failure(StatusCode::NOT_FOUND, 5, format!("{address} is no node")));
    };
    Ok(Json(json!({ "node_registration": {
        "registration_id": node.id.to_string(), "node_address": address, "roles": node.roles,
        "stake": node.stake.to_string(),
    } })))
}

async fn seed(State(face): Shared, Path(round): Path<u64>) -> Result<Json<Value>, Response> {
    let ledger = face.ledger();
    let Some(Round { hash, .. }) = ledger.state().round_of(round) else {
        return Err(failure(StatusCode::NOT_FOUND, 5, format!("round {round} is to come, or forgotten")));
    };
    Ok(Json(json!({ "global_seed": global_seed(hash, round).to_string(), "block_hash": hex(hash) })))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
