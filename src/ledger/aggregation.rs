//! A round ends with an aggregate: the adapter that one optimizer step makes of the round's gradients. Proposers compute
//! it, seal it, show it; the one that most of their stake is behind is the next round's.

use super::{
    ChunkSlot, Event, Finding, Proposal, Refusal, Round, State,
    nodes::{self, PROPOSER},
    submissions,
};
use crate::{
    dispute::judge::Hash,
    protocol::{Commitment, merkle_root},
    store::Cid,
    tx::{MsgCommitAggregation, MsgCommitAggregationResponse, MsgRevealAggregation, code},
};
use prost::Message;
use std::collections::BTreeMap;

fn refused<T>(log: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(code::REJECTED, log))
}

pub(super) fn commit(state: &mut State, message: &MsgCommitAggregation) -> Result<Vec<u8>, Refusal> {
    let MsgCommitAggregation { proposer, commitment_hash, training_round_id, gradient_ids } = message;
    if state.settled_since().is_none() || state.head().round != *training_round_id {
        return refused("this round is not waiting for its aggregate");
    }
    if !state.nodes_of(PROPOSER).any(|(address, _)| address == proposer) {
        return Err(Refusal::new(code::UNAUTHORIZED, format!("{proposer} is no proposer")));
    }
    if state.proposals.values().any(|proposal| proposal.proposer == *proposer) {
        return refused("a proposer proposes once a round");
    }
    let accepted = state.accepted_ids();
    if !gradient_ids.is_sorted_by(|one, next| one < next) || !gradient_ids.iter().all(|id| accepted.contains(id)) {
        return refused("gradient_ids are not of the round, in ascending order");
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

pub(super) fn reveal(state: &mut State, message: &MsgRevealAggregation) -> Result<(), Refusal> {
    let height = state.head().height;
    let root: String = state.aggregate_root(&message.gradient_ids).iter().map(|byte| format!("{byte:02x}")).collect();
    let model = state.genesis.job.model.to_string();
    let Some(proposal) = state.proposals.get_mut(&message.commitment_id) else {
        return Err(Refusal::new(code::NOT_FOUND, format!("there is no commitment {}", message.commitment_id)));
    };
    let committed: String = message.commitment().iter().map(|byte| format!("{byte:02x}")).collect();
    if proposal.proposer != message.proposer || proposal.committed != committed {
        return refused("this is not what the proposer committed");
    }
    if proposal.height >= height {
        return refused("what is committed is shown in a later block");
    }
    if message.gradient_ids != proposal.ids || message.merkle_root != root || message.model_version != model {
        return refused("gradients, root or model are not the round's");
    }
    let Ok(adapter) = Cid::try_from(message.aggregated_gradient_ipfs_hash.as_str()) else {
        return refused("the adapter's name is no CID");
    };
    let layout_root = message.salt.split_once(':').and_then(|(root, _)| Commitment::from_hex(root));
    let Some(Commitment(layout_root)) = layout_root else {
        return refused("the salt does not begin with the root of the layout_root adapter and a colon");
    };
    (proposal.adapter, proposal.layout_root) = (Some(adapter), Some(Hash(layout_root)));
    Ok(())
}

/// Closes the round once more than half of the proposers' stake shows one adapter; when time is up, the one with the most.
pub(super) fn end(state: &mut State, events: &mut Vec<Event>) {
    let Some(since) = state.settled_since() else { return };
    let stakes: BTreeMap<&String, u128> =
        state.nodes_of(PROPOSER).map(|(address, node)| (address, node.stake.into())).collect();
    let mut behind = BTreeMap::<RevealedAggregate, u128>::new();
    for proposal in state.proposals.values() {
        if let (Some(shown), Some(stake)) = (proposal.shown(), stakes.get(&proposal.proposer)) {
            *behind.entry(shown).or_default() += stake;
        }
    }
    let Some((next, most)) = behind.into_iter().max_by_key(|(_, stake)| *stake) else { return };
    let late = state.head().height >= since.saturating_add(state.genesis.params.decision_blocks);
    if most * 2 > stakes.values().sum() || late {
        close(state, next, events);
    }
}

/// What a proposer shows: the gradients added up, the next adapter, and what that is packed as.
type RevealedAggregate = (Vec<u64>, Cid, Hash);

fn close(state: &mut State, next: RevealedAggregate, events: &mut Vec<Event>) {
    let penalty = state.genesis.params.fraud_penalty;
    // what one can get and another can not proves nothing against either; another sum of the same does
    let others = |proposal: &&Proposal| proposal.ids == next.0 && proposal.shown().is_some_and(|shown| shown != next);
    let wrong: Vec<String> = state.proposals.values().filter(others).map(|other| other.proposer.clone()).collect();
    for proposer in wrong {
        nodes::slash(state, &proposer, penalty, events);
    }
    let (ids, adapter, layout_root) = next;
    for id in state.accepted_ids().into_iter().filter(|id| !ids.contains(id)) {
        submissions::reject(state, id, Finding::Unavailable, events);
    }
    let head = state.head_mut();
    events.push(Event::RoundClosed { round: head.round, adapter: adapter.to_string() });
    head.round += 1;
    head.accepted_in_round = 0;
    head.full_since = None;
    let (round, hash) = (head.round, head.hash);
    state.rounds.insert(round, Round { adapter, layout_root, hash });
    state.chunk_slots.clear();
    state.held.clear();
    state.proposals.clear();
    forget(state, round.saturating_sub(state.genesis.params.retention_rounds));
}

/// Drops adapters, submissions and commitments of the rounds before `end`, or before one that something is not settled
/// of. A commitment forgotten can still not count again: the seed of its task is that of its round.
fn forget(state: &mut State, end: u64) {
    let challenged = state.challenges.values().map(|challenge| challenge.submission);
    let open = challenged.chain(state.disputes.values().map(|contest| contest.submission));
    let end = open.filter_map(|id| Some(state.submissions.get(&id)?.round)).fold(end, u64::min);
    let rounds: Vec<u64> = state.rounds.keys().take_while(|round| **round < end).copied().collect();
    for round in rounds {
        state.rounds.remove(&round);
    }
    let old = state.submissions.iter().take_while(|(_, submission)| submission.round < end);
    let old: Vec<_> = old.map(|(id, submission)| (*id, submission.commitment, submission.miner.clone())).collect();
    for (id, commitment, miner) in old {
        state.submissions.remove(&id);
        state.submitted.remove(&(miner, id));
        state.commitments.remove(&commitment);
    }
}

impl Proposal {
    fn shown(&self) -> Option<RevealedAggregate> {
        Some((self.ids.clone(), self.adapter?, self.layout_root?))
    }
}

impl State {
    /// From which block on the round is full of gradients that nobody may dispute any more.
    pub(super) fn settled_since(&self) -> Option<u64> {
        let since = self.head().full_since?.saturating_add(self.genesis.params.challenge_blocks);
        (since <= self.head().height).then_some(since)
    }

    /// Numbers of the gradients that count in this round, ascending.
    pub fn accepted_ids(&self) -> Vec<u64> {
        let accepted = |place: &ChunkSlot| if let ChunkSlot::Accepted(id) = place { Some(*id) } else { None };
        let mut ids: Vec<u64> = self.chunk_slots.values().filter_map(accepted).collect();
        ids.sort_unstable();
        ids
    }

    /// Whether proposers should wait no longer for bytes that are not to be had: a quarter of their time is over.
    pub(super) fn waited(&self) -> bool {
        let patience = self.genesis.params.decision_blocks / 4;
        self.settled_since().is_some_and(|since| self.head().height >= since.saturating_add(patience))
    }

    /// Root over the commitments of these gradients.
    pub(super) fn aggregate_root(&self, ids: &[u64]) -> [u8; 32] {
        let commitments: Vec<[u8; 32]> =
            ids.iter().filter_map(|id| self.submissions.get(id)).map(|submission| submission.commitment.0).collect();
        merkle_root(&commitments)
    }
}
