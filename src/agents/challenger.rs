//! A challenger recomputes what may be doubted: it disputes what is wrong, answers for what is right, and makes every move
//! of its games.

use super::RoleError;
use crate::{
    client::{Blocks, Claimed, Client, ClientError, Docket, ErrorClass, Host, OpenDispute, Watched},
    compute::Backend,
    dispute::{
        judge::{Answer, Role, Side},
        prover::{Prover, Replay, TaskInputs},
    },
    model::{transformer::Targets, weights::Model},
    protocol::{Commitment, Task},
    store::Codec,
    training::worker::Worker,
    tx::{Message, MsgAnswerDispute, MsgAppeal, MsgMoveDispute, MsgOpenDispute, code},
};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// Who doubts, and answers for those who are right.
pub struct Challenger {
    model: Model,
    targets: Targets,
    backend: Backend,
    /// Whether the gradients that it recomputed are right, by number.
    verdicts: BTreeMap<u64, bool>,
    /// The tasks of open disputes that it played, by the gradient's number.
    parties: BTreeMap<u64, Prover>,
    /// Gradients of which something could not be done.
    passed: BTreeSet<u64>,
    /// The gradients that were in dispute at the last look, a number for each dispute.
    disputed: Vec<u64>,
    /// Hashes of what the ledger refused since these were in dispute.
    refused: BTreeSet<[u8; 32]>,
}

/// What a challenger did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It recomputed a gradient, and whether that is right.
    Recomputed(u64, bool),
    /// It opened a dispute about a gradient.
    Disputed(u64),
    /// It appealed against what verifiers found of a gradient.
    Appealed(u64),
    /// It answered in a dispute.
    Answered(u64),
    /// It made a move in a dispute.
    Moved(u64),
}

impl Challenger {
    /// Plays on a backend, when it comes to that.
    pub fn new(model: Model, targets: Targets, backend: Backend) -> Self {
        let (verdicts, parties) = (BTreeMap::new(), BTreeMap::new());
        let (passed, disputed, refused) = (BTreeSet::new(), Vec::new(), BTreeSet::new());
        Self { model, targets, backend, verdicts, parties, passed, disputed, refused }
    }

    /// Does the next thing that is to be done, if there is one; a worker of the same model recomputes. What can not be done
    /// is an error once, and passed over then.
    pub async fn work<H: Host>(
        &mut self,
        client: &Client<H>,
        worker: &mut Worker,
    ) -> Result<Option<Action>, RoleError> {
        let docket = client.docket().await?;
        self.forget(&docket);
        let open: Vec<u64> =
            docket.disputes.iter().filter(|open| open.challenger == client.address()).map(id).collect();
        for dispute in &docket.disputes {
            let done = self.attend(client, dispute, worker).await;
            if let Some(done) = self.passing(id(dispute), done)? {
                return Ok(Some(done));
            }
        }
        for watched in &docket.gradients {
            let number = watched.gradient.stored_gradient_id;
            let done = self.look(client, watched, open.contains(&number), worker).await;
            if let Some(done) = self.passing(number, done)? {
                return Ok(Some(done));
            }
        }
        Ok(None)
    }

    /// Takes part in an open dispute.
    async fn attend<H: Host>(
        &mut self,
        client: &Client<H>,
        dispute: &OpenDispute,
        worker: &mut Worker,
    ) -> Result<Option<Action>, RoleError> {
        if self.passed.contains(&id(dispute)) {
            return Ok(None);
        }
        let Some(right) = self.verdicts.get(&id(dispute)).copied() else {
            return self.recompute(client, &dispute.gradient, worker).await.map(Some);
        };
        match self.turn(client, dispute, right).await? {
            Some((message, deed)) => self.send(client, message, deed).await,
            None => Ok(None),
        }
    }

    /// Looks at a gradient that may be doubted, or whose verifiers' words may.
    async fn look<H: Host>(
        &mut self,
        client: &Client<H>,
        watched: &Watched,
        disputed: bool,
        worker: &mut Worker,
    ) -> Result<Option<Action>, RoleError> {
        let claimed = &watched.gradient;
        let id = claimed.stored_gradient_id;
        if self.passed.contains(&id) {
            return Ok(None);
        }
        match (self.verdicts.get(&id), watched.appealable) {
            (None, _) => self.recompute(client, claimed, worker).await.map(Some),
            (Some(false), _) if watched.disputable && !disputed => {
                let (challenger, [chunk, manifest]) = (client.address().to_owned(), shown(client, claimed).await?);
                let message = MsgOpenDispute { challenger, stored_gradient_id: id, chunk, manifest };
                self.send(client, Message::OpenDispute(message.into()), Action::Disputed(id)).await
            }
            (Some(true), Some(challenge_id)) => {
                let (sender, [chunk, manifest]) = (client.address().to_owned(), shown(client, claimed).await?);
                let message = MsgAppeal { sender, challenge_id, chunk, manifest };
                self.send(client, Message::Appeal(message.into()), Action::Appealed(id)).await
            }
            _ => Ok(None),
        }
    }

    /// A gradient of which something can not be done is passed over.
    fn passing(&mut self, id: u64, done: Result<Option<Action>, RoleError>) -> Result<Option<Action>, RoleError> {
        if done.as_ref().is_err_and(|error| error.class() != ErrorClass::Retryable) {
            self.passed.insert(id);
        }
        done
    }

