//! Verification: a block after a submission draws whether it is recomputed, and by whom. The sampled seal what they find,
//! then show it, so that none can echo another; where they disagree, all validators decide. What costs the miner is open to
//! appeal first.
//!
//! Of those that agree on a match some are *traps*: others are sampled, once the first have spoken, and find again.

use super::{
    ALL, Challenge, ChallengeStage, ChunkSlot, Event, Finding, LedgerParams, PER_MYRIAD, Refusal, Sampled, State,
    Submission, SubmissionStatus, Vote, draw,
    nodes::{self, VALIDATOR},
    settlement::{condemn, settle},
    submissions,
};
use crate::{
    protocol::Commitment,
    tx::{MsgCommitAttestation, MsgSubmitCPUVerification, MsgSubmitRandomVerifierResult, code},
};
use std::collections::{BTreeMap, BTreeSet};

/// Draws for the submissions of the blocks before.
pub(super) fn begin(state: &mut State, events: &mut Vec<Event>) {
    let submitted = |place: &ChunkSlot| if let ChunkSlot::Submitted(id) = place { Some(*id) } else { None };
    let ids: Vec<u64> = state.chunk_slots.values().filter_map(submitted).collect();
    for id in ids {
        let Some(submission) = state.submissions.get(&id) else { continue };
        if submission.status != SubmissionStatus::Pending || state.draws_at(submission) > state.head().height {
            continue;
        }
        let (miner, hash) = (submission.miner.clone(), state.head().hash);
        let sampled = match draw(&hash, "r3mes/sample/1", [id, 0]) % u64::from(ALL) < rate(state, &miner) {
            true => verifiers(state, id, &[&miner]),
            false => Vec::new(),
        };
        if sampled.is_empty() {
            submissions::accept(state, id, events);
        } else {
            open(state, id, sampled, events);
        }
    }
}

/// How many of [`ALL`] submissions of a miner are recomputed: more of those whose trust fell below what all start with,
/// all of those that have nothing to lose yet.
fn rate(state: &State, miner: &str) -> u64 {
    let LedgerParams { sampling, probation, .. } = state.genesis.params;
    let accepted = state.reputations.get(miner).map_or(0, |reputation| reputation.accepted);
    if accepted < probation && !state.has_stake(miner) {
        return ALL.into();
    }
    let sampling = u64::from(sampling.min(ALL));
    let trust = state.reputations.get(miner).map_or(PER_MYRIAD / 2, |reputation| reputation.trust.into());
    let missing = (PER_MYRIAD / 2).saturating_sub(trust);
    sampling + (u64::from(ALL) - sampling) * missing / (PER_MYRIAD / 2)
}

/// Different validators, each as likely as its stake is large; never one of `but`.
pub(super) fn verifiers(state: &State, id: u64, but: &[&str]) -> Vec<String> {
    let nodes = state.nodes_of(VALIDATOR).filter(|(address, _)| !but.contains(&address.as_str()));
    let mut nodes: Vec<(&String, u64)> = nodes.map(|(address, node)| (address, node.stake.max(1))).collect();
    let mut sampled = Vec::new();
    for turn in 0..u64::from(state.genesis.params.verifiers) {
        let total: u128 = nodes.iter().map(|(_, stake)| u128::from(*stake)).sum();
        if total == 0 {
            break;
        }
        // 64 random bits over a total below 2^64: scaled, not reduced, so that no remainder favors the first
        let mut at = (u128::from(draw(&state.head().hash, "r3mes/verifier/1", [id, turn])) * total) >> 64;
        let index = nodes.iter().position(|(_, stake)| match at.checked_sub(u128::from(*stake)) {
            Some(rest) => {
                at = rest;
                false
            }
            None => true,
        });
        sampled.push(nodes.remove(index.unwrap_or_default()).0.clone());
    }
    sampled
}

