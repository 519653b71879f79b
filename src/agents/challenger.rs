//! A challenger recomputes the gradients that can be disputed. It opens disputes about wrong ones, defends correct ones
//! in disputes that others opened, and makes the moves that these disputes require of it.

use super::{Chain, ContentStore, DisputeProver, ModelReplay, Recompute, ReplayTask, RoleError};
use crate::{
    client::{ClaimedGradient, Classify, ClientError, DisputableGradient, DisputeList, ErrorClass, OpenDispute},
    dispute::judge::{Answer, Role, Side},
    protocol::Task,
    store::Codec,
    tx::{Message, MsgAnswerDispute, MsgAppeal, MsgMoveDispute, MsgOpenDispute, code},
};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// A challenger, which disputes wrong gradients and defends correct ones. Between steps, it keeps what it has computed.
pub struct Challenger<R: ReplayTask = ModelReplay> {
    replay: R,
    /// Whether each recomputed gradient is correct, by the ID of the gradient.
    verdicts: BTreeMap<u64, bool>,
    /// The prover of each disputed gradient, by the ID of the gradient. Provers produce the moves in a dispute. A
    /// gradient is absent until its task has been run again.
    provers: BTreeMap<u64, R::Prover>,
    /// IDs of the gradients that are ignored because work on them failed with an error that is not retryable.
    skipped: BTreeSet<u64>,
    /// IDs of the gradients that were in dispute at the last step. A gradient appears once for each of its disputes.
    disputed: Vec<u64>,
    /// Hashes of the messages that the ledger has refused since the list of open disputes last changed.
    refused: BTreeSet<[u8; 32]>,
}

/// What a challenger has done in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The challenger recomputed the gradient with this ID. The second value is true if the gradient is correct.
    Recomputed(u64, bool),
    /// The challenger opened a dispute about a gradient. The value is the ID of the gradient.
    Disputed(u64),
    /// The challenger appealed against the verifiers' finding that the gradient with this ID is wrong.
    Appealed(u64),
    /// The challenger defended a gradient with an answer in the dispute with this ID.
    Answered(u64),
    /// The challenger made a move in the dispute with this ID.
    Moved(u64),
}

impl<R: ReplayTask> Challenger<R> {
    /// Creates a challenger that runs the tasks of disputed gradients with `replay`.
    pub fn new(replay: R) -> Self {
        let (verdicts, provers) = (BTreeMap::new(), BTreeMap::new());
        let (skipped, disputed, refused) = (BTreeSet::new(), Vec::new(), BTreeSet::new());
        Self { replay, verdicts, provers, skipped, disputed, refused }
    }

    /// Takes the next action, if one is due, and returns it. `worker`, which recomputes gradients, must use the
    /// challenger's model. If work on a gradient fails with an error that is not retryable, the challenger ignores that
    /// gradient from then on.
    pub async fn work<C: Chain + ContentStore>(
        &mut self,
        client: &C,
        worker: &mut impl Recompute,
    ) -> Result<Option<Action>, RoleError> {
        let list = client.disputes().await?;
        self.forget_settled(&list);
        let open: Vec<u64> = list.disputes.iter().filter(|open| open.challenger == client.address()).map(id).collect();
        for dispute in &list.disputes {
            let done = self.take_part(client, dispute, worker).await;
            if let Some(done) = self.skip_on_error(id(dispute), done)? {
                return Ok(Some(done));
            }
        }
        for disputable in &list.gradients {
            let number = disputable.gradient.stored_gradient_id;
            let done = self.examine(client, disputable, open.contains(&number), worker).await;
            if let Some(done) = self.skip_on_error(number, done)? {
                return Ok(Some(done));
            }
        }
        Ok(None)
    }

