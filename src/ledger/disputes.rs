//! Disputes about gradients. Accounts that defend the gradient send answers to a dispute. For each answer, the
//! challenger and the answerer play a game (an exchange of moves; see [`crate::dispute`]), and the ledger judges the
//! last step of the game. A gradient is rejected if one of its disputes is upheld. It is accepted again if all of its
//! disputes are dismissed.
//!
//! The subject of a dispute (the facts on which both parties agree) follows from the genesis, the round's adapter, the
//! bytes of the chunk, and the bytes of the artifact's manifest. The ledger checks these bytes against their CIDs, so
//! it does not have to trust either party.

use super::{
    ChallengeStage, DisputeCase, Event, LedgerParams, State, Submission, SubmissionStatus, coins,
    context::{Context, Refusal},
    submissions, verdicts,
};
use crate::{
    dispute::judge::{Answer, Dispute, MAX_ANSWERS, Move, Role, Subject, TaskOutcome},
    protocol::{Artifact, CHUNK_TOKENS, Commitment, Task},
    store::Codec,
    tx::{
        MsgAnswerDispute, MsgAnswerDisputeResponse, MsgAppeal, MsgMoveDispute, MsgOpenDispute, MsgOpenDisputeResponse,
        code,
    },
};
use prost::Message;

/// The maximum number of disputes about one gradient that may be open at a time, not counting those that an appeal
/// opened.
const MAX_DISPUTES: usize = 8;

fn refused<T>(log: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::rejected(log))
}

/// Opens a dispute about a gradient, and returns the response to the message as protobuf bytes. If the artifact's
/// manifest is invalid, or does not state the task and the gradient of the submission, rejects the gradient immediately
/// and opens no dispute. Fails if the gradient cannot be disputed; see [`State::is_disputable`].
pub(super) fn open(state: &mut State, message: &MsgOpenDispute, context: &mut Context) -> Result<Vec<u8>, Refusal> {
    let MsgOpenDispute { challenger, stored_gradient_id: id, chunk, manifest } = message;
    let submission = submission(state, *id)?;
    if !state.is_disputable(&submission) {
        return refused(format!(
            "gradient {id} cannot be disputed: it has not been accepted, or the time for disputes is over"
        ));
    }
    let LedgerParams { dispute_bond, disputes_per_challenger, .. } = state.genesis.params;
    let theirs = state.disputes.values().filter(is_bonded).filter(|case| case.challenger == *challenger).count();
    if theirs >= disputes_per_challenger as usize || !state.has_room_for_dispute(*id) {
        return refused(format!(
            "at most {disputes_per_challenger} disputes by one challenger and {MAX_DISPUTES} about one gradient may be \
             open"
        ));
    }
    let subject = subject(state, &submission, chunk)?;
    let Some(outcome) = claimed(state, &submission, manifest)? else {
        verdicts::uphold(state, *id, challenger, &mut context.events);
        return Ok(MsgOpenDisputeResponse { dispute_ids: Vec::new() }.encode_to_vec());
    };
    coins::take(state, challenger, dispute_bond, "the bond of a dispute")?;
    let dispute = add(state, *id, challenger, Some(dispute_bond), (subject, outcome), &mut context.events);
    suspend(state, *id);
    Ok(MsgOpenDisputeResponse { dispute_ids: vec![dispute] }.encode_to_vec())
}

/// Executes an appeal: opens one dispute for each verifier or voter that found a mismatch in the challenge (the
/// recomputation of the gradient). Each of these accounts is the challenger of its dispute, and its stake serves as the
/// bond. Returns the response to the message as protobuf bytes.
pub(super) fn appeal(state: &mut State, message: &MsgAppeal, context: &mut Context) -> Result<Vec<u8>, Refusal> {
    let MsgAppeal { challenge_id, chunk, manifest, .. } = message;
    let Some(challenge) = state.challenges.get(challenge_id).cloned() else {
        return Err(Refusal::not_found(format!("challenge {challenge_id} is not open")));
    };
    let id = challenge.submission;
    let submission = submission(state, id)?;
    if state.appealable(id, &submission).is_none() {
        return refused(format!(
            "the finding of challenge {challenge_id} cannot be appealed, or somebody has already appealed"
        ));
    }
    let accusers = challenge.accusers();
    let subject = subject(state, &submission, chunk)?;
    let Some(outcome) = claimed(state, &submission, manifest)? else {
        return refused("the artifact is not the one to which the submission committed");
    };
    let mut add = |verifier: &&String| add(state, id, verifier, None, (subject.clone(), outcome), &mut context.events);
    let dispute_ids = accusers.iter().map(&mut add).collect();
    suspend(state, id);
    Ok(MsgOpenDisputeResponse { dispute_ids }.encode_to_vec())
}

