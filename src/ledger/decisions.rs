//! Decides challenges. A challenge is the recomputation of one submitted gradient by sampled verifiers. A finding
//! (match or mismatch) decides it: the gradient is accepted or rejected, and the verifiers that attested this finding
//! have earned a reward. Verifiers that attested the opposite are slashed.

use super::{
    Challenge, ChallengeStage, Event, Finding, SampledVerifier, State, SubmissionStatus, Vote, coins, nodes, rewards,
    submissions,
};
use std::collections::BTreeMap;

/// Puts the challenge `id`, in which a mismatch was found, into the stage in which anybody may appeal against this
/// finding. Meanwhile the gradient's chunk slot is free, so that other miners can claim it.
pub(super) fn open_to_appeal(state: &mut State, id: u64, mut challenge: Challenge) {
    submissions::leave_round(state, challenge.submission);
    challenge.stage = ChallengeStage::Appeal;
    challenge.stage_ends = state.head().clock.saturating_add(state.genesis.params.challenge_blocks);
    state.challenges.insert(id, challenge);
}

/// Decides a challenge in favor of `finding`, a match or a mismatch: accepts or rejects the gradient, and slashes the
/// verifiers and voters that found the opposite. Verifiers that attested a mismatch are paid from what the miner loses;
/// those that attested a match are paid when the gradient is settled. Returns how many of the micro-units that the
/// miner lost remain after these payments; 0 for a match.
pub(super) fn decide(
    state: &mut State,
    id: u64,
    challenge: &Challenge,
    finding: Finding,
    events: &mut Vec<Event>,
) -> u64 {
    state.challenges.remove(&id);
    let mut paid = earned(state, challenge, &challenge.first_recomputation, &[], finding, events);
    let panel = if challenge.stage == ChallengeStage::Contested { &[] } else { &challenge.votes[..] };
    paid.extend(earned(state, challenge, &challenge.sampled, panel, finding, events));
    let voted = |finding| challenge.votes.iter().filter(move |vote| vote.finding == finding);
    let opposite = if finding == Finding::Match { Finding::Mismatch } else { Finding::Match };
    for vote in voted(opposite) {
        slash_wrong(state, challenge, &vote.validator, events);
    }
    if finding == Finding::Mismatch {
        let lost = submissions::reject(state, challenge.submission, finding, events);
        return rewards::pay_from_lost(state, paid, lost);
    }
    for vote in voted(finding) {
        if !paid.iter().any(|(verifier, _)| *verifier == vote.validator) {
            paid.push((vote.validator.clone(), 0));
        }
    }
    if let Some(submission) = state.submissions.get_mut(&challenge.submission) {
        submission.attested_by = paid;
    }
    submissions::accept(state, challenge.submission, events);
    0
}

/// Decides the open challenge `id` in favor of `finding`, the outcome of a dispute, regardless of what the verifiers
/// found. Returns the same as [`decide`], and 0 if the challenge is not open.
pub(super) fn overrule(state: &mut State, id: u64, finding: Finding, events: &mut Vec<Event>) -> u64 {
    let challenge = state.challenges.get(&id).cloned();
    challenge.map_or(0, |challenge| decide(state, id, &challenge, finding, events))
}

/// Records that `answerer` defended a gradient successfully in the dispute with `verifier`, which had found a mismatch.
/// Nobody is slashed before the challenge is decided.
pub(super) fn record_defense(state: &mut State, submission: u64, verifier: &str, answerer: &str) {
    let Some(SubmissionStatus::Challenged(id)) = state.submissions.get(&submission).map(|known| known.status) else {
        return;
    };
    if let Some(challenge) = state.challenges.get_mut(&id) {
        challenge.lost_disputes.push((verifier.to_owned(), answerer.to_owned()));
    }
}

/// Slashes a verifier for a wrong attestation or vote. If another account has proven the verifier wrong in a dispute,
/// this account gets a bounty.
fn slash_wrong(state: &mut State, challenge: &Challenge, verifier: &str, events: &mut Vec<Event>) {
    let lost = nodes::slash(state, verifier, state.genesis.params.fraud_penalty, events);
    if let Some((_, answerer)) = challenge.lost_disputes.iter().find(|(accuser, _)| accuser == verifier) {
        coins::pay_bounty(state, answerer, lost);
    }
}

/// Returns the verifiers of one recomputation (`together`) whose finding and leaf (a digest that they can compute only
/// by recomputing the gradient) are correct, each as (address, reward in micro-units). Slashes the others.
/// [`right_leaf`] determines which leaf is correct.
fn earned(
    state: &mut State,
    challenge: &Challenge,
    together: &[SampledVerifier],
    panel: &[Vote],
    finding: Finding,
    events: &mut Vec<Event>,
) -> Vec<(String, u64)> {
    let leaf = right_leaf(state, together, panel, finding);
    let (right, wrong): (Vec<_>, Vec<_>) =
        together.iter().partition(|sampled| sampled.finding == Some(finding) && sampled.leaf == leaf);
    for sampled in wrong {
        slash_wrong(state, challenge, &sampled.verifier, events);
    }
    let verifier_reward = state.genesis.params.verifier_reward;
    let reward = |sampled: &SampledVerifier| verifier_reward.saturating_mul(sampled.seats);
    right.into_iter().map(|sampled| (sampled.verifier.clone(), reward(sampled))).collect()
}

/// Returns the attestation leaf (the digest of one tile of the gradient) that counts as correct. The candidates are the
/// leaves of the validators that voted for `finding`; if nobody voted, those of the sampled verifiers that attested it.
/// Of these, the leaf with the most stake behind it counts as correct.
fn right_leaf(state: &State, together: &[SampledVerifier], panel: &[Vote], finding: Finding) -> String {
    let sampled = together.iter().filter(|sampled| sampled.finding == Some(finding));
    let sampled = sampled.map(|sampled| (&sampled.verifier, &sampled.leaf));
    let votes = panel.iter().filter(|vote| vote.finding == finding);
    let votes = votes.map(|vote| (&vote.validator, &vote.leaf));
    let leaves: Vec<(&String, &String)> = if panel.is_empty() { sampled.collect() } else { votes.collect() };
    let mut stakes = BTreeMap::<&String, u128>::new();
    for (validator, leaf) in leaves {
        *stakes.entry(leaf).or_default() += state.node(validator).map_or(0, |node| u128::from(node.stake));
    }
    stakes.into_iter().max_by_key(|(_, stake)| *stake).map_or(String::new(), |(leaf, _)| leaf.clone())
}