    /// Recomputes the gradient of an open dispute if this challenger has not done so yet. Otherwise, sends the next
    /// move or answer, if one is due.
    async fn take_part<C: Chain + ContentStore>(
        &mut self,
        client: &C,
        dispute: &OpenDispute,
        worker: &mut impl Recompute,
    ) -> Result<Option<Action>, RoleError> {
        if self.skipped.contains(&id(dispute)) {
            return Ok(None);
        }
        let Some(is_correct) = self.verdicts.get(&id(dispute)).copied() else {
            return self.recompute(client, &dispute.gradient, worker).await.map(Some);
        };
        match self.next_move(client, dispute, is_correct).await? {
            Some((message, action)) => self.send(client, message, action).await,
            None => Ok(None),
        }
    }

    /// Recomputes a gradient if this challenger has not done so yet. Otherwise, opens a dispute if the gradient is
    /// wrong, or appeals if it is correct but verifiers found it wrong.
    async fn examine<C: Chain + ContentStore>(
        &mut self,
        client: &C,
        disputable: &DisputableGradient,
        is_disputed: bool,
        worker: &mut impl Recompute,
    ) -> Result<Option<Action>, RoleError> {
        let claimed = &disputable.gradient;
        let id = claimed.stored_gradient_id;
        if self.skipped.contains(&id) {
            return Ok(None);
        }
        match (self.verdicts.get(&id), disputable.appealable) {
            (None, _) => self.recompute(client, claimed, worker).await.map(Some),
            (Some(false), _) if disputable.disputable && !is_disputed => {
                let (challenger, [chunk, manifest]) =
                    (client.address().to_owned(), subject_blocks(client, claimed).await?);
                let message = MsgOpenDispute { challenger, stored_gradient_id: id, chunk, manifest };
                self.send(client, Message::OpenDispute(message.into()), Action::Disputed(id)).await
            }
            (Some(true), Some(challenge_id)) => {
                let (sender, [chunk, manifest]) = (client.address().to_owned(), subject_blocks(client, claimed).await?);
                let message = MsgAppeal { sender, challenge_id, chunk, manifest };
                self.send(client, Message::Appeal(message.into()), Action::Appealed(id)).await
            }
            _ => Ok(None),
        }
    }

    /// Returns the result `done` unchanged. If it is an error that is not retryable, the gradient with the ID `id` is
    /// ignored from now on.
    fn skip_on_error(&mut self, id: u64, done: Result<Option<Action>, RoleError>) -> Result<Option<Action>, RoleError> {
        if done.as_ref().is_err_and(|error| error.class() != ErrorClass::Retryable) {
            self.skipped.insert(id);
        }
        done
    }

    /// Returns the next move or answer that this challenger must send in a dispute, if any. If the gradient is wrong,
    /// only the challenger that opened the dispute moves. If it is correct, any challenger can defend it.
    async fn next_move<C: Chain + ContentStore>(
        &mut self,
        client: &C,
        dispute: &OpenDispute,
        is_correct: bool,
    ) -> Result<Option<(Message, Action)>, RoleError> {
        let (own, dispute_id) = (client.address().to_owned(), dispute.dispute_id);
        if !is_correct && dispute.challenger != own {
            return Ok(None);
        }
        let prover = self.prover(client, &dispute.gradient).await?;
        let mut answered = false;
        for (number, given) in dispute.answers.iter().enumerate() {
            let game = given.game()?;
            answered |= given.sender == own;
            let is_own_turn = match game.turn() {
                Side::Miner => is_correct && Some(game.trace()) == prover.answer().map(|answer| answer.trace),
                Side::Challenger => !is_correct,
            };
            if game.winner().is_some() || !is_own_turn {
                continue;
            }
            let Some(step) = prover.next(&game).await? else { continue };
            if step.role() == Role::Answerer && given.sender != own {
                continue;
            }
            let message = MsgMoveDispute { sender: own, dispute_id, answer: number as u64, step: step.encode() };
            return Ok(Some((Message::MoveDispute(message), Action::Moved(dispute_id))));
        }
        let answer = prover.answer().filter(|_| is_correct && !answered && dispute.answerable);
        Ok(answer.map(|answer: Answer| {
            let message = MsgAnswerDispute { sender: own, dispute_id, answer: answer.encode() };
            (Message::AnswerDispute(message), Action::Answered(dispute_id))
        }))
    }

