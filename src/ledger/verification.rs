//! Verification of submitted gradients. A random value of the [beacon](super::beacon), which nobody knows when the
//! gradient is submitted, decides whether the gradient is recomputed, and by which verifiers. These verifiers first
//! commit to their findings and then reveal them, so that no verifier can copy another. If they disagree, all
//! validators vote. Before a gradient is rejected as wrong, anybody may appeal.
//!
//! A finding is about the commitment only: whoever recomputes the gradient knows whether the commitment is correct,
//! even if the miner withholds the artifact. A verifier that cannot recompute the gradient, because blocks of the task
//! are missing, finds it unavailable. This finding accuses nobody, and counts like a missing attestation.
//!
//! Some of the recomputations that found a match become *traps*: after the first verifiers have revealed their
//! findings, other verifiers are sampled, and recompute the gradient again.

use super::{
    ALL, Author, Challenge, ChallengeStage, ChunkSlot, Event, Finding, LedgerParams, PER_MYRIAD, SampledVerifier,
    State, SubmissionStatus, Vote,
    context::Refusal,
    decisions::{decide, open_to_appeal},
    nodes::{self, VALIDATOR},
    submissions,
};
use crate::{
    protocol::Commitment,
    tx::{MsgCommitAttestation, MsgRevealAttestation, MsgSubmitCPUVerification, code},
};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// Each open challenge extends a stage of another challenge by one part in this number.
const QUEUE_SHARE: u64 = 10;

/// Decides for each pending submission whether its gradient is recomputed, provided that the random value for this
/// decision is known. If the gradient is recomputed, samples the verifiers; otherwise accepts the gradient immediately.
pub(super) fn sample(state: &mut State, events: &mut Vec<Event>) {
    let submitted = |slot: &ChunkSlot| if let ChunkSlot::Submitted(id) = slot { Some(*id) } else { None };
    let ids: Vec<u64> = state.chunk_slots.values().filter_map(submitted).collect();
    for id in ids {
        let Some(submission) = state.submissions.get(&id) else { continue };
        if submission.status != SubmissionStatus::Pending || submission.draw > state.head().beacon.values {
            continue;
        }
        let (author, value) = (submission.author(), state.head().beacon.value);
        let sampled = match random(&value, "r3mes/sample/1", [id, 0]) % u64::from(ALL) < rate(state, &author) {
            true => sampled_verifiers(state, id, &[&author.miner]),
            false => Vec::new(),
        };
        if sampled.is_empty() {
            submissions::accept(state, id, events);
        } else {
            open(state, id, sampled, events);
        }
    }
}

/// Returns a pseudorandom number: the first 8 bytes of the SHA-256 of `purpose`, the random `value` of the beacon and
/// two `numbers`, as a big-endian integer.
fn random(value: &[u8; 32], purpose: &str, numbers: [u64; 2]) -> u64 {
    let digest = Sha256::new().chain_update(purpose).chain_update(value);
    let digest = numbers.iter().fold(digest, |digest, number| digest.chain_update(number.to_le_bytes())).finalize();
    u64::from_be_bytes(digest[..8].try_into().expect("8 of 32 bytes"))
}

/// Returns the sampling rate of an author: how many of 65,536 submissions are recomputed on average. The rate rises
/// when the author's trust falls below the initial trust. For an author without collateral it is [`ALL`] (65,536), so
/// every submission is recomputed.
fn rate(state: &State, author: &Author) -> u64 {
    let LedgerParams { sampling, .. } = state.genesis.params;
    if !state.has_collateral(author) {
        return ALL.into();
    }
    let sampling = u64::from(sampling.min(ALL));
    let trust = state.reputations.get(author).map_or(PER_MYRIAD / 2, |reputation| reputation.trust.into());
    let missing = (PER_MYRIAD / 2).saturating_sub(trust);
    sampling + (u64::from(ALL) - sampling) * missing / (PER_MYRIAD / 2)
}

