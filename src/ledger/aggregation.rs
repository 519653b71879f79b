//! The aggregation at the end of a round. Proposers compute the round's *aggregate*: the adapter after one optimizer
//! step with the sum of the round's accepted gradients. They first commit to the aggregate and then reveal it. The next
//! round starts from the aggregate that is backed by more than half of all proposers' stake. The round does not end
//! before there is such an aggregate.

use super::{
    ChunkSlot, Event, Finding, LedgerParams, Proposal, Round, State, SubmissionStatus,
    context::Refusal,
    nodes::{self, PROPOSER},
    rewards, submissions,
};
use crate::{
    dispute::judge::Hash,
    protocol::{Commitment, merkle_root},
    store::Cid,
    tx::{MsgCommitAggregation, MsgCommitAggregationResponse, MsgRevealAggregation, code},
};
use data_encoding::HEXLOWER;
use prost::Message;
use std::collections::BTreeMap;

fn refused<T>(log: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::rejected(log))
}

/// Stores a proposer's commitment to the aggregate (the next adapter) of the current round. Returns the response to the
/// message as protobuf bytes.
pub(super) fn commit(state: &mut State, message: &MsgCommitAggregation) -> Result<Vec<u8>, Refusal> {
    let MsgCommitAggregation { proposer, commitment_hash, training_round_id, gradient_ids } = message;
    if state.ready_since().is_none() || state.head().round != *training_round_id {
        return refused(format!("round {training_round_id} is not the current round, or it cannot be aggregated yet"));
    }
    if !state.nodes_of(PROPOSER).any(|(address, _)| address == proposer) {
        return Err(Refusal::new(code::UNAUTHORIZED, format!("{proposer} has no stake as a proposer")));
    }
    if state.proposals.values().any(|proposal| proposal.proposer == *proposer) {
        return refused("the proposer has already committed to an aggregate of this round");
    }
    let accepted = state.accepted_ids();
    if !gradient_ids.is_sorted_by(|one, next| one < next) || !gradient_ids.iter().all(|id| accepted.contains(id)) {
        return refused("gradient_ids must be IDs of the round's accepted gradients, in ascending order");
    }
    if Commitment::from_hex(commitment_hash).is_none() {
        return refused("commitment_hash is not 64 hexadecimal digits");
    }
    let head = state.head_mut();
    head.proposals += 1;
    let (id, height) = (head.proposals, head.height);
    let (proposer, committed, ids) = (proposer.clone(), commitment_hash.to_lowercase(), gradient_ids.clone());
    state.proposals.insert(id, Proposal { proposer, committed, height, ids, adapter: None, layout_root: None });
    Ok(MsgCommitAggregationResponse { commitment_id: id }.encode_to_vec())
}

/// Stores the aggregate (the next adapter) that a proposer reveals. Fails if it is not the aggregate to which the
/// proposer committed.
pub(super) fn reveal(state: &mut State, message: &MsgRevealAggregation) -> Result<(), Refusal> {
    let height = state.head().height;
    let root = HEXLOWER.encode(&state.aggregate_root(&message.gradient_ids));
    let model = state.genesis.job.model.to_string();
    let Some(proposal) = state.proposals.get_mut(&message.commitment_id) else {
        let id = message.commitment_id;
        return Err(Refusal::not_found(format!("no commitment to an aggregate of this round has the ID {id}")));
    };
    let committed = HEXLOWER.encode(&message.commitment());
    if proposal.proposer != message.proposer || proposal.committed != committed {
        return refused("the aggregate is not what the proposer committed to");
    }
    if proposal.height >= height {
        return refused("an aggregate must be revealed in a block after the one that contains its commitment");
    }
    if message.gradient_ids != proposal.ids || message.merkle_root != root || message.model_version != model {
        return refused("gradient_ids, merkle_root or model_version does not match the commitment or the round");
    }
    let Ok(adapter) = Cid::try_from(message.adapter.as_str()) else {
        return refused(format!("the value of adapter is {:?}, which is not a CID", message.adapter));
    };
    let Some(Commitment(layout_root)) = Commitment::from_hex(&message.layout_root) else {
        return refused("layout_root is not 64 hexadecimal digits");
    };
    (proposal.adapter, proposal.layout_root) = (Some(adapter), Some(Hash(layout_root)));
    Ok(())
}