    /// What this party has to say in a dispute about a gradient that is right, or not.
    async fn turn<H: Host>(
        &mut self,
        client: &Client<H>,
        dispute: &OpenDispute,
        right: bool,
    ) -> Result<Option<(Message, Action)>, RoleError> {
        let (own, dispute_id) = (client.address().to_owned(), dispute.dispute_id);
        if !right && dispute.challenger != own {
            return Ok(None);
        }
        let party = self.party(client, &dispute.gradient).await?;
        let mut answered = false;
        for (number, given) in dispute.answers.iter().enumerate() {
            let game = given.game()?;
            answered |= given.sender == own;
            let sequences = match game.turn() {
                Side::Miner => right && Some(game.trace()) == party.answer().map(|answer| answer.trace),
                Side::Challenger => !right,
            };
            if game.winner().is_some() || !sequences {
                continue;
            }
            let Some(step) = party.next(&game).await? else { continue };
            if step.role() == Role::Answerer && given.sender != own {
                continue;
            }
            let message = MsgMoveDispute { sender: own, dispute_id, answer: number as u64, step: step.encode() };
            return Ok(Some((Message::MoveDispute(message), Action::Moved(dispute_id))));
        }
        let answer = party.answer().filter(|_| right && !answered && dispute.answerable);
        Ok(answer.map(|answer: Answer| {
            let message = MsgAnswerDispute { sender: own, dispute_id, answer: answer.encode() };
            (Message::AnswerDispute(message), Action::Answered(dispute_id))
        }))
    }

    /// Whether a gradient is that of its task: both its commitment and its artifact follow from it.
    async fn recompute<H: Host>(
        &mut self,
        client: &Client<H>,
        claimed: &Claimed,
        worker: &mut Worker,
    ) -> Result<Action, RoleError> {
        let task = task(client, claimed).await?;
        let inputs = Blocks::of_task(client.host(), &task).await?;
        let artifact = worker.audit(&task, &|cid| inputs.get(cid)).await?;
        let commitment = Commitment::new(&task, &artifact.gradient_root()).to_string();
        let right = artifact.dag()?.root == claimed.ipfs_hash && commitment == claimed.gradient_hash;
        self.verdicts.insert(claimed.stored_gradient_id, right);
        Ok(Action::Recomputed(claimed.stored_gradient_id, right))
    }

    /// The task of a gradient, played.
    async fn party<H: Host>(&mut self, client: &Client<H>, claimed: &Claimed) -> Result<&mut Prover, RoleError> {
        let id = claimed.stored_gradient_id;
        if !self.parties.contains_key(&id) {
            let task = task(client, claimed).await?;
            let blocks = Blocks::of_task(client.host(), &task).await?;
            let material = TaskInputs::fetch(&task, self.model.config.vocab as u32, &|cid| blocks.get(cid))?;
            let replay = Replay::new(&self.model, &self.targets, &material, &self.backend).await?;
            self.parties.insert(id, Prover::new(replay).await?);
        }
        Ok(self.parties.entry(id).or_insert_with(|| unreachable!("it was put there")))
    }

    /// Says something, but nothing again that was refused.
    async fn send<H: Host>(
        &mut self,
        client: &Client<H>,
        message: Message,
        deed: Action,
    ) -> Result<Option<Action>, RoleError> {
        let any = message.to_any();
        let name = Sha256::new().chain_update(any.type_url).chain_update(any.value).finalize().into();
        if self.refused.contains(&name) {
            return Ok(None);
        }
        match client.send(message).await {
            Ok(_) => Ok(Some(deed)),
            // another was faster, or time was up
            Err(ClientError::Failed { code: code::REJECTED | code::NOT_FOUND, .. }) => {
                self.refused.insert(name);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Lets go of what nobody can doubt any more.
    fn forget(&mut self, docket: &Docket) {
        let disputed: Vec<u64> = docket.disputes.iter().map(id).collect();
        let watched = docket.gradients.iter().map(|watched| watched.gradient.stored_gradient_id);
        let known: Vec<u64> = watched.chain(disputed.iter().copied()).collect();
        self.verdicts.retain(|id, _| known.contains(id));
        self.parties.retain(|id, _| disputed.contains(id));
        self.passed.retain(|id| known.contains(id));
        if self.disputed != disputed {
            self.disputed = disputed;
            self.refused.clear();
        }
    }
}

async fn task<H: Host>(client: &Client<H>, claimed: &Claimed) -> Result<Task, RoleError> {
    Ok(Task::decode(&client.block(Codec::DagCbor, &claimed.task).await?)?)
}

/// What shows what a dispute is about: the chunk, and the artifact's manifest.
async fn shown<H: Host>(client: &Client<H>, claimed: &Claimed) -> Result<[Vec<u8>; 2], RoleError> {
    let chunk = task(client, claimed).await?.chunk;
    let manifest = client.block(Codec::DagCbor, &claimed.ipfs_hash).await?;
    Ok([client.block(Codec::Raw, &chunk).await?, manifest])
}

/// The gradient that a dispute is about.
fn id(dispute: &OpenDispute) -> u64 {
    dispute.gradient.stored_gradient_id
}