/// Samples the verifiers of one recomputation among all validators that are not in `excluded`. The recomputation has as
/// many seats as the parameter `verifiers` states, and a validator is drawn for each seat. The probability of each
/// validator is proportional to its stake, and the seats are independent of each other. Therefore nobody gets more
/// seats by splitting a stake over several nodes. The random numbers depend on `id` (the ID of the submission or of the
/// challenge), so that each recomputation has its own sample.
pub(super) fn sampled_verifiers(state: &State, id: u64, excluded: &[&str]) -> Vec<SampledVerifier> {
    let nodes = state.nodes_of(VALIDATOR).filter(|(address, _)| !excluded.contains(&address.as_str()));
    let nodes: Vec<(&String, u128)> = nodes.map(|(address, node)| (address, node.stake.max(1).into())).collect();
    let total: u128 = nodes.iter().map(|(_, stake)| stake).sum();
    let mut seats = BTreeMap::<&String, u64>::new();
    for seat in 0..u64::from(state.genesis.params.verifiers) {
        // scales 64 random bits to the total, which is below 2^64; a remainder modulo the total would favor the first
        // nodes
        let mut at = (u128::from(random(&state.head().beacon.value, "r3mes/verifier/1", [id, seat])) * total) >> 64;
        let taken = nodes.iter().find(|(_, stake)| match at.checked_sub(*stake) {
            Some(rest) => {
                at = rest;
                false
            }
            None => true,
        });
        if let Some((verifier, _)) = taken {
            *seats.entry(verifier).or_default() += 1;
        }
    }
    seats.into_iter().map(|(verifier, seats)| SampledVerifier::new(verifier, seats)).collect()
}

fn open(state: &mut State, submission: u64, sampled: Vec<SampledVerifier>, events: &mut Vec<Event>) {
    let head = state.head_mut();
    head.challenges += 1;
    let (id, selector) = (head.challenges, head.beacon.value);
    let stage_ends = state.stage_end(id, state.genesis.params.attestation_blocks);
    let verifiers = sampled.iter().map(|sampled| sampled.verifier.clone()).collect();
    let challenge = Challenge {
        submission,
        stage: ChallengeStage::Commit,
        stage_ends,
        selector,
        sampled,
        first_recomputation: Vec::new(),
        lost_disputes: Vec::new(),
        votes: Vec::new(),
    };
    state.challenges.insert(id, challenge);
    if let Some(submission) = state.submissions.get_mut(&submission) {
        submission.status = SubmissionStatus::Challenged(id);
    }
    events.push(Event::Sampled { challenge: id, verifiers });
}

fn refused<T>(log: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::rejected(log))
}

fn challenge(state: &mut State, id: u64, stage: ChallengeStage) -> Result<&mut Challenge, Refusal> {
    match state.challenges.get_mut(&id) {
        Some(challenge) if challenge.stage == stage => Ok(challenge),
        Some(challenge) => {
            refused(format!("challenge {id} is in stage {:?}, but must be in stage {stage:?}", challenge.stage))
        }
        None => Err(Refusal::not_found(format!("challenge {id} is not open"))),
    }
}

fn sampled<'a>(challenge: &'a mut Challenge, verifier: &str) -> Result<&'a mut SampledVerifier, Refusal> {
    let found = challenge.sampled.iter_mut().find(|sampled| sampled.verifier == verifier);
    found.ok_or_else(|| {
        let log = format!("{verifier} is not one of the verifiers that were sampled for this challenge");
        Refusal::new(code::UNAUTHORIZED, log)
    })
}

/// Stores the hash by which a sampled verifier commits to its finding.
pub(super) fn commit(state: &mut State, message: &MsgCommitAttestation) -> Result<(), Refusal> {
    let sampled = sampled(challenge(state, message.challenge_id, ChallengeStage::Commit)?, &message.verifier)?;
    if message.commitment.len() != 32 || sampled.committed.is_some() {
        return refused("the commitment is not 32 bytes long, or the verifier has already committed");
    }
    sampled.committed = Some(message.commitment.clone().into());
    Ok(())
}

/// Stores the finding that a sampled verifier reveals. Fails if the verifier committed to something else.
pub(super) fn reveal(state: &mut State, message: &MsgRevealAttestation) -> Result<(), Refusal> {
    let finding = match message.result.as_str() {
        "match" => Finding::Match,
        "mismatch" => Finding::Mismatch,
        "unavailable" => Finding::Unavailable,
        other => return refused(format!("the result is {other:?}, but must be match, mismatch or unavailable")),
    };
    let challenge = challenge(state, message.challenge_id, ChallengeStage::Reveal)?;
    let submission = challenge.submission;
    let sampled = sampled(challenge, &message.verifier)?;
    if sampled.committed.as_ref().is_none_or(|committed| **committed != message.commitment()) {
        return refused("the attestation is not what the verifier committed to");
    }
    sampled.finding = Some(finding);
    sampled.leaf = truncated(&message.leaf);
    match stated_finding(state, submission, &message.gradient_hash) == Some(finding) {
        true => Ok(()),
        false => refused("result and gradient_hash contradict each other"),
    }
}

