//! A submission says what a gradient is: the root of its blocks, and a commitment that binds it to task and miner.

use super::{
    ChunkSlot, Event, Finding, LedgerParams, Refusal, State, Submission, SubmissionStatus, claims,
    transactions::Context,
};
use crate::{
    protocol::{CHUNK_TOKENS, Commitment},
    store::{Cid, Codec},
    tx::{
        MsgCompleteTask, MsgCompleteTaskResponse, MsgSubmitGradient, MsgSubmitGradientResponse, MsgSubmitTrapJobResult,
        MsgWithdraw, code,
    },
};
use prost::Message;
use sha2::{Digest, Sha256};

/// Shards that miners are spread over.
const SHARDS: u64 = 100;
/// Blocks that a rate is counted over.
const RATE_BLOCKS: u64 = 10;

/// The shard of a miner in a round: of SHA-256 of `address|block hash|round`.
pub fn shard(miner: &str, hash: &[u8; 32], round: u64) -> u64 {
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    first_u64(Sha256::digest(format!("{miner}|{hash}|{round}")).into()) % SHARDS
}

/// The seed of a round: of SHA-256 of the hash of the block that it began with, and its number.
pub fn global_seed(hash: &[u8; 32], round: u64) -> u64 {
    first_u64(Sha256::new().chain_update(hash).chain_update(round.to_be_bytes()).finalize().into())
}

/// Whether a nonce proves the work asked for: leading zero bits of SHA-256 of the submission's hash and the nonce.
pub fn proves_work(message: &MsgSubmitGradient, chain_id: &str, bits: u32) -> bool {
    let hash = Sha256::digest(message.signed_text(chain_id));
    let proof = Sha256::new().chain_update(hash).chain_update(message.proof_of_work_nonce.to_be_bytes()).finalize();
    let zeros: u32 = proof.iter().map_while(|byte| (*byte == 0).then_some(8)).sum();
    let rest = proof.iter().find(|byte| **byte != 0).map_or(0, |byte| byte.leading_zeros());
    zeros + rest >= bits
}

fn first_u64(hash: [u8; 32]) -> u64 {
    u64::from_be_bytes(hash[..8].try_into().expect("8 of 32 bytes"))
}

fn rejected<T>(log: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(code::REJECTED, log))
}

pub(super) fn submit(
    state: &mut State,
    message: &MsgSubmitGradient,
    context: &mut Context,
) -> Result<Vec<u8>, Refusal> {
    let miner = &message.miner;
    let Ok(artifact) = Cid::try_from(message.ipfs_hash.as_str()) else {
        return rejected(format!("ipfs_hash {:?} is no CID", message.ipfs_hash));
    };
    if Codec::of(&artifact) != Ok(Codec::DagCbor) {
        return rejected("ipfs_hash names no DAG-CBOR block by its SHA-256");
    }
    let Some(commitment) = Commitment::from_hex(&message.gradient_hash) else {
        return rejected("gradient_hash is not 64 hexadecimal digits");
    };
    let answer = |id| MsgSubmitGradientResponse { stored_gradient_id: id, tx_hash: context.hash.to_owned() };
    if let Some(id) = state.commitments.get(&commitment)
        && state.submissions.get(id).is_some_and(|known| known.miner == *miner && known.artifact == artifact)
    {
        return Ok(answer(*id).encode_to_vec());
    }
    check_terms(state, message)?;
    let Some(position) = state.held.get(miner).copied() else {
        return rejected("the miner holds no claim: the round went on, or the claim expired");
    };
    rate(state, miner)?;
    let head = state.head_mut();
    head.submissions += 1;
    let (id, height, round) = (head.submissions, head.height, head.round);
    let submission = Submission {
        miner: miner.clone(),
        round,
        position,
        artifact,
        commitment,
        nonce: message.nonce,
        height,
        accepted: None,
        attested_by: Vec::new(),
        status: SubmissionStatus::Pending,
    };
    state.submissions.insert(id, submission);
    state.submitted.insert((miner.clone(), id), ());
    state.commitments.insert(commitment, id);
    let answer = answer(id).encode_to_vec();
    claims::release(state, position, id);
    context.events.push(Event::Submitted { id, miner: miner.clone(), artifact: artifact.to_string() });
    Ok(answer)
}

