//! Disputes: whoever doubts a gradient plays the game of [`crate::dispute`] against whoever answers for it, and the ledger
//! judges its last leaf. A gradient that falls in one of its disputes is rejected; one that stands in all of them counts.
//!
//! What a dispute is about nobody is asked: it follows from the genesis, the chunk and the artifact's manifest, whose bytes
//! are shown and checked against their names, and the round's adapter.

use super::{
    ChallengeStage, DisputeCase, Event, LedgerParams, Refusal, State, Submission, SubmissionStatus, coins, submissions,
    transactions::Context, verdicts,
};
use crate::{
    dispute::judge::{Answer, Dispute, DisputeError, MAX_ANSWERS, Move, Role, Subject, TaskOutcome},
    protocol::{Artifact, CHUNK_TOKENS, Commitment, Task},
    store::Codec,
    tx::{
        MsgAnswerDispute, MsgAnswerDisputeResponse, MsgAppeal, MsgMoveDispute, MsgOpenDispute, MsgOpenDisputeResponse,
        code,
    },
};
use prost::Message;

/// Most disputes that are open about one gradient at a time, appeals aside.
const MAX_DISPUTES: usize = 8;

impl From<DisputeError> for Refusal {
    fn from(error: DisputeError) -> Self {
        Self::new(code::REJECTED, error.to_string())
    }
}

fn refused<T>(log: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(code::REJECTED, log))
}

/// Doubts a gradient that counts and may still fall, or one that verifiers disagree on.
pub(super) fn open(state: &mut State, message: &MsgOpenDispute, context: &mut Context) -> Result<Vec<u8>, Refusal> {
    let MsgOpenDispute { challenger, stored_gradient_id: id, chunk, manifest } = message;
    let submission = state.submissions.get(id).cloned();
    let submission = submission.ok_or_else(|| Refusal::new(code::NOT_FOUND, format!("gradient {id} is not there")))?;
    if !state.is_disputable(&submission) {
        return refused(format!("gradient {id} is not one that may be disputed, or not any more"));
    }
    let LedgerParams { dispute_bond, disputes_per_challenger, .. } = state.genesis.params;
    let theirs = state.disputes.values().filter(bonded).filter(|contest| contest.challenger == *challenger).count();
    if theirs >= disputes_per_challenger as usize || !state.has_room_for_dispute(*id) {
        return refused(format!(
            "at most {disputes_per_challenger} disputes of one challenger and {MAX_DISPUTES} about one gradient"
        ));
    }
    let subject = subject(state, &submission, chunk)?;
    let Some(outcome) = claimed(state, &submission, manifest)? else {
        verdicts::fall(state, *id, challenger, &mut context.events);
        return Ok(MsgOpenDisputeResponse { dispute_ids: Vec::new() }.encode_to_vec());
    };
    coins::take(state, challenger, dispute_bond, "the bond of a dispute")?;
    let dispute = add(state, *id, challenger, Some(dispute_bond), (subject, outcome), &mut context.events);
    suspend(state, *id);
    Ok(MsgOpenDisputeResponse { dispute_ids: vec![dispute] }.encode_to_vec())
}

/// Has every verifier of a challenge who found a mismatch, or voted so, dispute the gradient; its stake is its bond.
pub(super) fn appeal(state: &mut State, message: &MsgAppeal, context: &mut Context) -> Result<Vec<u8>, Refusal> {
    let MsgAppeal { challenge_id, chunk, manifest, .. } = message;
    let Some(challenge) = state.challenges.get(challenge_id).cloned() else {
        return Err(Refusal::new(code::NOT_FOUND, format!("challenge {challenge_id} is not open")));
    };
    let id = challenge.submission;
    let submission = state.submissions.get(&id).cloned();
    let submission = submission.ok_or_else(|| Refusal::new(code::NOT_FOUND, format!("gradient {id} is not there")))?;
    if state.appealable(id, &submission).is_none() {
        return refused(format!("in challenge {challenge_id} there is no word to appeal against, or somebody did"));
    }
    let accusers = challenge.accusers();
    let subject = subject(state, &submission, chunk)?;
    let Some(outcome) = claimed(state, &submission, manifest)? else {
        return refused("the artifact is not what was committed to");
    };
    let mut add = |who: &&String| add(state, id, who, None, (subject.clone(), outcome), &mut context.events);
    let dispute_ids = accusers.iter().map(&mut add).collect();
    suspend(state, id);
    Ok(MsgOpenDisputeResponse { dispute_ids }.encode_to_vec())
}

