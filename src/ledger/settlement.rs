//! Settling challenges. A challenge is settled by a finding: verifiers that attested something else are slashed,
//! sampled verifiers that attested it are paid, and the gradient is accepted or rejected.

use super::{
    Challenge, ChallengeStage, Event, Finding, SampledVerifier, State, SubmissionStatus, Vote, coins, nodes,
    submissions,
};
use std::collections::BTreeMap;

/// Opens a finding of a mismatch to appeal before the challenge is settled. The gradient's chunk slot is free in the
/// meantime.
pub(super) fn open_to_appeal(state: &mut State, id: u64, mut challenge: Challenge) {
    submissions::leave_round(state, challenge.submission);
    challenge.stage = ChallengeStage::Appeal;
    challenge.until = state.head().height.saturating_add(state.genesis.params.challenge_blocks);
    state.challenges.insert(id, challenge);
}

/// Settles a challenge by a finding, and returns the micro-units that the miner lost.
pub(super) fn settle(
    state: &mut State,
    id: u64,
    challenge: &Challenge,
    finding: Finding,
    events: &mut Vec<Event>,
) -> u64 {
    state.challenges.remove(&id);
    pay(state, challenge, &challenge.first, &[], finding, events);
    let panel = if challenge.stage == ChallengeStage::Contested { &[] } else { &challenge.votes[..] };
    pay(state, challenge, &challenge.sampled, panel, finding, events);
    for vote in challenge.votes.iter().filter(|vote| vote.valid != (finding == Finding::Match)) {
        slash_wrong(state, challenge, &vote.validator, events);
    }
    match finding {
        Finding::Match => {
            submissions::accept(state, challenge.submission, events);
            if let Some(submission) = state.submissions.get_mut(&challenge.submission) {
                submission.attested_by = challenge.attested_match();
            }
            0
        }
        Finding::Mismatch | Finding::Unavailable => submissions::reject(state, challenge.submission, finding, events),
    }
}

/// Settles a challenge by the finding of a dispute, and returns the micro-units that the miner lost.
pub(super) fn overrule(state: &mut State, id: u64, finding: Finding, events: &mut Vec<Event>) -> u64 {
    let challenge = state.challenges.get(&id).cloned();
    challenge.map_or(0, |challenge| settle(state, id, &challenge, finding, events))
}

/// Records that an answer won against a verifier that found a mismatch. The challenge is settled later.
pub(super) fn record_defense(state: &mut State, submission: u64, verifier: &str, answerer: &str) {
    let Some(SubmissionStatus::Challenged(id)) = state.submissions.get(&submission).map(|known| known.status) else {
        return;
    };
    if let Some(challenge) = state.challenges.get_mut(&id) {
        challenge.defended.push((verifier.to_owned(), answerer.to_owned()));
    }
}

/// Slashes a verifier for a wrong attestation or vote. If an answer won against it, the answerer gets a bounty.
fn slash_wrong(state: &mut State, challenge: &Challenge, verifier: &str, events: &mut Vec<Event>) {
    let lost = nodes::slash(state, verifier, state.genesis.params.fraud_penalty, events);
    if let Some((_, answerer)) = challenge.defended.iter().find(|(accuser, _)| accuser == verifier) {
        coins::pay_bounty(state, answerer, lost);
    }
}

/// Pays or slashes verifiers that were sampled together. If a panel decided, the leaf of its voters is the right one.
fn pay(
    state: &mut State,
    challenge: &Challenge,
    together: &[SampledVerifier],
    panel: &[Vote],
    finding: Finding,
    events: &mut Vec<Event>,
) {
    let verifier_reward = state.genesis.params.verifier_reward;
    let leaf = right_leaf(state, together, panel, finding);
    for sampled in together {
        if sampled.finding == Some(finding) && sampled.leaf == leaf {
            let paid = coins::mint(state, verifier_reward);
            coins::give_back(state, &sampled.verifier, paid);
        } else if sampled.finding != Some(Finding::Unavailable) {
            // if one verifier can fetch the bytes and another cannot, this proves nothing against either
            slash_wrong(state, challenge, &sampled.verifier, events);
        }
    }
}

/// Returns the leaf with the most stake among those who attested the finding: the voters of a panel if there is one,
/// otherwise the sampled verifiers.
fn right_leaf(state: &State, together: &[SampledVerifier], panel: &[Vote], finding: Finding) -> String {
    let sampled = together.iter().filter(|sampled| sampled.finding == Some(finding));
    let sampled = sampled.map(|sampled| (&sampled.verifier, &sampled.leaf));
    let votes = panel.iter().filter(|vote| vote.valid == (finding == Finding::Match));
    let votes = votes.map(|vote| (&vote.validator, &vote.leaf));
    let leaves: Vec<(&String, &String)> = if panel.is_empty() { sampled.collect() } else { votes.collect() };
    let mut stakes = BTreeMap::<&String, u128>::new();
    for (validator, leaf) in leaves {
        *stakes.entry(leaf).or_default() += state.node(validator).map_or(0, |node| u128::from(node.stake));
    }
    stakes.into_iter().max_by_key(|(_, stake)| *stake).map_or(String::new(), |(leaf, _)| leaf.clone())
}