/// Closes the round as soon as the proposers that have revealed the same aggregate (the next adapter) hold more than
/// half of all proposers' stake. If that has not happened `decision_blocks` blocks after the round became ready for
/// aggregation (see [`State::ready_since`]), the aggregation starts again, with the same time limit (see
/// [`start_again`]).
pub(super) fn end(state: &mut State, events: &mut Vec<Event>) {
    let Some(since) = state.ready_since() else { return };
    let stakes: BTreeMap<&String, u128> =
        state.nodes_of(PROPOSER).map(|(address, node)| (address, node.stake.into())).collect();
    let stake = |proposal: &Proposal| stakes.get(&proposal.proposer).copied().unwrap_or_default();
    let mut revealed = BTreeMap::<RevealedAggregate, u128>::new();
    for proposal in state.proposals.values() {
        if let Some(aggregate) = proposal.revealed() {
            *revealed.entry(aggregate).or_default() += stake(proposal);
        }
    }
    let all: u128 = stakes.values().sum();
    if let Some((next, _)) = revealed.iter().find(|(_, stake)| **stake * 2 > all) {
        let next = next.clone();
        return close(state, next, events);
    }
    if state.head().clock >= since.saturating_add(state.genesis.params.decision_blocks.max(1)) {
        let voted: u128 = revealed.values().sum();
        let summed_by = |id: &u64| -> u128 {
            revealed.iter().filter(|((ids, ..), _)| ids.contains(id)).map(|(_, stake)| stake).sum()
        };
        let unavailable = |id: &u64| voted * 2 > all && summed_by(id) * 2 <= all;
        let unavailable = state.accepted_ids().into_iter().filter(unavailable).collect();
        start_again(state, unavailable, events);
    }
}

/// Deletes all commitments and aggregates of the round, so that the proposers compute new ones. Rejects the gradients
/// `unavailable`, so that miners can compute the gradients of the same chunks again. These are gradients that too many
/// proposers have left out: the proposers that have included such a gradient hold at most half of all proposers' stake.
fn start_again(state: &mut State, unavailable: Vec<u64>, events: &mut Vec<Event>) {
    state.proposals.clear();
    let LedgerParams { challenge_blocks, .. } = state.genesis.params;
    let head = state.head_mut();
    head.full_since = head.full_since.map(|_| head.clock.saturating_sub(challenge_blocks));
    for id in unavailable {
        submissions::reject(state, id, Finding::Unavailable, events);
    }
}

/// An aggregate that a proposer revealed: the IDs of the gradients that it sums, the CID of the next adapter, and the
/// layout root of the next adapter.
type RevealedAggregate = (Vec<u64>, Cid, Hash);

/// Closes the round with the aggregate `next`. If the aggregate leaves out at least half of the round's gradients, the
/// round is not closed. Instead, the gradients that were left out are rejected, so that miners compute them again.
fn close(state: &mut State, next: RevealedAggregate, events: &mut Vec<Event>) {
    let penalty = state.genesis.params.fraud_penalty;
    // a proposer that summed other gradients is not slashed, because some bytes may have been available to one proposer
    // only; a different aggregate of the same gradients is wrong
    let others =
        |proposal: &&Proposal| proposal.ids == next.0 && proposal.revealed().is_some_and(|other| other != next);
    let wrong: Vec<String> = state.proposals.values().filter(others).map(|other| other.proposer.clone()).collect();
    for proposer in wrong {
        nodes::slash(state, &proposer, penalty, events);
    }
    let (ids, adapter, layout_root) = next;
    let (summed, left_out): (Vec<u64>, Vec<u64>) = state.accepted_ids().into_iter().partition(|id| ids.contains(id));
    if summed.len() <= left_out.len() {
        return start_again(state, left_out, events);
    }
    for id in left_out {
        submissions::reject(state, id, Finding::Unavailable, events);
    }
    for id in summed {
        // without disputes, a gradient has been settled when it was accepted
        if state.submissions.get(&id).is_some_and(|submission| submission.status == SubmissionStatus::Accepted) {
            rewards::settle(state, id, events);
        }
    }
    rewards::pay_owed(state);
    let head = state.head_mut();
    events.push(Event::RoundClosed { round: head.round, adapter: adapter.to_string() });
    head.round += 1;
    head.accepted_in_round = 0;
    head.full_since = None;
    head.unbonded_in_round = 0;
    let (round, hash) = (head.round, head.hash);
    state.rounds.insert(round, Round { adapter, layout_root, hash });
    state.chunk_slots.clear();
    state.claimed_positions.clear();
    state.proposals.clear();
    prune(state, round.saturating_sub(state.genesis.params.retention_rounds));
}