/// Stands for a gradient with a trace. Of the answers that one dispute takes, the last is kept for the miner.
pub(super) fn answer(state: &mut State, message: &MsgAnswerDispute) -> Result<Vec<u8>, Refusal> {
    let MsgAnswerDispute { sender, dispute_id, answer } = message;
    let (height, bond) = (state.head().height, state.genesis.params.answer_bond);
    let mut contest = contest(state, *dispute_id)?;
    let miner = state.submissions.get(&contest.submission).is_some_and(|submission| submission.miner == *sender);
    if contest.answers.len() + 1 >= MAX_ANSWERS && !miner {
        return refused("the dispute has as many answers as it takes; one more may come from the miner");
    }
    let number = contest.dispute.answer(&Answer::decode(answer)?, height)?;
    coins::take(state, sender, bond, "the bond of an answer")?;
    contest.answers.push((sender.clone(), bond));
    state.disputes.insert(*dispute_id, contest);
    Ok(MsgAnswerDisputeResponse { answer: number as u64 }.encode_to_vec())
}

/// Makes a move in the game over an answer.
pub(super) fn step(state: &mut State, message: &MsgMoveDispute) -> Result<(), Refusal> {
    let MsgMoveDispute { sender, dispute_id, answer, step } = message;
    let height = state.head().height;
    let mut contest = contest(state, *dispute_id)?;
    let number = usize::try_from(*answer).unwrap_or(usize::MAX);
    let step = Move::decode(step)?;
    let role = match step.role() {
        Role::Anybody => Some(sender),
        Role::Challenger => Some(&contest.challenger),
        Role::Answerer => contest.answers.get(number).map(|(answerer, _)| answerer),
    };
    if role != Some(sender) {
        return Err(Refusal::new(code::UNAUTHORIZED, format!("{} is not {sender}'s to make", step.name())));
    }
    contest.dispute.apply(number, &step, height)?;
    state.disputes.insert(*dispute_id, contest);
    Ok(())
}

fn contest(state: &State, id: u64) -> Result<DisputeCase, Refusal> {
    let contest = state.disputes.get(&id).cloned();
    contest.ok_or_else(|| Refusal::new(code::NOT_FOUND, format!("dispute {id} is not open")))
}

/// Whether it was opened by somebody's bond, not by an appeal.
fn bonded(contest: &&DisputeCase) -> bool {
    contest.bond.is_some()
}

/// The open disputes about a gradient.
pub(super) fn open_about(state: &State, submission: u64) -> impl Iterator<Item = &DisputeCase> {
    state.disputes.values().filter(move |contest| contest.submission == submission)
}

/// What a dispute over a submission is about.
fn subject(state: &State, submission: &Submission, chunk: &[u8]) -> Result<Subject, Refusal> {
    if Codec::Raw.cid(chunk) != state.genesis.chunk(submission.position) || chunk.len() != 4 * CHUNK_TOKENS {
        return refused("the chunk shown is not that of the gradient's task");
    }
    let Some(round) = state.rounds.get(&submission.round) else {
        return refused(format!("round {} is forgotten", submission.round));
    };
    let (words, _) = chunk.as_chunks();
    let tokens: Vec<u32> = words.iter().map(|word| u32::from_le_bytes(*word)).collect();
    let key = task(state, submission)?.key();
    Ok(state.genesis.ground.subject(&tokens, &key, &state.genesis.job.matrices, round.layout_root))
}