/// Returns the finding of a verifier. `computed` is the commitment that the verifier has computed for the gradient, in
/// hexadecimal. The finding is a match if `computed` equals the commitment in the submission, otherwise a mismatch. If
/// `computed` is empty, the gradient is unavailable. Returns `None` if `computed` is neither empty nor 64 hexadecimal
/// digits.
fn stated_finding(state: &State, submission: u64, computed: &str) -> Option<Finding> {
    if computed.is_empty() {
        return Some(Finding::Unavailable);
    }
    let computed = Commitment::from_hex(computed)?;
    let claimed = state.submissions.get(&submission)?.commitment;
    Some(if computed == claimed { Finding::Match } else { Finding::Mismatch })
}

/// Returns the first 64 characters of an attestation leaf (a digest of a part of the gradient). A valid leaf consists
/// of 64 hexadecimal digits.
fn truncated(leaf: &str) -> String {
    leaf.chars().take(64).collect()
}

/// Stores the vote of a validator about a gradient on which the sampled verifiers disagree. An empty `computed_hash`
/// means that the validator could not recompute the gradient.
pub(super) fn vote(state: &mut State, message: &MsgSubmitCPUVerification) -> Result<(), Refusal> {
    let MsgSubmitCPUVerification { validator, challenge_id, is_valid, computed_hash, expected_hash, leaf } = message;
    if !state.nodes_of(VALIDATOR).any(|(address, _)| address == validator) {
        return Err(Refusal::new(code::UNAUTHORIZED, format!("{validator} is not a validator")));
    }
    let id = challenge(state, *challenge_id, ChallengeStage::Panel)?.submission;
    let claimed = state.submissions.get(&id).map(|submission| submission.commitment.to_string());
    let finding = stated_finding(state, id, computed_hash)
        .filter(|finding| claimed.as_ref() == Some(expected_hash) && *is_valid == (*finding == Finding::Match));
    let Some(finding) = finding else {
        return refused("expected_hash is not the submission's commitment, or is_valid contradicts the hashes");
    };
    let votes = &mut challenge(state, *challenge_id, ChallengeStage::Panel)?.votes;
    if votes.iter().any(|vote| vote.validator == *validator) {
        return refused("the validator has already voted");
    }
    votes.push(Vote { validator: validator.clone(), finding, leaf: truncated(leaf) });
    Ok(())
}

/// Ends the current stage of each challenge for which one of the following holds: all verifiers have acted, the vote of
/// the validators is decided, the time is up, or the random value for which the stage waits is known.
pub(super) fn end(state: &mut State, events: &mut Vec<Event>) {
    let open: Vec<(u64, Challenge)> = state.challenges.iter().map(|(id, open)| (*id, open.clone())).collect();
    for (id, challenge) in open {
        let late = state.head().clock >= challenge.stage_ends;
        match challenge.stage {
            ChallengeStage::Commit => {
                if late || challenge.sampled.iter().all(|sampled| sampled.committed.is_some()) {
                    end_commit(state, id, challenge, events);
                }
            }
            ChallengeStage::Reveal => {
                if late || challenge.sampled.iter().all(|sampled| sampled.finding.is_some()) {
                    end_reveal(state, id, challenge, events);
                }
            }
            ChallengeStage::Draw(draw) if draw <= state.head().beacon.values => draw_trap(state, id, challenge, events),
            ChallengeStage::Panel => end_panel(state, id, &challenge, late, events),
            ChallengeStage::Appeal if late => drop(decide(state, id, &challenge, Finding::Mismatch, events)),
            // no dispute was upheld, because that would have ended the challenge
            ChallengeStage::Contested if late && !state.is_disputed(challenge.submission) => {
                decide(state, id, &challenge, Finding::Match, events);
            }
            ChallengeStage::Draw(_) | ChallengeStage::Appeal | ChallengeStage::Contested => {}
        }
    }
}

/// Ends the stage in which verifiers commit. Verifiers that did not commit are slashed and removed from the challenge.
fn end_commit(state: &mut State, id: u64, mut challenge: Challenge, events: &mut Vec<Event>) {
    remove_silent(state, &mut challenge, |sampled| sampled.committed.is_some(), events);
    if challenge.sampled.is_empty() {
        return end_without_attestations(state, id, &challenge, events);
    }
    challenge.stage = ChallengeStage::Reveal;
    challenge.stage_ends = state.stage_end(id, state.genesis.params.attestation_blocks);
    state.challenges.insert(id, challenge);
}