    /// Recomputes a gradient and records whether the submission is correct, that is, whether its commitment is the
    /// commitment to the recomputed gradient. The blocks of the submitted artifact are not compared, because disputes
    /// do not decide about them.
    async fn recompute<C: Chain + ContentStore>(
        &mut self,
        client: &C,
        claimed: &ClaimedGradient,
        worker: &mut impl Recompute,
    ) -> Result<Action, RoleError> {
        let task = task(client, claimed).await?;
        let inputs = client.task_inputs(&task).await?;
        let computed = worker.recompute(&task, &[0; 32], &inputs).await?;
        let is_correct = computed.commitment.to_string() == claimed.gradient_hash;
        self.verdicts.insert(claimed.stored_gradient_id, is_correct);
        Ok(Action::Recomputed(claimed.stored_gradient_id, is_correct))
    }

    /// Returns the prover for a gradient's task. The first call for a gradient runs the task again.
    async fn prover<C: Chain + ContentStore>(
        &mut self,
        client: &C,
        claimed: &ClaimedGradient,
    ) -> Result<&mut R::Prover, RoleError> {
        let id = claimed.stored_gradient_id;
        if !self.provers.contains_key(&id) {
            let task = task(client, claimed).await?;
            let inputs = client.task_inputs(&task).await?;
            self.provers.insert(id, self.replay.prover(&task, &inputs).await?);
        }
        Ok(self.provers.entry(id).or_insert_with(|| unreachable!("the prover was inserted above")))
    }

    /// Sends a message, unless the ledger has refused the same message before.
    async fn send<C: Chain + ContentStore>(
        &mut self,
        client: &C,
        message: Message,
        action: Action,
    ) -> Result<Option<Action>, RoleError> {
        let any = message.to_any();
        let hash = Sha256::new().chain_update(any.type_url).chain_update(any.value).finalize().into();
        if self.refused.contains(&hash) {
            return Ok(None);
        }
        match client.send(message).await {
            Ok(_) => Ok(Some(action)),
            // another challenger was faster, or the deadline has passed
            Err(ClientError::Failed { code: code::REJECTED | code::NOT_FOUND, .. }) => {
                self.refused.insert(hash);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Removes the data about gradients that are in no dispute and can no longer be disputed or appealed. A prover is
    /// removed as soon as its gradient is in no dispute.
    fn forget_settled(&mut self, list: &DisputeList) {
        let disputed: Vec<u64> = list.disputes.iter().map(id).collect();
        let disputable = list.gradients.iter().map(|disputable| disputable.gradient.stored_gradient_id);
        let known: Vec<u64> = disputable.chain(disputed.iter().copied()).collect();
        self.verdicts.retain(|id, _| known.contains(id));
        self.provers.retain(|id, _| disputed.contains(id));
        self.skipped.retain(|id| known.contains(id));
        if self.disputed != disputed {
            self.disputed = disputed;
            self.refused.clear();
        }
    }
}

async fn task<C: Chain + ContentStore>(client: &C, claimed: &ClaimedGradient) -> Result<Task, RoleError> {
    Ok(Task::decode(&client.block(Codec::DagCbor, &claimed.task).await?)?)
}

/// Returns two blocks from which the ledger derives the facts on which both parties of a dispute agree: the chunk, and
/// the root block of the artifact.
async fn subject_blocks<C: Chain + ContentStore>(
    client: &C,
    claimed: &ClaimedGradient,
) -> Result<[Vec<u8>; 2], RoleError> {
    let chunk = task(client, claimed).await?.chunk;
    let manifest = client.block(Codec::DagCbor, &claimed.ipfs_hash).await?;
    Ok([client.block(Codec::Raw, &chunk).await?, manifest])
}

/// Returns the ID of the gradient that the dispute is about.
fn id(dispute: &OpenDispute) -> u64 {
    dispute.gradient.stored_gradient_id
}