/// Adds an answer (a statement that defends the gradient) to a dispute. Returns the response to the message as protobuf
/// bytes. A dispute accepts at most [`MAX_ANSWERS`] answers. The last one is reserved for the miner of the gradient.
pub(super) fn answer(state: &mut State, message: &MsgAnswerDispute) -> Result<Vec<u8>, Refusal> {
    let MsgAnswerDispute { sender, dispute_id, answer } = message;
    let (clock, bond) = (state.head().clock, state.genesis.params.answer_bond);
    let mut case = case(state, *dispute_id)?;
    let is_miner = state.submissions.get(&case.submission).is_some_and(|submission| submission.miner == *sender);
    if case.answers.len() + 1 >= MAX_ANSWERS && !is_miner {
        return refused("the dispute accepts no more answers, except one from the miner");
    }
    let number = case.dispute.answer(&Answer::decode(answer)?, clock)?;
    coins::take(state, sender, bond, "the bond of an answer")?;
    case.answers.push((sender.clone(), bond));
    state.disputes.insert(*dispute_id, case);
    Ok(MsgAnswerDisputeResponse { answer: number as u64 }.encode_to_vec())
}

/// Makes a move in one of the games of a dispute. In a game, the challenger of the dispute and the account that gave
/// one of the answers make moves in turn.
pub(super) fn apply_move(state: &mut State, message: &MsgMoveDispute) -> Result<(), Refusal> {
    let MsgMoveDispute { sender, dispute_id, answer, step } = message;
    let clock = state.head().clock;
    let mut case = case(state, *dispute_id)?;
    let number = usize::try_from(*answer).unwrap_or(usize::MAX);
    let step = Move::decode(step)?;
    let mover = match step.role() {
        Role::Anybody => Some(sender),
        Role::Challenger => Some(&case.challenger),
        Role::Answerer => case.answers.get(number).map(|(answerer, _)| answerer),
    };
    if mover != Some(sender) {
        return Err(Refusal::new(
            code::UNAUTHORIZED,
            format!("another party of the dispute must make this move ({}), not {sender}", step.name()),
        ));
    }
    case.dispute.apply(number, &step, clock)?;
    state.disputes.insert(*dispute_id, case);
    Ok(())
}

fn case(state: &State, id: u64) -> Result<DisputeCase, Refusal> {
    state.disputes.get(&id).cloned().ok_or_else(|| Refusal::not_found(format!("dispute {id} is not open")))
}

fn submission(state: &State, id: u64) -> Result<Submission, Refusal> {
    state.submissions.get(&id).cloned().ok_or_else(|| Refusal::not_found(format!("gradient {id} does not exist")))
}

/// Returns whether the challenger of a dispute locked a bond. The result is false if an appeal opened the dispute.
fn is_bonded(case: &&DisputeCase) -> bool {
    case.bond.is_some()
}

/// Returns the subject of a dispute about a submission: the facts on which both parties agree. Fails if `chunk` does
/// not contain the bytes of the submission's chunk.
fn subject(state: &State, submission: &Submission, chunk: &[u8]) -> Result<Subject, Refusal> {
    if Codec::Raw.cid(chunk) != state.genesis.chunk(submission.position) || chunk.len() != 4 * CHUNK_TOKENS {
        return refused("the field chunk does not contain the bytes of the gradient's chunk");
    }
    let Some(round) = state.rounds.get(&submission.round) else {
        return refused(format!(
            "the ledger no longer stores round {}, to which the gradient belongs",
            submission.round
        ));
    };
    let (words, _) = chunk.as_chunks();
    let tokens: Vec<u32> = words.iter().map(|word| u32::from_le_bytes(*word)).collect();
    let key = task(state, submission)?.key();
    Ok(state.genesis.dispute_context.subject(&tokens, &key, &state.genesis.job.matrices, round.layout_root))
}