/// Ends the stage in which verifiers reveal. Verifiers that revealed nothing, or that could not recompute the gradient,
/// are slashed and removed. If the remaining verifiers agree, their finding decides, but anybody may first appeal
/// against a mismatch, and a match may first become a trap (a second recomputation by other verifiers). If the
/// remaining verifiers disagree, all validators vote.
fn end_reveal(state: &mut State, id: u64, mut challenge: Challenge, events: &mut Vec<Event>) {
    let has_recomputed = |sampled: &SampledVerifier| sampled.finding.is_some_and(|found| found != Finding::Unavailable);
    remove_silent(state, &mut challenge, has_recomputed, events);
    let Some(found) = challenge.sampled.first().and_then(|sampled| sampled.finding) else {
        return end_without_attestations(state, id, &challenge, events);
    };
    let LedgerParams { decision_blocks, challenge_blocks, trap_share, .. } = state.genesis.params;
    // verifiers that computed the same gradient have the same attestation leaf
    let same = |sampled: &SampledVerifier| sampled.finding == Some(found) && sampled.leaf == challenge.sampled[0].leaf;
    let agreed = challenge.sampled.iter().all(same)
        && challenge.first_recomputation.iter().all(|sampled| sampled.finding == Some(found));
    let blocks = match (agreed, found) {
        (false, _) => {
            challenge.stage = ChallengeStage::Panel;
            decision_blocks
        }
        (true, Finding::Mismatch) if challenge_blocks > 0 => return open_to_appeal(state, id, challenge),
        (true, Finding::Match) if trap_share > 0 && challenge.first_recomputation.is_empty() => {
            if !state.has_beacon() {
                return draw_trap(state, id, challenge, events);
            }
            challenge.stage = ChallengeStage::Draw(state.next_draw());
            u64::MAX
        }
        (true, _) => {
            decide(state, id, &challenge, found, events);
            return;
        }
    };
    challenge.stage_ends = state.stage_end(id, blocks);
    state.challenges.insert(id, challenge);
}

/// Decides by the latest random value whether a challenge in which the verifiers found a match becomes a trap, that is,
/// whether other verifiers must recompute the gradient once more. If so, samples these verifiers. If not, or if there
/// are no other verifiers, accepts the gradient.
fn draw_trap(state: &mut State, id: u64, mut challenge: Challenge, events: &mut Vec<Event>) {
    let others = trap(state, id, &challenge);
    if others.is_empty() {
        decide(state, id, &challenge, Finding::Match, events);
        return;
    }
    let verifiers = others.iter().map(|sampled| sampled.verifier.clone()).collect();
    challenge.first_recomputation = std::mem::replace(&mut challenge.sampled, others);
    challenge.stage = ChallengeStage::Commit;
    challenge.selector = state.head().beacon.value;
    challenge.stage_ends = state.stage_end(id, state.genesis.params.attestation_blocks);
    events.push(Event::Sampled { challenge: id, verifiers });
    state.challenges.insert(id, challenge);
}

/// Returns the verifiers that must recompute the gradient once more because the beacon's latest random value has made
/// this challenge a trap. The list is empty if the challenge has not become a trap.
fn trap(state: &State, id: u64, challenge: &Challenge) -> Vec<SampledVerifier> {
    let chance = random(&state.head().beacon.value, "r3mes/trap/1", [id, 0]) % u64::from(ALL);
    let Some(submission) = state.submissions.get(&challenge.submission) else { return Vec::new() };
    if chance >= u64::from(state.genesis.params.trap_share) {
        return Vec::new();
    }
    let attested = challenge.sampled.iter().map(|sampled| sampled.verifier.as_str());
    sampled_verifiers(state, id, &attested.chain([submission.miner.as_str()]).collect::<Vec<_>>())
}

/// Ends a stage in which no verifier has attested whether the gradient is correct. If the stage belongs to a trap (the
/// second recomputation of a gradient), accepts the gradient, because the verifiers of the first recomputation found a
/// match. Otherwise, a future random value decides anew whether the gradient is recomputed, and by whom.
fn end_without_attestations(state: &mut State, id: u64, challenge: &Challenge, events: &mut Vec<Event>) {
    match challenge.first_recomputation.is_empty() {
        true => sample_again(state, id, challenge),
        false => drop(decide(state, id, challenge, Finding::Match, events)),
    }
}

