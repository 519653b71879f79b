//! Settles challenges. A challenge is the recomputation of one submitted gradient by sampled verifiers. A finding
//! (match, mismatch or unavailable) settles it: the gradient is accepted or rejected, and the verifiers that attested
//! this finding are paid. Verifiers that attested another finding are slashed, except for those that were merely unable
//! to fetch the gradient.

use super::{
    Challenge, ChallengeStage, Event, Finding, SampledVerifier, State, SubmissionStatus, Vote, coins, nodes,
    submissions,
};
use std::collections::BTreeMap;

/// Puts the challenge `id`, in which a mismatch was found, into the stage in which anybody may appeal against this
/// finding. Meanwhile the gradient's chunk slot is free, so that other miners can claim it.
pub(super) fn open_to_appeal(state: &mut State, id: u64, mut challenge: Challenge) {
    submissions::leave_round(state, challenge.submission);
    challenge.stage = ChallengeStage::Appeal;
    challenge.stage_ends = state.head().height.saturating_add(state.genesis.params.challenge_blocks);
    state.challenges.insert(id, challenge);
}

/// Settles a challenge in favor of `finding`: pays or slashes the verifiers, and accepts or rejects the gradient.
/// Returns how many micro-units the gradient's miner lost.
pub(super) fn settle(
    state: &mut State,
    id: u64,
    challenge: &Challenge,
    finding: Finding,
    events: &mut Vec<Event>,
) -> u64 {
    state.challenges.remove(&id);
    pay(state, challenge, &challenge.first_recomputation, &[], finding, events);
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

/// Settles the open challenge `id` in favor of `finding`, the outcome of a dispute, whatever the verifiers found.
/// Returns how many micro-units the gradient's miner lost.
pub(super) fn overrule(state: &mut State, id: u64, finding: Finding, events: &mut Vec<Event>) -> u64 {
    let challenge = state.challenges.get(&id).cloned();
    challenge.map_or(0, |challenge| settle(state, id, &challenge, finding, events))
}

/// Records that `answerer` defended a gradient successfully in the dispute with `verifier`, which had found a mismatch.
/// Nobody is slashed before the challenge is settled.
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

/// Pays those verifiers of one recomputation (`together`) whose finding and leaf (a digest that they can compute only
/// by recomputing the gradient) are right. Slashes the others, except for those that could not fetch the gradient.
/// [`right_leaf`] determines which leaf is right.
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

/// Returns the attestation leaf (the digest of one tile of the gradient) that counts as right. The candidates are the
/// leaves of the validators that voted for `finding`; if nobody voted, those of the sampled verifiers that attested it.
/// The candidate with the most stake behind it counts as right.
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
