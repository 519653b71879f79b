//! Submissions of gradients. A submission states the CID of the gradient's artifact, and a commitment: a hash that
//! binds the gradient to its task and its miner.

use super::{
    Author, ChunkSlot, Claim, Event, Finding, LedgerParams, State, Submission, SubmissionStatus, claims,
    context::{Context, Refusal},
    nodes, rewards,
};
use crate::{
    protocol::{CHUNK_TOKENS, Commitment},
    store::{Cid, Codec},
    tx::{
        MsgCompleteTask, MsgCompleteTaskResponse, MsgSubmitGradient, MsgSubmitGradientResponse, MsgSubmitTrapJobResult,
        MsgWithdraw,
    },
};
use data_encoding::HEXLOWER;
use prost::Message;
use sha2::{Digest, Sha256};

/// The number of shards into which the miners are divided in each round. A submission must state its miner's shard.
const SHARDS: u64 = 100;
/// The number of consecutive blocks over which a miner's submissions are counted, to limit their rate.
const RATE_BLOCKS: u64 = 10;

/// Returns the miner's shard in a round: the first 8 bytes of the SHA-256 of the text `miner|hash|round`, as a
/// big-endian integer modulo 100. `hash` is the hash of the block with which the round began, in hexadecimal.
pub fn shard(miner: &str, hash: &[u8; 32], round: u64) -> u64 {
    let hash = HEXLOWER.encode(hash);
    first_u64(Sha256::digest(format!("{miner}|{hash}|{round}")).into()) % SHARDS
}

/// Returns the seed of a round: the first 8 bytes of the SHA-256 of `hash ‖ round`, as a big-endian integer. `hash` is
/// the hash of the block with which the round began, and `round` is the round's index as a big-endian u64.
pub fn global_seed(hash: &[u8; 32], round: u64) -> u64 {
    first_u64(Sha256::new().chain_update(hash).chain_update(round.to_be_bytes()).finalize().into())
}

fn first_u64(hash: [u8; 32]) -> u64 {
    u64::from_be_bytes(hash[..8].try_into().expect("8 of 32 bytes"))
}

fn rejected<T>(log: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::rejected(log))
}