/// Slashes the sampled verifiers that did not commit or attest in time (those for which `is_done` is false), and
/// removes them from the challenge.
fn remove_silent(
    state: &mut State,
    challenge: &mut Challenge,
    is_done: fn(&SampledVerifier) -> bool,
    events: &mut Vec<Event>,
) {
    let penalty = state.genesis.params.silence_penalty;
    let (done, silent): (Vec<_>, Vec<_>) = std::mem::take(&mut challenge.sampled).into_iter().partition(is_done);
    for sampled in silent {
        nodes::slash(state, &sampled.verifier, penalty, events);
    }
    challenge.sampled = done;
}

/// Ends a challenge without a result. A future random value decides anew whether the gradient is recomputed, and by
/// whom.
fn sample_again(state: &mut State, id: u64, challenge: &Challenge) {
    state.challenges.remove(&id);
    let draw = state.next_draw();
    if let Some(submission) = state.submissions.get_mut(&challenge.submission) {
        (submission.status, submission.draw) = (SubmissionStatus::Pending, draw);
    }
}

/// Ends the vote of the validators if it is decided. Two conditions must hold: the validators that voted for one side
/// (match or mismatch) hold more than half of the stake of all validators, and so do the validators among them that
/// state the same attestation leaf (a digest of a part of the gradient). Once the time is up (`late`), the first
/// condition is enough. If the time is up and no side has more than half of the stake, slashes the validators that have
/// voted for neither side, and extends the vote by another `decision_blocks` blocks.
fn end_panel(state: &mut State, id: u64, challenge: &Challenge, late: bool, events: &mut Vec<Event>) {
    let stakes: BTreeMap<String, u128> =
        state.nodes_of(VALIDATOR).map(|(address, node)| (address.clone(), node.stake.into())).collect();
    let is_majority = |finding: Finding| {
        let votes = challenge.votes.iter().filter(|vote| vote.finding == finding);
        votes.filter_map(|vote| stakes.get(&vote.validator)).sum::<u128>() * 2 > stakes.values().sum()
    };
    // without the majority's leaf, verifiers that guess could not be told from those that recompute
    let ends = |finding: Finding| {
        is_majority(finding) && (late || state.leaf_of_majority(&challenge.votes, finding).is_some())
    };
    if ends(Finding::Match) {
        decide(state, id, challenge, Finding::Match, events);
    } else if ends(Finding::Mismatch) {
        match state.genesis.params.challenge_blocks {
            0 => drop(decide(state, id, challenge, Finding::Mismatch, events)),
            _ => open_to_appeal(state, id, challenge.clone()),
        }
    } else if late {
        let LedgerParams { silence_penalty, decision_blocks, .. } = state.genesis.params;
        let has_voted = |validator: &String| {
            let own = challenge.votes.iter().find(|vote| vote.validator == *validator);
            own.is_some_and(|vote| vote.finding != Finding::Unavailable)
        };
        for validator in stakes.keys().filter(|validator| !has_voted(validator)) {
            nodes::slash(state, validator, silence_penalty, events);
        }
        let mut extended = challenge.clone();
        extended.votes.retain(|vote| vote.finding != Finding::Unavailable);
        extended.stage_ends = state.stage_end(id, decision_blocks.max(1));
        state.challenges.insert(id, extended);
    }
}

impl State {
    /// Returns the value of the [clock](super::ChainHead::clock) at which a stage of the challenge with the ID `id` ends
    /// that begins now. Without other open challenges, it lasts `blocks` blocks. Each of them extends it by a tenth,
    /// because a verifier may have to recompute the gradients of all of them first.
    fn stage_end(&self, id: u64, blocks: u64) -> u64 {
        let others = self.challenges.len() - usize::from(self.challenges.contains_key(&id));
        let extension = (blocks / QUEUE_SHARE).saturating_mul(others as u64);
        self.head().clock.saturating_add(blocks).saturating_add(extension)
    }
}

impl SampledVerifier {
    fn new(verifier: &str, seats: u64) -> Self {
        Self { verifier: verifier.to_owned(), seats, committed: None, finding: None, leaf: String::new() }
    }
}

impl Challenge {
    /// Returns the verifiers and voters that found a mismatch, except those that have lost a dispute about this
    /// finding.
    pub(super) fn accusers(&self) -> BTreeSet<&String> {
        let sampled = self
            .first_recomputation
            .iter()
            .chain(&self.sampled)
            .filter(|sampled| sampled.finding == Some(Finding::Mismatch));
        let votes = self.votes.iter().filter(|vote| vote.finding == Finding::Mismatch).map(|vote| &vote.validator);
        let lost = |accuser: &&String| self.lost_disputes.iter().any(|(loser, _)| loser == *accuser);
        sampled.map(|sampled| &sampled.verifier).chain(votes).filter(|accuser| !lost(accuser)).collect()
    }
}