/// What a submission says of chain, job and round.
fn check_terms(state: &State, message: &MsgSubmitGradient) -> Result<(), Refusal> {
    let (genesis, head) = (&state.genesis, state.head());
    if message.token_count != CHUNK_TOKENS as u64 || message.model_version != genesis.job.model.to_string() {
        return rejected("token_count or model_version is not the job's");
    }
    if message.training_round_id != head.round {
        return rejected(format!("round {} is not the present one, {}", message.training_round_id, head.round));
    }
    let began = &state.round().hash;
    if message.shard_id != shard(&message.miner, began, head.round) {
        return rejected("shard_id is not the miner's in this round");
    }
    if message.global_seed != global_seed(began, head.round) {
        return rejected("global_seed is not the round's");
    }
    let used = |own: &Submission| {
        own.round == head.round && own.nonce == message.nonce && own.status != SubmissionStatus::Withdrawn
    };
    if message.nonce == 0 || state.submissions_of(&message.miner).any(|(_, own)| used(own)) {
        return rejected("the nonce is 0, or was used in this round");
    }
    let bits = genesis.params.proof_of_work_bits;
    if bits > 0 && !proves_work(message, &genesis.chain_id, bits) {
        return rejected(format!("the proof of work has less than {bits} leading zero bits"));
    }
    Ok(())
}

/// Counts a submission of a miner, or refuses it.
fn rate(state: &mut State, miner: &str) -> Result<(), Refusal> {
    let LedgerParams { submissions_per_block, submissions_per_ten_blocks, .. } = state.genesis.params;
    let height = state.head().height;
    let recent = &mut state.reputation_mut(miner).recent;
    recent.retain(|at| at + RATE_BLOCKS > height);
    let now = recent.iter().filter(|at| **at == height).count();
    if now >= submissions_per_block as usize || recent.len() >= submissions_per_ten_blocks as usize {
        return rejected(format!(
            "at most {submissions_per_block} submissions a block and {submissions_per_ten_blocks} in {RATE_BLOCKS}"
        ));
    }
    recent.push(height);
    Ok(())
}

/// Says whether a submission stands for a chunk.
pub(super) fn complete(state: &State, message: &MsgCompleteTask, context: &Context) -> Result<Vec<u8>, Refusal> {
    let stands = Commitment::from_hex(&message.gradient_hash)
        .and_then(|commitment| state.commitments.get(&commitment))
        .and_then(|id| state.submissions.get(id))
        .is_some_and(|known| {
            let same = (&known.miner, known.position) == (&message.miner, message.chunk_id);
            same && known.artifact.to_string() == message.gradient_ipfs_hash && message.pool_id == claims::POOL
        });
    match stands {
        true => Ok(MsgCompleteTaskResponse { success: true, tx_hash: context.hash.to_owned() }.encode_to_vec()),
        false => Err(Refusal::new(code::NOT_FOUND, "no submission of this miner stands for this chunk")),
    }
}

/// Takes back what a miner submitted and no block has sampled for yet. Later would be too late: who knows that it is
/// recomputed knows what it will lose.
pub(super) fn withdraw(state: &mut State, message: &MsgWithdraw, context: &mut Context) -> Result<(), Refusal> {
    let miner = &message.miner;
    let pending =
        state.submissions_of(miner).filter(|(_, own)| own.status == SubmissionStatus::Pending).map(|(id, _)| id);
    let pending: Vec<u64> = pending.collect();
    for id in pending {
        leave(state, id);
        let Some(submission) = state.submissions.get_mut(&id) else { continue };
        submission.status = SubmissionStatus::Withdrawn;
        let commitment = submission.commitment;
        unname(state, id, &commitment);
        context.events.push(Event::Withdrawn { id, miner: miner.clone() });
    }
    claims::give_up(state, miner);
    let until = state.head().height.saturating_add(state.genesis.params.quarantine_blocks);
    state.reputation_mut(miner).quarantined = until;
    Ok(())
}

/// A trap that has a name is none: whoever is asked for it knows that it is looked at.
pub(super) fn answer_trap(message: &MsgSubmitTrapJobResult) -> Result<(), Refusal> {
    let name: String = message.trap_job_id.chars().take(64).collect();
    rejected(format!("there is no trap job {name:?}: what is looked at is sampled after it was submitted"))
}