/// Removes the rounds before `end`, with their submissions and the commitments to the submitted gradients. If a
/// gradient of one of these rounds is not settled (it can still be rejected), that round and all later rounds are kept.
/// Nobody can use a removed commitment again in a later round: a commitment depends on the seed of its task, and the
/// seed depends on the round.
fn prune(state: &mut State, end: u64) {
    let challenged = state.challenges.values().map(|challenge| challenge.submission);
    let open = challenged.chain(state.disputes.values().map(|case| case.submission));
    let open = open.chain(state.maturing.keys().map(|(_, id)| *id));
    let end = open.filter_map(|id| Some(state.submissions.get(&id)?.round)).fold(end, u64::min);
    let rounds: Vec<u64> = state.rounds.keys().take_while(|round| **round < end).copied().collect();
    for round in rounds {
        state.rounds.remove(&round);
    }
    let old = state.submissions.iter().take_while(|(_, submission)| submission.round < end);
    let old: Vec<_> = old.map(|(id, submission)| (*id, submission.commitment, submission.miner.clone())).collect();
    for (id, commitment, miner) in old {
        state.submissions.remove(&id);
        state.submissions_by_miner.remove(&(miner, id));
        state.commitments.remove(&commitment);
    }
}

impl Proposal {
    fn revealed(&self) -> Option<RevealedAggregate> {
        Some((self.ids.clone(), self.adapter?, self.layout_root?))
    }
}

impl State {
    /// Returns the [clock](super::ChainHead::clock) (a count of blocks) at which the current round became ready for
    /// aggregation. A round is ready when it has its quota of accepted gradients, and none of them can be disputed any
    /// longer. Returns `None` if the round is not ready yet.
    pub(super) fn ready_since(&self) -> Option<u64> {
        let since = self.head().full_since?.saturating_add(self.genesis.params.challenge_blocks);
        (since <= self.head().clock).then_some(since)
    }

    /// Returns the IDs of the gradients that have been accepted in the current round, in ascending order.
    pub fn accepted_ids(&self) -> Vec<u64> {
        let accepted = |slot: &ChunkSlot| if let ChunkSlot::Accepted(id) = slot { Some(*id) } else { None };
        let mut ids: Vec<u64> = self.chunk_slots.values().filter_map(accepted).collect();
        ids.sort_unstable();
        ids
    }

    /// Returns whether proposers may leave out gradients whose bytes they cannot fetch. They may do so after the round
    /// has been ready for aggregation for `decision_blocks / 4` blocks.
    pub(super) fn may_leave_out(&self) -> bool {
        let blocks = self.genesis.params.decision_blocks / 4;
        self.ready_since().is_some_and(|since| self.head().clock >= since.saturating_add(blocks))
    }

    /// Returns the Merkle root over the commitments of the gradients with the given IDs, in the given order.
    pub(super) fn aggregate_root(&self, ids: &[u64]) -> [u8; 32] {
        let commitments: Vec<[u8; 32]> =
            ids.iter().filter_map(|id| self.submissions.get(id)).map(|submission| submission.commitment.0).collect();
        merkle_root(&commitments)
    }
}
