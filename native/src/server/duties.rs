//! Routes for the claimed task of a miner, the pending work of a verifier or a proposer, and the open disputes.

use super::{
    extract::PathOf,
    state::{AppState, SharedApp, failure, read_address},
};
use crate::{clock::unix_seconds, output::hex};
use axum::{Json, Router, extract::State, http::StatusCode, response::Response, routing::get};
use r3mes_wgpu::{
    client::{
        AggregationInput, AggregationJob, ClaimedGradient, DisputableGradient, DisputeList, GivenAnswer, HeldTask,
        OpenDispute, VerificationDuty, VerifierDuties,
    },
    ledger::{Aggregation, Assignment, ChallengeStage, ContestableGradient, HeldClaim, Submission},
    protocol::Task,
};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn routes() -> Router<Arc<AppState>> {
    Router::new()
        .route("/r3mes/wgpu/v1/tasks/{address}", get(held))
        .route("/r3mes/wgpu/v1/challenges/{address}", get(challenges))
        .route("/r3mes/wgpu/v1/aggregations/{address}", get(aggregation))
        .route("/r3mes/wgpu/v1/disputes", get(disputes))
}

/// Returns the error response, with the HTTP status 500, for an inconsistent ledger. No ledger should ever be
/// inconsistent.
fn inconsistent(error: impl std::fmt::Display) -> Response {
    failure(StatusCode::INTERNAL_SERVER_ERROR, 13, error)
}

async fn held(State(app): SharedApp, PathOf(address): PathOf<String>) -> Result<Json<Value>, Response> {
    let address = read_address(&address)?;
    let held = app.ledger().at(unix_seconds()).held(&address).map_err(inconsistent)?;
    let held = held.map(|HeldClaim { task, round, shard, global_seed, proof_of_work_bits, .. }| HeldTask {
        task: task.cid(),
        proof_of_work_bits,
        round,
        shard_id: shard,
        global_seed,
    });
    Ok(Json(json!({ "held": held })))
}

async fn challenges(State(app): SharedApp, PathOf(address): PathOf<String>) -> Result<Json<VerifierDuties>, Response> {
    let address = read_address(&address)?;
    let duty = |assignment: Assignment| {
        let Assignment { challenge, stage, done, committed, blocks_left, selector, task, id, submission } = assignment;
        let stage = match stage {
            ChallengeStage::Commit => "commit",
            ChallengeStage::Reveal => "reveal",
            ChallengeStage::Draw(_) => "draw",
            ChallengeStage::Panel => "panel",
            ChallengeStage::Appeal => "appeal",
            ChallengeStage::Contested => "contested",
        };
        VerificationDuty {
            challenge_id: challenge,
            stage: stage.to_owned(),
            done,
            blocks_left,
            selector,
            task: task.cid(),
            stored_gradient_id: id,
            ipfs_hash: submission.artifact,
            gradient_hash: submission.commitment.to_string(),
            committed: committed.as_deref().map(hex),
        }
    };
    let ledger = app.ledger();
    let challenges = ledger.assignments(&address).map_err(inconsistent)?.into_iter().map(duty).collect();
    Ok(Json(VerifierDuties { challenges, beacon: ledger.beacon_duty(&address) }))
}

async fn aggregation(State(app): SharedApp, PathOf(address): PathOf<String>) -> Result<Json<Value>, Response> {
    let address = read_address(&address)?;
    let job = app.ledger().aggregation(&address).map_err(inconsistent)?.map(|aggregation| {
        let Aggregation { round, adapter, gradients, may_leave_out, own } = aggregation;
        let input = |(id, task, submission): (u64, Task, Submission)| AggregationInput {
            id,
            task: task.cid(),
            artifact: submission.artifact,
            gradient_hash: submission.commitment.to_string(),
        };
        AggregationJob {
            round,
            adapter,
            gradients: gradients.into_iter().map(input).collect(),
            may_leave_out,
            commitment_id: own.as_ref().map(|(id, _)| *id),
            committed: own.as_ref().map_or(Vec::new(), |(_, proposal)| proposal.ids.clone()),
            revealed: own.is_some_and(|(_, proposal)| proposal.adapter.is_some()),
        }
    });
    Ok(Json(json!({ "aggregation": job })))
}

async fn disputes(State(app): SharedApp) -> Result<Json<DisputeList>, Response> {
    let ledger = app.ledger();
    let next = ledger.state().head().clock + 1;
    let watched = |found: ContestableGradient| {
        let ContestableGradient { id, submission, task, disputable, appealable } = found;
        DisputableGradient { gradient: claimed(id, &submission, &task), disputable, appealable }
    };
    let gradients = ledger.contestable().map_err(inconsistent)?.into_iter().map(watched).collect();
    let mut disputes = Vec::new();
    for (dispute_id, contest, submission, task) in ledger.disputes().map_err(inconsistent)? {
        let games = contest.answers.iter().zip(contest.dispute.games());
        disputes.push(OpenDispute {
            dispute_id,
            gradient: claimed(contest.submission, submission, &task),
            challenger: contest.challenger.clone(),
            answerable: next <= contest.dispute.deadline(),
            answers: games.map(|((sender, _), game)| GivenAnswer::new(sender.clone(), game)).collect(),
        });
    }
    Ok(Json(DisputeList { gradients, disputes }))
}

fn claimed(id: u64, submission: &Submission, task: &Task) -> ClaimedGradient {
    let gradient_hash = submission.commitment.to_string();
    ClaimedGradient { stored_gradient_id: id, task: task.cid(), ipfs_hash: submission.artifact, gradient_hash }
}