fn open(state: &mut State, submission: u64, verifiers: Vec<String>, events: &mut Vec<Event>) {
    let until = state.head().height.saturating_add(state.genesis.params.attestation_blocks);
    let head = state.head_mut();
    head.challenges += 1;
    let (id, selector) = (head.challenges, head.hash);
    let (sampled, stage) = (verifiers.iter().map(|who| Sampled::new(who)).collect(), ChallengeStage::Commit);
    let challenge = Challenge {
        submission,
        stage,
        until,
        selector,
        sampled,
        first: Vec::new(),
        defended: Vec::new(),
        votes: Vec::new(),
    };
    state.challenges.insert(id, challenge);
    if let Some(submission) = state.submissions.get_mut(&submission) {
        submission.status = SubmissionStatus::Challenged(id);
    }
    events.push(Event::Sampled { challenge: id, verifiers });
}

fn refused<T>(log: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(code::REJECTED, log))
}

fn challenge(state: &mut State, id: u64, stage: ChallengeStage) -> Result<&mut Challenge, Refusal> {
    match state.challenges.get_mut(&id) {
        Some(challenge) if challenge.stage == stage => Ok(challenge),
        Some(_) => refused(format!("challenge {id} is at another stage")),
        None => Err(Refusal::new(code::NOT_FOUND, format!("challenge {id} is not open"))),
    }
}

fn sampled<'a>(challenge: &'a mut Challenge, verifier: &str) -> Result<&'a mut Sampled, Refusal> {
    let found = challenge.sampled.iter_mut().find(|sampled| sampled.verifier == verifier);
    found.ok_or_else(|| Refusal::new(code::UNAUTHORIZED, format!("{verifier} was not sampled")))
}

/// A verifier seals what it found.
pub(super) fn commit(state: &mut State, message: &MsgCommitAttestation) -> Result<(), Refusal> {
    let sampled = sampled(challenge(state, message.challenge_id, ChallengeStage::Commit)?, &message.verifier)?;
    if message.commitment.len() != 32 || sampled.committed.is_some() {
        return refused("a verifier seals 32 bytes, once");
    }
    sampled.committed = Some(message.commitment.clone().into());
    Ok(())
}

/// A verifier shows what it found.
pub(super) fn reveal(state: &mut State, message: &MsgSubmitRandomVerifierResult) -> Result<(), Refusal> {
    let finding = match message.result.as_str() {
        "match" => Finding::Match,
        "mismatch" => Finding::Mismatch,
        "unavailable" => Finding::Unavailable,
        other => return refused(format!("result {other:?} is none of match, mismatch, unavailable")),
    };
    let challenge = challenge(state, message.challenge_id, ChallengeStage::Reveal)?;
    let submission = challenge.submission;
    let sampled = sampled(challenge, &message.verifier)?;
    if sampled.committed.as_ref().is_none_or(|committed| **committed != message.commitment()) {
        return refused("this is not what the verifier committed");
    }
    sampled.finding = Some(finding);
    sampled.leaf = digits(message.evidence.split(':').next().unwrap_or_default());
    let found = Commitment::from_hex(&message.gradient_hash);
    let claimed = state.submissions.get(&submission).map(|submission| submission.commitment);
    match (finding == Finding::Match) == (found.is_some() && found == claimed) {
        true => Ok(()),
        false => refused("the result and the gradient_hash contradict each other"),
    }
}

/// As much of a leaf as one has.
fn digits(leaf: &str) -> String {
    leaf.chars().take(64).collect()
}

/// A validator decides.
pub(super) fn vote(state: &mut State, message: &MsgSubmitCPUVerification) -> Result<(), Refusal> {
    let MsgSubmitCPUVerification { validator, challenge_id, is_valid, computed_hash, expected_hash, leaf } = message;
    if !state.nodes_of(VALIDATOR).any(|(address, _)| address == validator) {
        return Err(Refusal::new(code::UNAUTHORIZED, format!("{validator} is no validator")));
    }
    let id = challenge(state, *challenge_id, ChallengeStage::Panel)?.submission;
    let claimed = state.submissions.get(&id).map(|submission| submission.commitment.to_string());
    if claimed.as_ref() != Some(expected_hash) || (computed_hash == expected_hash) != *is_valid {
        return refused("expected_hash is not the submission's, or the hashes contradict is_valid");
    }
    let votes = &mut challenge(state, *challenge_id, ChallengeStage::Panel)?.votes;
    if votes.iter().any(|vote| vote.validator == *validator) {
        return refused("a validator votes once");
    }
    votes.push(Vote { validator: validator.clone(), valid: *is_valid, leaf: digits(leaf) });
    Ok(())
}

