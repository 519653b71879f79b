//! Decides challenges. A challenge is the recomputation of one submitted gradient by sampled verifiers. A finding
//! (match or mismatch) decides it: the gradient is accepted or rejected, and the verifiers that attested this finding
//! have earned a reward. Verifiers that attested the opposite are slashed.

use super::{
    Challenge, ChallengeStage, Event, Finding, SampledVerifier, State, SubmissionStatus, VALIDATOR, Vote, coins, nodes,
    rewards, submissions,
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
/// by recomputing the gradient) are correct, each as (address, reward in micro-units). Slashes the others. If it is not
/// known which leaf is correct, the leaf does not matter: see [`right_leaf`].
fn earned(
    state: &mut State,
    challenge: &Challenge,
    together: &[SampledVerifier],
    panel: &[Vote],
    finding: Finding,
    events: &mut Vec<Event>,
) -> Vec<(String, u64)> {
    let leaf = right_leaf(state, together, panel, finding);
    let has_right_leaf = |sampled: &SampledVerifier| leaf.as_ref().is_none_or(|leaf| sampled.leaf == *leaf);
    let (right, wrong): (Vec<_>, Vec<_>) =
        together.iter().partition(|sampled| sampled.finding == Some(finding) && has_right_leaf(sampled));
    for sampled in wrong {
        slash_wrong(state, challenge, &sampled.verifier, events);
    }
    let verifier_reward = state.genesis.params.verifier_reward;
    let reward = |sampled: &SampledVerifier| verifier_reward.saturating_mul(sampled.seats);
    right.into_iter().map(|sampled| (sampled.verifier.clone(), reward(sampled))).collect()
}

/// Returns the attestation leaf (the digest of one tile of the gradient) that counts as correct, or `None` if that is
/// not known. If validators have voted, it is the leaf of validators with more than half of all stake that voted for
/// `finding`. If nobody has voted, it is the leaf of all sampled verifiers that attested `finding`.
///
/// A leaf with less stake behind it may be a guess: the verifiers that were sampled, and the validators that voted
/// first, can be mostly those of one coalition, even if it has a small part of all stake.
fn right_leaf(state: &State, together: &[SampledVerifier], panel: &[Vote], finding: Finding) -> Option<String> {
    if !panel.is_empty() {
        return state.leaf_of_majority(panel, finding);
    }
    let mut leaves = together.iter().filter(|sampled| sampled.finding == Some(finding)).map(|sampled| &sampled.leaf);
    let first = leaves.next()?;
    leaves.all(|leaf| leaf == first).then(|| first.clone())
}

impl State {
    /// Returns the attestation leaf for which validators with more than half of all stake voted together with
    /// `finding`; `None` if there is no such leaf.
    pub(super) fn leaf_of_majority(&self, votes: &[Vote], finding: Finding) -> Option<String> {
        let stakes: BTreeMap<&String, u128> =
            self.nodes_of(VALIDATOR).map(|(address, node)| (address, node.stake.into())).collect();
        let mut behind = BTreeMap::<&String, u128>::new();
        for vote in votes.iter().filter(|vote| vote.finding == finding) {
            *behind.entry(&vote.leaf).or_default() += stakes.get(&vote.validator).copied().unwrap_or_default();
        }
        let total: u128 = stakes.values().sum();
        behind.into_iter().find(|(_, stake)| stake * 2 > total).map(|(leaf, _)| leaf.clone())
    }
}
