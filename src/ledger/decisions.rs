//! Decides challenges. A challenge is the recomputation of one submitted gradient by sampled verifiers. The finding
//! that decides a challenge is either a match (the gradient is correct, and is accepted) or a mismatch (the gradient is
//! wrong, and is rejected). The verifiers that attested this finding earn a reward. Verifiers that attested the
//! opposite are slashed.

use super::{
    Challenge, ChallengeStage, Event, Finding, SampledVerifier, State, SubmissionStatus, VALIDATOR, Vote, coins, nodes,
    rewards, submissions,
};
use std::collections::BTreeMap;

/// Puts the challenge `id`, in which verifiers found a gradient to be wrong, into the stage in which anybody may appeal
/// against this finding. Meanwhile the gradient's chunk slot is free, so that other miners can claim it.
pub(super) fn open_to_appeal(state: &mut State, id: u64, mut challenge: Challenge) {
    submissions::leave_round(state, challenge.submission);
    challenge.stage = ChallengeStage::Appeal;
    challenge.stage_ends = state.head().clock.saturating_add(state.genesis.params.challenge_blocks);
    state.challenges.insert(id, challenge);
}

/// Ends a challenge with the result `finding`, a match or a mismatch: accepts or rejects the gradient, and slashes the
/// verifiers and voters that found the opposite. Verifiers that attested a mismatch are paid from the coins that the
/// miner loses. Verifiers that attested a match are paid later, when the gradient is settled. Returns how many of the
/// micro-units that the miner lost are left after the verifiers were paid; 0 for a match, because the miner then loses
/// nothing.
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

/// Ends the challenge `id` (the recomputation of a gradient by sampled verifiers) with the result `finding`, which a
/// dispute has established. What the verifiers attested does not matter. Returns the rest of the miner's penalty, in
/// micro-units, after the verifiers have been paid from it; 0 if the miner lost nothing, or if the challenge is not
/// open.
pub(super) fn overrule(state: &mut State, id: u64, finding: Finding, events: &mut Vec<Event>) -> u64 {
    let challenge = state.challenges.get(&id).cloned();
    challenge.map_or(0, |challenge| decide(state, id, &challenge, finding, events))
}

/// Records that `answerer` won the dispute about a gradient against `verifier`, which had found a mismatch. Nobody is
/// slashed yet. If the challenge (the recomputation of the gradient) later ends with the decision that the gradient is
/// correct, `verifier` is slashed and `answerer` gets a bounty.
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

/// Returns the verifiers that have earned a reward for one recomputation of a gradient, each as (address, reward in
/// micro-units). Slashes the verifiers that have not earned it. `together` contains all verifiers of this
/// recomputation, and `finding` is the correct finding. A verifier earns the reward if it attested this finding and
/// stated the correct attestation leaf (a digest that it can compute only by recomputing the gradient). If it is not
/// known which leaf is correct (see [`right_leaf`]), every leaf is accepted.
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

/// Returns the attestation leaf (the digest of one tile of the gradient) that counts as correct, or `None` if no leaf
/// does. `panel` contains the votes of the validators. If there are votes, a leaf counts if its supporters hold more
/// than half of the stake of all validators. The supporters of a leaf are the validators that voted for `finding` and
/// stated this leaf. If there are no votes, a leaf counts if all sampled verifiers that attested `finding` stated it.
///
/// More than half of the stake is required, so that verifiers that did not recompute the gradient cannot agree on a
/// guessed leaf and make it count. Even with little stake, they may by chance be most of the sampled verifiers, or cast
/// most of the first votes.
fn right_leaf(state: &State, together: &[SampledVerifier], panel: &[Vote], finding: Finding) -> Option<String> {
    if !panel.is_empty() {
        return state.leaf_of_majority(panel, finding);
    }
    let mut leaves = together.iter().filter(|sampled| sampled.finding == Some(finding)).map(|sampled| &sampled.leaf);
    let first = leaves.next()?;
    leaves.all(|leaf| leaf == first).then(|| first.clone())
}

impl State {
    /// Returns the attestation leaf (the digest of one tile of the gradient) that has a majority; `None` if no leaf has
    /// one. A leaf has a majority if the validators that voted for `finding` and stated this leaf hold more than half
    /// of the stake of all validators.
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