/// Takes challenges on that have all words, or run out of time.
pub(super) fn end(state: &mut State, events: &mut Vec<Event>) {
    let open: Vec<(u64, Challenge)> = state.challenges.iter().map(|(id, open)| (*id, open.clone())).collect();
    for (id, challenge) in open {
        let late = state.head().height >= challenge.until;
        match challenge.stage {
            ChallengeStage::Commit => {
                if late || challenge.sampled.iter().all(|sampled| sampled.committed.is_some()) {
                    committed(state, id, challenge, events);
                }
            }
            ChallengeStage::Reveal => {
                if late || challenge.sampled.iter().all(|sampled| sampled.finding.is_some()) {
                    revealed(state, id, challenge, events);
                }
            }
            ChallengeStage::Panel => decide(state, id, &challenge, late, events),
            ChallengeStage::Appeal if late => drop(settle(state, id, &challenge, Finding::Mismatch, events)),
            // of the disputes none fell: that would have ended the challenge
            ChallengeStage::Contested if late && !state.is_disputed(challenge.submission) => {
                settle(state, id, &challenge, Finding::Match, events);
            }
            ChallengeStage::Appeal | ChallengeStage::Contested => {}
        }
    }
}

/// Ends the first stage: who committed nothing is out.
fn committed(state: &mut State, id: u64, mut challenge: Challenge, events: &mut Vec<Event>) {
    silence(state, &mut challenge, |sampled| sampled.committed.is_some(), events);
    if challenge.sampled.is_empty() {
        return all_silent(state, id, &challenge, events);
    }
    challenge.stage = ChallengeStage::Reveal;
    challenge.until = state.head().height.saturating_add(state.genesis.params.attestation_blocks);
    state.challenges.insert(id, challenge);
}

/// Ends the second: who agree decide, else all validators do.
fn revealed(state: &mut State, id: u64, mut challenge: Challenge, events: &mut Vec<Event>) {
    silence(state, &mut challenge, |sampled| sampled.finding.is_some(), events);
    let Some(found) = challenge.sampled.first().and_then(|sampled| sampled.finding) else {
        return all_silent(state, id, &challenge, events);
    };
    let LedgerParams { attestation_blocks, decision_blocks, challenge_blocks, .. } = state.genesis.params;
    // who found the same knows the same leaf of the trace
    let same = |sampled: &Sampled| sampled.finding == Some(found) && sampled.leaf == challenge.sampled[0].leaf;
    let agreed =
        challenge.sampled.iter().all(same) && challenge.first.iter().all(|sampled| sampled.finding == Some(found));
    let blocks = match (agreed, found) {
        (false, _) => {
            challenge.stage = ChallengeStage::Panel;
            decision_blocks
        }
        (true, Finding::Mismatch) if challenge_blocks > 0 => return condemn(state, id, challenge),
        (true, _) => {
            let others = if found == Finding::Match { trap(state, id, &challenge) } else { Vec::new() };
            if others.is_empty() {
                settle(state, id, &challenge, found, events);
                return;
            }
            challenge.first =
                std::mem::replace(&mut challenge.sampled, others.iter().map(|who| Sampled::new(who)).collect());
            challenge.stage = ChallengeStage::Commit;
            challenge.selector = state.head().hash;
            events.push(Event::Sampled { challenge: id, verifiers: others });
            attestation_blocks
        }
    };
    challenge.until = state.head().height.saturating_add(blocks);
    state.challenges.insert(id, challenge);
}

/// Who finds again what all found, where this block's hash makes it a trap.
fn trap(state: &State, id: u64, challenge: &Challenge) -> Vec<String> {
    let chance = draw(&state.head().hash, "r3mes/trap/1", [id, 0]) % u64::from(ALL);
    let Some(submission) = state.submissions.get(&challenge.submission) else { return Vec::new() };
    if !challenge.first.is_empty() || chance >= u64::from(state.genesis.params.trap_share) {
        return Vec::new();
    }
    let spoke = challenge.sampled.iter().map(|sampled| sampled.verifier.as_str());
    verifiers(state, id, &spoke.chain([submission.miner.as_str()]).collect::<Vec<_>>())
}

