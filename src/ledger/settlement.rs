//! A finding settles a challenge: those who said otherwise pay, those who were sampled and found it are paid, and the gradient
//! counts or is rejected.

use super::{
    Challenge, ChallengeStage, Event, Finding, Sampled, State, SubmissionStatus, Vote, coins, nodes, submissions,
    verdicts::prize,
};
use std::collections::BTreeMap;

/// What costs the miner is open to appeal first; its position is free meanwhile.
pub(super) fn condemn(state: &mut State, id: u64, mut challenge: Challenge) {
    submissions::leave(state, challenge.submission);
    challenge.stage = ChallengeStage::Appeal;
    challenge.until = state.head().height.saturating_add(state.genesis.params.challenge_blocks);
    state.challenges.insert(id, challenge);
}

/// The finding stands: who said otherwise pays, those who were sampled and found it are paid. Returns what the miner lost.
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
        fine(state, challenge, &vote.validator, events);
    }
    match finding {
        Finding::Match => {
            submissions::accept(state, challenge.submission, events);
            if let Some(submission) = state.submissions.get_mut(&challenge.submission) {
                submission.attested_by = challenge.vouchers();
            }
            0
        }
        Finding::Mismatch | Finding::Unavailable => submissions::reject(state, challenge.submission, finding, events),
    }
}

/// A dispute found what those sampled for a challenge did not agree on. Returns what the miner lost.
pub(super) fn overrule(state: &mut State, id: u64, finding: Finding, events: &mut Vec<Event>) -> u64 {
    let challenge = state.challenges.get(&id).cloned();
    challenge.map_or(0, |challenge| settle(state, id, &challenge, finding, events))
}

/// An answer stood against a verifier who found a mismatch: it is settled with the challenge who was right.
pub(super) fn defend(state: &mut State, submission: u64, accuser: &str, answerer: &str) {
    let Some(SubmissionStatus::Challenged(id)) = state.submissions.get(&submission).map(|known| known.status) else {
        return;
    };
    if let Some(challenge) = state.challenges.get_mut(&id) {
        challenge.defended.push((accuser.to_owned(), answerer.to_owned()));
    }
}

/// Who said what is not so pays, also to who stood against that.
fn fine(state: &mut State, challenge: &Challenge, verifier: &str, events: &mut Vec<Event>) {
    let lost = nodes::slash(state, verifier, state.genesis.params.fraud_penalty, events);
    if let Some((_, answerer)) = challenge.defended.iter().find(|(accuser, _)| accuser == verifier) {
        prize(state, answerer, lost);
    }
}

/// Pays or fines those who were sampled together, where a panel decided, by its leaf.
fn pay(
    state: &mut State,
    challenge: &Challenge,
    together: &[Sampled],
    panel: &[Vote],
    finding: Finding,
    events: &mut Vec<Event>,
) {
    let verifier_reward = state.genesis.params.verifier_reward;
    let leaf = leaf(state, together, panel, finding);
    for sampled in together {
        if sampled.finding == Some(finding) && sampled.leaf == leaf {
            let paid = coins::mint(state, verifier_reward);
            coins::give_back(state, &sampled.verifier, paid);
        } else if sampled.finding != Some(Finding::Unavailable) {
            // blocks that one could get and another could not prove nothing against either
            fine(state, challenge, &sampled.verifier, events);
        }
    }
}

/// The leaf that most stake is behind, of those who found this: of a panel, where it decided, else of the sampled.
fn leaf(state: &State, together: &[Sampled], panel: &[Vote], finding: Finding) -> String {
    let sampled = together.iter().filter(|sampled| sampled.finding == Some(finding));
    let sampled = sampled.map(|sampled| (&sampled.verifier, &sampled.leaf));
    let votes = panel.iter().filter(|vote| vote.valid == (finding == Finding::Match));
    let votes = votes.map(|vote| (&vote.validator, &vote.leaf));
    let words: Vec<(&String, &String)> = if panel.is_empty() { sampled.collect() } else { votes.collect() };
    let mut behind = BTreeMap::<&String, u128>::new();
    for (validator, leaf) in words {
        *behind.entry(leaf).or_default() += state.node(validator).map_or(0, |node| u128::from(node.stake));
    }
    behind.into_iter().max_by_key(|(_, stake)| *stake).map_or(String::new(), |(leaf, _)| leaf.clone())
}