/// Stores a new submission. If the miner has already sent the same submission, succeeds and changes nothing.
pub(super) fn submit(
    state: &mut State,
    message: &MsgSubmitGradient,
    context: &mut Context,
) -> Result<Vec<u8>, Refusal> {
    let miner = &message.miner;
    let Ok(artifact) = Cid::try_from(message.ipfs_hash.as_str()) else {
        return rejected(format!("the value of ipfs_hash is {:?}, which is not a CID", message.ipfs_hash));
    };
    if Codec::of(&artifact) != Ok(Codec::DagCbor) {
        return rejected("ipfs_hash is not a CID of a DAG-CBOR block with a SHA-256 hash");
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
    let (Some(position), Some(claim)) = (state.claimed_positions.get(miner).copied(), state.claim_of(miner)) else {
        return rejected("the miner holds no claim: the round ended, or the claim expired");
    };
    if claim.author.session != context.session {
        return rejected("another session, or the miner itself, has claimed the chunk");
    }
    let (session, session_number) = (claim.author.session.clone(), claim.session_number);
    let is_unbonded = state.is_unbonded(claim);
    count_submission(state, miner)?;
    let draw = state.next_draw();
    let head = state.head_mut();
    head.submissions += 1;
    let (id, height, round) = (head.submissions, head.height, head.round);
    let submission = Submission {
        miner: miner.clone(),
        session,
        round,
        position,
        artifact,
        commitment,
        nonce: message.nonce,
        height,
        draw,
        bond: 0,
        session_number,
        accepted: None,
        attested_by: Vec::new(),
        status: SubmissionStatus::Pending,
    };
    let bond = claims::release(state, position, miner, id);
    state.head_mut().unbonded_in_round += u64::from(is_unbonded);
    state.submissions.insert(id, Submission { bond, ..submission });
    state.submissions_by_miner.insert((miner.clone(), id), ());
    state.commitments.insert(commitment, id);
    let answer = answer(id).encode_to_vec();
    context.events.push(Event::Submitted { id, miner: miner.clone(), artifact: artifact.to_string() });
    Ok(answer)
}

/// Checks the values that a submission must state: the length of a chunk, the model of the network's job, the index and
/// the seed of the current round, and the miner's shard in this round. Also checks that the nonce and the proof of work
/// of the submission are valid.
fn check_terms(state: &State, message: &MsgSubmitGradient) -> Result<(), Refusal> {
    let (genesis, head) = (&state.genesis, state.head());
    if message.token_count != CHUNK_TOKENS as u64 || message.model_version != genesis.job.model.to_string() {
        return rejected("token_count or model_version differs from that of the job");
    }
    if message.training_round_id != head.round {
        return rejected(format!(
            "the submission is for round {}, but the current round is {}",
            message.training_round_id, head.round
        ));
    }
    let began = &state.round().hash;
    if message.shard_id != shard(&message.miner, began, head.round) {
        return rejected("shard_id is not the miner's shard in this round");
    }
    if message.global_seed != global_seed(began, head.round) {
        return rejected("global_seed is not the seed of the round");
    }
    let used = |own: &Submission| {
        own.round == head.round && own.nonce == message.nonce && own.status != SubmissionStatus::Withdrawn
    };
    if message.nonce == 0 || state.submissions_of(&message.miner).any(|(_, own)| used(own)) {
        return rejected("the nonce is 0, or the miner used it before in this round");
    }
    let bits = state.claim_of(&message.miner).map_or(0, |claim| state.proof_of_work_bits(claim));
    if bits > 0 && !message.proves_work(&genesis.chain_id, bits) {
        return rejected(format!("the proof of work has fewer than {bits} leading zero bits"));
    }
    Ok(())
}

impl State {
    /// Returns whether the author of a claim has nothing to lose if the gradient is wrong, because it has locked no
    /// bond and has no collateral. Always false in a network in which newcomers need no bond.
    fn is_unbonded(&self, claim: &Claim) -> bool {
        claim.bond == 0 && self.genesis.params.newcomer_bond > 0 && !self.has_collateral(&claim.author)
    }

    /// Returns the number of leading zero bits that the proof of work of the submission for a claim must have.
    pub(super) fn proof_of_work_bits(&self, claim: &Claim) -> u32 {
        let LedgerParams { proof_of_work_bits, unbonded_work_bits, .. } = self.genesis.params;
        if self.is_unbonded(claim) { proof_of_work_bits.max(unbonded_work_bits) } else { proof_of_work_bits }
    }
}

/// Counts a submission toward the rate limits of its miner. Fails if the miner has already reached one of the limits.
fn count_submission(state: &mut State, miner: &str) -> Result<(), Refusal> {
    let LedgerParams { submissions_per_block, submissions_per_ten_blocks, .. } = state.genesis.params;
    let height = state.head().height;
    let recent = &mut state.reputation_mut(&Author::own(miner)).recent_heights;
    recent.retain(|at| at + RATE_BLOCKS > height);
    let now = recent.iter().filter(|at| **at == height).count();
    if now >= submissions_per_block as usize || recent.len() >= submissions_per_ten_blocks as usize {
        return rejected(format!(
            "a miner may submit at most {submissions_per_block} gradients in one block and \
             {submissions_per_ten_blocks} in {RATE_BLOCKS} consecutive blocks"
        ));
    }
    recent.push(height);
    Ok(())
}

/// Confirms to a miner that the ledger stores its gradient for a chunk. Fails if the ledger does not.
pub(super) fn complete(state: &State, message: &MsgCompleteTask, context: &Context) -> Result<Vec<u8>, Refusal> {
    let is_stored = Commitment::from_hex(&message.gradient_hash)
        .and_then(|commitment| state.commitments.get(&commitment))
        .and_then(|id| state.submissions.get(id))
        .is_some_and(|known| {
            let same = (&known.miner, known.position) == (&message.miner, message.chunk_id);
            same && known.artifact.to_string() == message.gradient_ipfs_hash && message.pool_id == claims::POOL
        });
    match is_stored {
        true => Ok(MsgCompleteTaskResponse { success: true, tx_hash: context.hash.to_owned() }.encode_to_vec()),
        false => Err(Refusal::not_found("the ledger stores no such submission by this miner for this chunk")),
    }
}

/// Withdraws the claim of a miner and those of the miner's submissions that can still be withdrawn. A random value
/// decides whether verifiers recompute a gradient, and a submission can be withdrawn only while nothing is known about
/// this value. Otherwise, a miner would wait for the decision, and withdraw exactly the wrong gradients that verifiers
/// are about to recompute.
///
/// A session withdraws only what it has claimed and submitted itself.
pub(super) fn withdraw(state: &mut State, message: &MsgWithdraw, context: &mut Context) -> Result<(), Refusal> {
    let miner = &message.miner;
    let sender = context.session.clone();
    let may_withdraw = |session: &Option<String>| sender.is_none() || *session == sender;
    let is_open = |own: &Submission| own.status == SubmissionStatus::Pending && !state.is_drawn(own.draw);
    let pending = state.submissions_of(miner).filter(|(_, own)| is_open(own) && may_withdraw(&own.session));
    let pending: Vec<u64> = pending.map(|(id, _)| id).collect();
    for id in pending {
        leave_round(state, id);
        end(state, id, SubmissionStatus::Withdrawn);
        return_bond(state, id);
        context.events.push(Event::Withdrawn { id, miner: miner.clone() });
    }
    if state.claim_of(miner).is_some_and(|claim| may_withdraw(&claim.author.session)) {
        claims::cancel(state, miner);
    }
    let until = state.head().clock.saturating_add(state.genesis.params.quarantine_blocks);
    state.reputation_mut(&Author::own(miner)).quarantined_until = until;
    Ok(())
}

/// Refuses every result of a trap job, because this ledger has no trap jobs. On the R3MES chain, trap jobs test miners,
/// but the name of a trap job tells the miner that the job is a test. In this ledger, any submitted gradient may be
/// used as a trap instead.
pub(super) fn answer_trap(message: &MsgSubmitTrapJobResult) -> Result<(), Refusal> {
    let name: String = message.trap_job_id.chars().take(64).collect();
    rejected(format!(
        "this ledger has no trap jobs such as {name:?}: instead, any submitted gradient may become a trap"
    ))
}

/// Removes a submission from its round, so that its chunk slot is free for other miners.
pub(super) fn leave_round(state: &mut State, id: u64) {
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

/// Adds an accepted gradient to its round, unless the round has ended or another miner has taken the gradient's chunk
/// slot in the meantime.
fn join_round(state: &mut State, id: u64, events: &mut Vec<Event>) {
    let Some(&Submission { round, position, .. }) = state.submissions.get(&id) else { return };
    let taken = state.chunk_slots.get(&position).is_some_and(|slot| *slot != ChunkSlot::Submitted(id));
    if taken || round != state.head().round {
        return;
    }
    state.chunk_slots.insert(position, ChunkSlot::Accepted(id));
    let quota = state.genesis.quota;
    let head = state.head_mut();
    head.accepted_in_round += 1;
    if head.accepted_in_round == quota {
        head.full_since = Some(head.clock);
        events.push(Event::RoundFull { round });
    }
}

/// Accepts a disputed gradient again after all of its disputes were dismissed. From now on it may be disputed again,
/// because the limit on open disputes may have prevented other challengers from disputing it.
pub(super) fn reinstate(state: &mut State, id: u64, events: &mut Vec<Event>) {
    let clock = state.head().clock;
    let Some(submission) = state.submissions.get_mut(&id) else { return };
    if submission.status == SubmissionStatus::Disputed {
        submission.status = SubmissionStatus::Accepted;
        submission.accepted = Some(clock);
        let author = submission.author();
        join_round(state, id, events);
        rewards::schedule(state, id);
        rewards::release(state, &author);
    }
}

/// Gives a submission its final status: withdrawn, rejected or voided. Also deletes the entry of the submission from
/// the table of commitments, so that the same gradient can be submitted again. If the entry already belongs to another
/// submission with the same commitment, the entry is kept.
fn end(state: &mut State, id: u64, status: SubmissionStatus) {
    let Some(submission) = state.submissions.get_mut(&id) else { return };
    submission.status = status;
    let commitment = submission.commitment;
    if state.commitments.get(&commitment) == Some(&id) {
        state.commitments.remove(&commitment);
    }
}

/// Returns the bond of a submission to its miner.
fn return_bond(state: &mut State, id: u64) {
    let Some(submission) = state.submissions.get_mut(&id) else { return };
    let (author, session_number) = (submission.author(), submission.session_number);
    let bond = std::mem::take(&mut submission.bond);
    claims::unlock(state, &author, session_number, bond);
}

/// Rejects a submission and frees its chunk slot. If the gradient is wrong, the author loses the bond, the escrow and,
/// unless the author is a session key, the share `fraud_penalty` of the stake. The author's other pending and accepted
/// gradients are voided. If the bytes of the gradient cannot be fetched, the miner gets no reward but loses no coins,
/// because the network may be the cause. Returns how many micro-units the author lost.
pub(super) fn reject(state: &mut State, id: u64, finding: Finding, events: &mut Vec<Event>) -> u64 {
    leave_round(state, id);
    let Some(submission) = state.submissions.get(&id) else { return 0 };
    let (author, accepted, bond) = (submission.author(), submission.accepted, submission.bond);
    end(state, id, SubmissionStatus::Rejected(finding));
    let (penalty, reputation) = (state.genesis.params.fraud_penalty, state.reputation_mut(&author));
    reputation.rejected += 1;
    reputation.accepted -= u64::from(accepted.is_some());
    reputation.trust = reputation.trust.saturating_sub(if finding == Finding::Mismatch { 1_000 } else { 200 });
    events.push(Event::Rejected { id, miner: author.miner.clone(), finding });
    if finding != Finding::Mismatch {
        return_bond(state, id);
        return 0;
    }
    if let Some(submission) = state.submissions.get_mut(&id) {
        submission.bond = 0;
    }
    let lost = bond + std::mem::take(&mut state.reputation_mut(&author).escrow);
    state.head_mut().burned += lost;
    void_others(state, &author, events);
    match author.session {
        None => lost + nodes::slash(state, &author.miner, penalty, events),
        Some(_) => lost,
    }
}

/// Voids all pending and accepted gradients of an author after another gradient of the author was proven wrong. The
/// chunk slots become free, and the miner is not paid for the voided gradients. The verifiers that recomputed these
/// gradients are paid.
fn void_others(state: &mut State, author: &Author, events: &mut Vec<Event>) {
    let open = |status| matches!(status, SubmissionStatus::Pending | SubmissionStatus::Accepted);
    let ids: Vec<u64> = state.submissions_by(author).filter(|(_, own)| open(own.status)).map(|(id, _)| id).collect();
    for id in ids {
        leave_round(state, id);
        end(state, id, SubmissionStatus::Voided);
        return_bond(state, id);
        let Some(submission) = state.submissions.get_mut(&id) else { continue };
        let attested_by = std::mem::take(&mut submission.attested_by);
        let was_accepted = submission.accepted.is_some();
        state.reputation_mut(author).accepted -= u64::from(was_accepted);
        attested_by.into_iter().for_each(|(verifier, reward)| rewards::owe(state, verifier, reward));
        events.push(Event::Voided { id, miner: author.miner.clone() });
    }
}

/// Accepts a submission, raises the miner's trust, and returns the bond. The reward is paid when the gradient is
/// settled, or immediately if accepted gradients cannot be disputed.
pub(super) fn accept(state: &mut State, id: u64, events: &mut Vec<Event>) {
    let clock = state.head().clock;
    return_bond(state, id);
    let Some(submission) = state.submissions.get_mut(&id) else { return };
    submission.status = SubmissionStatus::Accepted;
    submission.accepted = Some(clock);
    let Submission { artifact, round, .. } = *submission;
    let author = submission.author();
    let reputation = state.reputation_mut(&author);
    reputation.accepted += 1;
    reputation.trust = (reputation.trust + 100).min(10_000);
    events.push(Event::Accepted { id, miner: author.miner.clone(), artifact: artifact.to_string(), round });
    state.head_mut().accepted_total += 1;
    join_round(state, id, events);
    if state.genesis.params.challenge_blocks == 0 {
        rewards::settle(state, id, events);
    } else {
        rewards::schedule(state, id);
        rewards::release(state, &author);
    }
}