/// Reads the outcome of a task from `manifest`, the manifest of a submission's artifact. Returns `None` if the manifest
/// is invalid, or if it does not state the task and the gradient of the submission. Fails if the bytes `manifest` do
/// not match the artifact's CID.
fn claimed(state: &State, submission: &Submission, manifest: &[u8]) -> Result<Option<TaskOutcome>, Refusal> {
    if Codec::DagCbor.cid(manifest) != submission.artifact {
        return refused("the field manifest does not contain the manifest of the gradient's artifact");
    }
    let Ok(claim) = Artifact::claim(manifest) else { return Ok(None) };
    let task = task(state, submission)?;
    let same = claim.task == task.cid() && Commitment::new(&task, &claim.gradient_root) == submission.commitment;
    Ok(TaskOutcome::from_claim(&claim).filter(|_| same))
}

fn task(state: &State, submission: &Submission) -> Result<Task, Refusal> {
    state.task_of(submission).map_err(|error| Refusal::rejected(error.to_string()))
}

/// Stores a new dispute, and returns its ID.
fn add(
    state: &mut State,
    submission: u64,
    challenger: &str,
    bond: Option<u64>,
    (subject, outcome): (Subject, TaskOutcome),
    events: &mut Vec<Event>,
) -> u64 {
    let move_blocks = state.genesis.params.move_blocks;
    let head = state.head_mut();
    head.disputes += 1;
    let (id, clock) = (head.disputes, head.clock);
    let dispute = Dispute::new(subject, outcome, clock, move_blocks);
    let challenger = challenger.to_owned();
    events.push(Event::Disputed { dispute: id, id: submission, challenger: challenger.clone() });
    state.disputes.insert(id, DisputeCase { submission, challenger, bond, answers: Vec::new(), dispute });
    id
}

/// Removes a gradient from its round because it is disputed. Its chunk slot becomes free, so the round does not have to
/// wait for the end of the dispute.
fn suspend(state: &mut State, id: u64) {
    submissions::leave_round(state, id);
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
    /// Returns whether a submission can be disputed now. This is possible during the `challenge_blocks` blocks after
    /// the submission was accepted. If the sampled verifiers disagree, it is also possible during the validators' vote.
    pub(super) fn is_disputable(&self, submission: &Submission) -> bool {
        match submission.status {
            SubmissionStatus::Accepted | SubmissionStatus::Disputed => {
                let last = submission.accepted.unwrap_or_default().saturating_add(self.genesis.params.challenge_blocks);
                self.genesis.params.challenge_blocks > 0 && self.head().clock <= last
            }
            SubmissionStatus::Challenged(challenge) => self.challenges.get(&challenge).is_some_and(|challenge| {
                matches!(challenge.stage, ChallengeStage::Panel | ChallengeStage::Contested)
                    && self.head().clock <= challenge.stage_ends
            }),
            _ => false,
        }
    }

    /// Returns whether fewer than `MAX_DISPUTES` disputes about the submission with this ID are open, not counting
    /// those that an appeal opened.
    pub(super) fn has_room_for_dispute(&self, id: u64) -> bool {
        self.disputes_about(id).filter(is_bonded).count() < MAX_DISPUTES
    }

    /// Returns the ID of the challenge in which verifiers found the submission to be wrong, if an appeal against this
    /// finding is possible now: the time for it is not over, and nobody has appealed yet. Otherwise returns `None`.
    pub(super) fn appealable(&self, id: u64, submission: &Submission) -> Option<u64> {
        let SubmissionStatus::Challenged(number) = submission.status else { return None };
        let challenge = self.challenges.get(&number)?;
        let has_finding =
            matches!(challenge.stage, ChallengeStage::Appeal | ChallengeStage::Panel | ChallengeStage::Contested);
        let is_appealed = self.disputes_about(id).any(|case| case.bond.is_none());
        let open = has_finding && self.head().clock <= challenge.stage_ends && !is_appealed;
        (open && !challenge.accusers().is_empty()).then_some(number)
    }

    /// Returns whether a submission can still be rejected, by verifiers, by a dispute or by proposers.
    pub(super) fn is_unsettled(&self, submission: &Submission) -> bool {
        use SubmissionStatus::{Accepted, Challenged, Disputed, Pending};
        matches!(submission.status, Pending | Challenged(_) | Accepted | Disputed)
    }
}
