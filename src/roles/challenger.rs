//! A challenger recomputes what may be doubted: it disputes what is wrong, answers for what is right, and makes every move
//! of its games.

use super::RoleError;
use crate::{
    backend::Backend,
    chain::{
        Message, MsgAnswerDispute, MsgAppeal, MsgMoveDispute, MsgOpenDispute,
        client::{Claimed, Client, ClientError, Docket, Host, OpenDispute},
        code,
    },
    dispute::{Answer, Maker, Material, Party, Replay, Side},
    mining::Blocks,
    model::{transformer::Targets, weights::Model},
    store::Codec,
    work::{Commitment, Task, Worker},
};
use std::collections::BTreeMap;

/// Whoever doubts and answers by the key of a client.
pub struct Challenger<H> {
    client: Client<H>,
    model: Model,
    targets: Targets,
    backend: Backend,
    /// Whether the gradients that it recomputed are right, by number.
    verdicts: BTreeMap<u64, bool>,
    /// The tasks of open disputes that it played, by the gradient's number.
    parties: BTreeMap<u64, Party>,
}

/// What a challenger did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
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

impl<H: Host> Challenger<H> {
    /// Plays on a backend, when it comes to that.
    pub fn new(client: Client<H>, model: Model, targets: Targets, backend: Backend) -> Self {
        Self { client, model, targets, backend, verdicts: BTreeMap::new(), parties: BTreeMap::new() }
    }

    /// Does the next thing that is to be done, if there is one; a worker of the same model recomputes.
    pub async fn work(&mut self, worker: &mut Worker) -> Result<Option<Deed>, RoleError> {
        let docket = self.client.docket().await?;
        self.forget(&docket);
        for dispute in &docket.disputes {
            let right = match self.verdicts.get(&dispute.gradient.stored_gradient_id) {
                Some(right) => *right,
                None => return self.recompute(&dispute.gradient, worker).await.map(Some),
            };
            if let Some((message, deed)) = self.turn(dispute, right).await? {
                return self.send(message, deed).await;
            }
        }
        for watched in &docket.gradients {
            let claimed = &watched.gradient;
            let id = claimed.stored_gradient_id;
            let own = |dispute: &&OpenDispute| {
                dispute.gradient.stored_gradient_id == id && dispute.challenger == self.client.address()
            };
            let disputes = watched.disputable && docket.disputes.iter().find(own).is_none();
            match (self.verdicts.get(&id), watched.appealable) {
                (None, _) => return self.recompute(claimed, worker).await.map(Some),
                (Some(false), _) if disputes => {
                    let (challenger, [chunk, manifest]) = (self.address(), self.shown(claimed).await?);
                    let message = MsgOpenDispute { challenger, stored_gradient_id: id, chunk, manifest };
                    return self.send(Message::OpenDispute(message.into()), Deed::Disputed(id)).await;
                }
                (Some(true), Some(challenge_id)) => {
                    let (sender, [chunk, manifest]) = (self.address(), self.shown(claimed).await?);
                    let message = MsgAppeal { sender, challenge_id, chunk, manifest };
                    return self.send(Message::Appeal(message.into()), Deed::Appealed(id)).await;
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// What this party has to say in a dispute about a gradient that is right, or not.
    async fn turn(&mut self, dispute: &OpenDispute, right: bool) -> Result<Option<(Message, Deed)>, RoleError> {
        let (own, dispute_id) = (self.address(), dispute.dispute_id);
        if !right && dispute.challenger != own {
            return Ok(None);
        }
        let party = self.party(&dispute.gradient).await?;
        let mut answered = false;
        for (number, given) in dispute.answers.iter().enumerate() {
            let game = given.game()?;
            answered |= given.sender == own;
            let plays = match game.turn() {
                Side::Miner => right && Some(game.trace()) == party.answer().map(|answer| answer.trace),
                Side::Challenger => !right,
            };
            if game.winner().is_some() || !plays {
                continue;
            }
            let Some(step) = party.next(&game).await? else { continue };
            if step.maker() == Maker::Answerer && given.sender != own {
                continue;
            }
            let message = MsgMoveDispute { sender: own, dispute_id, answer: number as u64, step: step.encode() };
            return Ok(Some((Message::MoveDispute(message), Deed::Moved(dispute_id))));
        }
        let answer = party.answer().filter(|_| right && !answered && dispute.answerable);
        Ok(answer.map(|answer: Answer| {
            let message = MsgAnswerDispute { sender: own, dispute_id, answer: answer.encode() };
            (Message::AnswerDispute(message), Deed::Answered(dispute_id))
        }))
    }

    /// Whether a gradient is that of its task: both its commitment and its artifact follow from it.
    async fn recompute(&mut self, claimed: &Claimed, worker: &mut Worker) -> Result<Deed, RoleError> {
        let task = self.task(claimed).await?;
        let inputs = Blocks::of_task(self.client.host(), &task).await?;
        let artifact = worker.audit(&task, &|cid| inputs.get(cid)).await?;
        let commitment = Commitment::new(&task, &artifact.gradient_root()).to_string();
        let right = artifact.dag()?.root == claimed.ipfs_hash && commitment == claimed.gradient_hash;
        self.verdicts.insert(claimed.stored_gradient_id, right);
        Ok(Deed::Recomputed(claimed.stored_gradient_id, right))
    }

    /// The task of a gradient, played.
    async fn party(&mut self, claimed: &Claimed) -> Result<&mut Party, RoleError> {
        let id = claimed.stored_gradient_id;
        if !self.parties.contains_key(&id) {
            let task = self.task(claimed).await?;
            let blocks = Blocks::of_task(self.client.host(), &task).await?;
            let material = Material::fetch(&task, self.model.config.vocab as u32, &|cid| blocks.get(cid))?;
            let replay = Replay::new(&self.model, &self.targets, &material, &self.backend).await?;
            self.parties.insert(id, Party::new(replay).await?);
        }
        Ok(self.parties.entry(id).or_insert_with(|| unreachable!("it was put there")))
    }

    async fn task(&self, claimed: &Claimed) -> Result<Task, RoleError> {
        Ok(Task::decode(&self.client.block(Codec::DagCbor, &claimed.task).await?)?)
    }

    /// What shows what a dispute is about: the chunk, and the artifact's manifest.
    async fn shown(&self, claimed: &Claimed) -> Result<[Vec<u8>; 2], RoleError> {
        let chunk = self.task(claimed).await?.chunk;
        let manifest = self.client.block(Codec::DagCbor, &claimed.ipfs_hash).await?;
        Ok([self.client.block(Codec::Raw, &chunk).await?, manifest])
    }

    async fn send(&self, message: Message, deed: Deed) -> Result<Option<Deed>, RoleError> {
        match self.client.send(message).await {
            Ok(_) => Ok(Some(deed)),
            // another was faster, or time was up
            Err(ClientError::Failed { code: code::REJECTED | code::NOT_FOUND, .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Lets go of what nobody can doubt any more.
    fn forget(&mut self, docket: &Docket) {
        let disputed: Vec<u64> = docket.disputes.iter().map(|dispute| dispute.gradient.stored_gradient_id).collect();
        let watched = docket.gradients.iter().map(|watched| watched.gradient.stored_gradient_id);
        let known: Vec<u64> = watched.chain(disputed.iter().copied()).collect();
        self.verdicts.retain(|id, _| known.contains(id));
        self.parties.retain(|id, _| disputed.contains(id));
    }

    fn address(&self) -> String {
        self.client.address().to_owned()
    }
}