/// Takes a submission out of its round: its position is free again.
pub(super) fn leave(state: &mut State, id: u64) {
    let Some(position) = state.submissions.get(&id).map(|submission| submission.position) else { return };
    match state.chunk_slots.get(&position) {
        Some(ChunkSlot::Submitted(own)) if *own == id => {}
        Some(ChunkSlot::Accepted(own)) if *own == id => {
            let head = state.head_mut();
            head.accepted_in_round -= 1;
            head.full_since = None;
            state.proposals.clear();
        }
        _ => return,
    }
    state.chunk_slots.remove(&position);
}

/// Puts a gradient that counts into its round, unless that went on or another has the position by now.
fn place(state: &mut State, id: u64, events: &mut Vec<Event>) {
    let Some(&Submission { round, position, .. }) = state.submissions.get(&id) else { return };
    let taken = state.chunk_slots.get(&position).is_some_and(|place| *place != ChunkSlot::Submitted(id));
    if taken || round != state.head().round {
        return;
    }
    state.chunk_slots.insert(position, ChunkSlot::Accepted(id));
    let quota = state.genesis.quota;
    let head = state.head_mut();
    head.accepted_in_round += 1;
    if head.accepted_in_round == quota {
        head.full_since = Some(head.height);
        events.push(Event::RoundFull { round });
    }
}

/// A gradient that counted stands in every dispute: it counts again, and may be doubted anew, by those for whom there was
/// no place while others disputed it.
pub(super) fn reinstate(state: &mut State, id: u64, events: &mut Vec<Event>) {
    let height = state.head().height;
    let Some(submission) = state.submissions.get_mut(&id) else { return };
    if submission.status == SubmissionStatus::Disputed {
        submission.status = SubmissionStatus::Accepted;
        submission.accepted = Some(height);
        place(state, id, events);
    }
}

/// A submission is not what its commitment stands for; another may have said the same of its own task, and rightly.
fn unname(state: &mut State, id: u64, commitment: &Commitment) {
    if state.commitments.get(commitment) == Some(&id) {
        state.commitments.remove(commitment);
    }
}

/// A submission does not count: its position is free again. Returns what its miner lost.
pub(super) fn reject(state: &mut State, id: u64, finding: Finding, events: &mut Vec<Event>) -> u64 {
    leave(state, id);
    let Some(submission) = state.submissions.get_mut(&id) else { return 0 };
    submission.status = SubmissionStatus::Rejected(finding);
    let Submission { miner, commitment, accepted, .. } = submission.clone();
    unname(state, id, &commitment);
    let (penalty, reputation) = (state.genesis.params.fraud_penalty, state.reputation_mut(&miner));
    reputation.rejected += 1;
    reputation.accepted -= u64::from(accepted.is_some());
    // what can not be had may come yet; what is wrong was never right
    reputation.trust = reputation.trust.saturating_sub(if finding == Finding::Mismatch { 1_000 } else { 200 });
    events.push(Event::Rejected { id, miner: miner.clone(), finding });
    if finding != Finding::Mismatch {
        let owed = if accepted.is_some() { state.genesis.params.reward } else { 0 };
        return super::coins::take_back(state, &miner, owed, events);
    }
    let escrow = std::mem::take(&mut state.reputation_mut(&miner).escrow);
    state.head_mut().burned += escrow;
    escrow + super::nodes::slash(state, &miner, penalty, events)
}

/// A submission counts and is paid.
pub(super) fn accept(state: &mut State, id: u64, events: &mut Vec<Event>) {
    let height = state.head().height;
    let Some(submission) = state.submissions.get_mut(&id) else { return };
    submission.status = SubmissionStatus::Accepted;
    submission.accepted = Some(height);
    let Submission { miner, artifact, round, .. } = submission.clone();
    let reputation = state.reputation_mut(&miner);
    reputation.accepted += 1;
    reputation.trust = (reputation.trust + 100).min(10_000);
    let (payee, balance) = super::coins::reward(state, &miner);
    events.push(Event::Accepted { id, miner, artifact: artifact.to_string(), round, payee, balance });
    state.head_mut().accepted_total += 1;
    place(state, id, events);
}