/// What a submission's artifact claims; `None` where it is none that the submission's commitment is of.
fn claimed(state: &State, submission: &Submission, manifest: &[u8]) -> Result<Option<TaskOutcome>, Refusal> {
    if Codec::DagCbor.cid(manifest) != submission.artifact {
        return refused("the manifest shown is not that of the gradient's artifact");
    }
    let Ok(claim) = Artifact::claim(manifest) else { return Ok(None) };
    let task = task(state, submission)?;
    let same = claim.task == task.cid() && Commitment::new(&task, &claim.gradient_root) == submission.commitment;
    Ok(TaskOutcome::of_claim(&claim).filter(|_| same))
}

fn task(state: &State, submission: &Submission) -> Result<Task, Refusal> {
    state.task_of(submission).map_err(|error| Refusal::new(code::REJECTED, error.to_string()))
}

fn add(
    state: &mut State,
    submission: u64,
    challenger: &str,
    bond: Option<u64>,
    (subject, outcome): (Subject, TaskOutcome),
    events: &mut Vec<Event>,
) -> u64 {
    let patience = state.genesis.params.move_blocks;
    let head = state.head_mut();
    head.disputes += 1;
    let (id, height) = (head.disputes, head.height);
    let dispute = Dispute::new(subject, outcome, height, patience);
    let challenger = challenger.to_owned();
    events.push(Event::Disputed { dispute: id, id: submission, challenger: challenger.clone() });
    state.disputes.insert(id, DisputeCase { submission, challenger, bond, answers: Vec::new(), dispute });
    id
}

/// A gradient in dispute is in no round: its position is free, so that nobody waits for the game.
fn suspend(state: &mut State, id: u64) {
    submissions::leave(state, id);
    let Some(submission) = state.submissions.get_mut(&id) else { return };
    match submission.status {
        SubmissionStatus::Accepted => submission.status = SubmissionStatus::Disputed,
        SubmissionStatus::Challenged(challenge) => {
            if let Some(challenge) = state.challenges.get_mut(&challenge) {
                challenge.stage = ChallengeStage::Contested;
            }
        }
        _ => {}
    }
}

impl State {
    /// Whether somebody may doubt a submission: it counts and its time is not over, or verifiers disagree on it.
    pub(super) fn is_disputable(&self, submission: &Submission) -> bool {
        match submission.status {
            SubmissionStatus::Accepted | SubmissionStatus::Disputed => {
                let last = submission.accepted.unwrap_or_default().saturating_add(self.genesis.params.challenge_blocks);
                self.genesis.params.challenge_blocks > 0 && self.head().height <= last
            }
            SubmissionStatus::Challenged(challenge) => self.challenges.get(&challenge).is_some_and(|challenge| {
                matches!(challenge.stage, ChallengeStage::Panel | ChallengeStage::Contested)
                    && self.head().height <= challenge.until
            }),
            _ => false,
        }
    }

    /// Whether one more dispute about a submission may be open.
    pub(super) fn has_room_for_dispute(&self, id: u64) -> bool {
        open_about(self, id).filter(bonded).count() < MAX_DISPUTES
    }

    /// The challenge in which verifiers found a mismatch in a submission that nobody appealed against yet.
    pub(super) fn appealable(&self, id: u64, submission: &Submission) -> Option<u64> {
        let SubmissionStatus::Challenged(number) = submission.status else { return None };
        let challenge = self.challenges.get(&number)?;
        let words =
            matches!(challenge.stage, ChallengeStage::Appeal | ChallengeStage::Panel | ChallengeStage::Contested);
        let doubted = open_about(self, id).any(|contest| contest.bond.is_none());
        let open = words && self.head().height <= challenge.until && !doubted;
        (open && !challenge.accusers().is_empty()).then_some(number)
    }

    /// Whether a submission may still be rejected, with what that costs.
    pub(super) fn is_unsettled(&self, submission: &Submission) -> bool {
        let open = matches!(
            submission.status,
            SubmissionStatus::Pending | SubmissionStatus::Challenged(_) | SubmissionStatus::Disputed
        );
        open || self.is_disputable(submission)
    }

    /// Whether a dispute about a submission is open.
    pub(super) fn is_disputed(&self, submission: u64) -> bool {
        open_about(self, submission).next().is_some()
    }
}
