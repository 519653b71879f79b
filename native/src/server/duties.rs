//! HTTP routes that return the task that a miner has claimed, the pending work of a verifier or a proposer, and the
//! open disputes.

use super::{
    extract::PathOf,
    state::{AppState, SharedApp, read_address},
};
use crate::{clock::unix_seconds, output::hex};
use axum::{Json, Router, extract::State, response::Response, routing::get};
use r3mes_wgpu::{
    client::{
        AggregationInput, AggregationJob, ClaimedGradient, DisputableGradient, DisputeList, GivenAnswer, HeldTask,
        OpenDispute, VerificationDuty, VerifierDuties,
    },
    ledger::{Aggregation, Assignment, ChallengeStage, ContestableGradient, HeldClaim, Ledger, Submission},
    store::Cid,
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

async fn held(State(app): SharedApp, PathOf(address): PathOf<String>) -> Result<Json<Value>, Response> {
    let address = read_address(&address)?;
    let held = app.query(move |_, ledger| {
        let held = ledger.at(unix_seconds()).held(&address)?;
        Ok(held.map(|HeldClaim { task, round, shard, global_seed, proof_of_work_bits, .. }| HeldTask {
            task: task.cid(),
            proof_of_work_bits,
            round,
            shard_id: shard,
            global_seed,
        }))
    });
    Ok(Json(json!({ "held": held.await? })))
}

async fn challenges(State(app): SharedApp, PathOf(address): PathOf<String>) -> Result<Json<VerifierDuties>, Response> {
    let address = read_address(&address)?;
    let duty = |task: Cid, assignment: Assignment| {
        let Assignment { challenge, stage, done, committed, blocks_left, selector, id, submission } = assignment;
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
            task,
            stored_gradient_id: id,
            ipfs_hash: submission.artifact,
            gradient_hash: submission.commitment.to_string(),
            committed: committed.as_deref().map(hex),
        }
    };
    let duties = app.query(move |app, ledger| {
        let duty = |assignment: Assignment| -> anyhow::Result<VerificationDuty> {
            let task = app.task_cids.of(ledger, assignment.id, &assignment.submission)?;
            Ok(duty(task, assignment))
        };
        let challenges = ledger.assignments(&address).into_iter().map(duty).collect::<Result<_, _>>()?;
        Ok(VerifierDuties { challenges, beacon: ledger.beacon_duty(&address) })
    });
    Ok(Json(duties.await?))
}

async fn aggregation(State(app): SharedApp, PathOf(address): PathOf<String>) -> Result<Json<Value>, Response> {
    let address = read_address(&address)?;
    let job = app.query(move |app, ledger| {
        let Some(Aggregation { round, adapter, gradients, may_leave_out, own }) = ledger.aggregation(&address) else {
            return Ok(None);
        };
        let input = |(id, submission): &(u64, Submission)| -> anyhow::Result<AggregationInput> {
            Ok(AggregationInput {
                id: *id,
                task: app.task_cids.of(ledger, *id, submission)?,
                artifact: submission.artifact,
                gradient_hash: submission.commitment.to_string(),
            })
        };
        Ok(Some(AggregationJob {
            round,
            adapter,
            gradients: gradients.iter().map(input).collect::<Result<_, _>>()?,
            may_leave_out,
            commitment_id: own.as_ref().map(|(id, _)| *id),
            committed: own.as_ref().map_or(Vec::new(), |(_, proposal)| proposal.ids.clone()),
            revealed: own.is_some_and(|(_, proposal)| proposal.adapter.is_some()),
        }))
    });
    Ok(Json(json!({ "aggregation": job.await? })))
}

async fn disputes(State(app): SharedApp) -> Result<Json<DisputeList>, Response> {
    Ok(Json(app.query(dispute_list).await?))
}

fn dispute_list(app: &AppState, ledger: &Ledger) -> anyhow::Result<DisputeList> {
    let next = ledger.state().head().clock + 1;
    let claimed = |id: u64, submission: &Submission| -> anyhow::Result<ClaimedGradient> {
        let task = app.task_cids.of(ledger, id, submission)?;
        let gradient_hash = submission.commitment.to_string();
        Ok(ClaimedGradient { stored_gradient_id: id, task, ipfs_hash: submission.artifact, gradient_hash })
    };
    let mut list = DisputeList { gradients: Vec::new(), disputes: Vec::new() };
    for ContestableGradient { id, submission, disputable, appealable } in ledger.contestable() {
        list.gradients.push(DisputableGradient { gradient: claimed(id, submission)?, disputable, appealable });
    }
    for (dispute_id, case, submission) in ledger.disputes() {
        let games = case.answers.iter().zip(case.dispute.games());
        list.disputes.push(OpenDispute {
            dispute_id,
            gradient: claimed(case.submission, submission)?,
            challenger: case.challenger.clone(),
            answerable: next <= case.dispute.deadline(),
            answers: games.map(|((sender, _), game)| GivenAnswer::new(sender.clone(), game)).collect(),
        });
    }
    Ok(list)
}