/// Nobody of those sampled speaks: others are sampled, or, in a trap, the first have their word.
fn all_silent(state: &mut State, id: u64, challenge: &Challenge, events: &mut Vec<Event>) {
    match challenge.first.is_empty() {
        true => draw_again(state, id, challenge),
        false => drop(settle(state, id, challenge, Finding::Match, events)),
    }
}

/// The sampled who said nothing pay for it and are out.
fn silence(state: &mut State, challenge: &mut Challenge, spoke: fn(&Sampled) -> bool, events: &mut Vec<Event>) {
    let penalty = state.genesis.params.silence_penalty;
    let (spoke, silent): (Vec<_>, Vec<_>) = std::mem::take(&mut challenge.sampled).into_iter().partition(spoke);
    for sampled in silent {
        nodes::slash(state, &sampled.verifier, penalty, events);
    }
    challenge.sampled = spoke;
}

/// The next block draws others.
fn draw_again(state: &mut State, id: u64, challenge: &Challenge) {
    state.challenges.remove(&id);
    if let Some(submission) = state.submissions.get_mut(&challenge.submission) {
        submission.status = SubmissionStatus::Pending;
    }
}

/// Settles by the stake of those who voted, once one side has more than half of all or time is up.
fn decide(state: &mut State, id: u64, challenge: &Challenge, late: bool, events: &mut Vec<Event>) {
    let stakes: BTreeMap<String, u128> =
        state.nodes_of(VALIDATOR).map(|(address, node)| (address.clone(), node.stake.into())).collect();
    let side = |valid: bool| -> u128 {
        let votes = challenge.votes.iter().filter(|vote| vote.valid == valid);
        votes.filter_map(|vote| stakes.get(&vote.validator)).sum()
    };
    let (valid, wrong, all) = (side(true), side(false), stakes.values().sum::<u128>());
    if !late && valid * 2 <= all && wrong * 2 <= all {
        return;
    }
    if valid == wrong {
        // nobody voted, or a tie: others look at it
        return draw_again(state, id, challenge);
    }
    match valid > wrong {
        true => drop(settle(state, id, challenge, Finding::Match, events)),
        false if state.genesis.params.challenge_blocks > 0 => condemn(state, id, challenge.clone()),
        false => drop(settle(state, id, challenge, Finding::Mismatch, events)),
    }
}

impl Sampled {
    fn new(verifier: &str) -> Self {
        Self { verifier: verifier.to_owned(), committed: None, finding: None, leaf: String::new() }
    }
}

impl Challenge {
    /// Who found a mismatch, sampled or as one of all validators, and did not lose a game about it.
    pub(super) fn accusers(&self) -> BTreeSet<&String> {
        let sampled =
            self.first.iter().chain(&self.sampled).filter(|sampled| sampled.finding == Some(Finding::Mismatch));
        let votes = self.votes.iter().filter(|vote| !vote.valid).map(|vote| &vote.validator);
        let lost = |accuser: &&String| self.defended.iter().any(|(who, _)| who == *accuser);
        sampled.map(|sampled| &sampled.verifier).chain(votes).filter(|accuser| !lost(accuser)).collect()
    }

    /// Who found a match, each once.
    pub(super) fn vouchers(&self) -> Vec<String> {
        let sampled = self.first.iter().chain(&self.sampled).filter(|sampled| sampled.finding == Some(Finding::Match));
        let votes = self.votes.iter().filter(|vote| vote.valid).map(|vote| &vote.validator);
        let all: BTreeSet<&String> = sampled.map(|sampled| &sampled.verifier).chain(votes).collect();
        all.into_iter().cloned().collect()
    }
}

impl State {
    /// The block that draws for a submission.
    pub(super) fn draws_at(&self, submission: &Submission) -> u64 {
        submission.height.saturating_add(self.genesis.params.draw_blocks.max(1))
    }
}
