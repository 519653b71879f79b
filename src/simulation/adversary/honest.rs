//! The honest parties of a simulation: operators and miners. The operators run the same code as operators on a real
//! network, and each of them sends one transaction at a time. The miners imitate the real miner: they claim a task,
//! compute the gradient, submit it, and wait until it is accepted or rejected.

use super::{
    gradient::{TraceProver, leaf},
    world::{Served, Shared, TX_BYTES, operator},
};
use crate::{
    agents::{
        Aggregator, Chain, Challenger, ContentStore, Operator, Proposer, Recompute, RecomputedGradient, ReplayTask,
        RoleError, Verifier,
    },
    client::{
        AggregationInput, AggregationJob, Blocks, ClientError, DisputeList, FetchError, JobInfo, VerificationDuty,
        VerifierDuties,
    },
    dispute::judge::Hash,
    ledger::{ChallengeStage, Ledger, global_seed, shard},
    protocol::{CHUNK_TOKENS, Commitment, ProtocolError, Task},
    store::{Block, Cid, Codec, Dag, StoreError},
    tx::{Message, MsgClaimTask, MsgSubmitGradient},
};
use sha2::{Digest, Sha256};
use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
};

/// An honest party: an account with access to the network.
pub(super) struct Party {
    world: Shared,
    address: String,
    /// The number of an honest operator. The party can fetch the artifacts that this operator can fetch.
    number: usize,
}

/// Supplies the results that an honest operator would compute on a real network, such as recomputed gradients. In a
/// simulation, they are available immediately.
#[derive(Clone)]
struct Computation(Shared);

impl Chain for Party {
    fn address(&self) -> &str {
        &self.address
    }

    async fn job(&self) -> Result<JobInfo, ClientError> {
        Ok(JobInfo::of(&self.world.borrow().ledger, 0))
    }

    async fn duties(&self) -> Result<VerifierDuties, ClientError> {
        let world = self.world.borrow();
        let assignments = world.ledger.assignments(&self.address);
        let duty = |found: crate::ledger::Assignment| VerificationDuty {
            challenge_id: found.challenge,
            stage: stage(found.stage).to_owned(),
            done: found.done,
            blocks_left: found.blocks_left,
            selector: found.selector,
            task: world.submitted[&found.id].task,
            stored_gradient_id: found.id,
            ipfs_hash: found.submission.artifact,
            gradient_hash: found.submission.commitment.to_string(),
            committed: found.committed.map(|committed| data_encoding::HEXLOWER.encode(&committed)),
        };
        Ok(VerifierDuties {
            challenges: assignments.into_iter().map(duty).collect(),
            beacon: world.ledger.beacon_duty(&self.address),
        })
    }

    async fn aggregation_job(&self) -> Result<Option<AggregationJob>, ClientError> {
        let world = self.world.borrow();
        Ok(world.ledger.aggregation(&self.address).map(|found| AggregationJob {
            round: found.round,
            adapter: found.adapter,
            gradients: found
                .gradients
                .into_iter()
                .map(|(id, submission)| AggregationInput {
                    id,
                    task: world.submitted[&id].task,
                    artifact: submission.artifact,
                    gradient_hash: submission.commitment.to_string(),
                })
                .collect(),
            may_leave_out: found.may_leave_out,
            commitment_id: found.own.as_ref().map(|(id, _)| *id),
            committed: found.own.as_ref().map_or(Vec::new(), |(_, proposal)| proposal.ids.clone()),
            revealed: found.own.is_some_and(|(_, proposal)| proposal.adapter.is_some()),
        }))
    }

    async fn disputes(&self) -> Result<DisputeList, ClientError> {
        Ok(self.world.borrow_mut().disputes())
    }

    async fn send(&self, message: Message) -> Result<(), ClientError> {
        let bytes = match &message {
            Message::OpenDispute(_) | Message::Appeal(_) => 4 * CHUNK_TOKENS + TX_BYTES,
            _ => TX_BYTES,
        };
        let ticket = self.world.borrow_mut().send(&self.address, vec![message], bytes, false)?;
        let outcome = poll_fn(|_| self.world.borrow_mut().outcome(ticket).map_or(Poll::Pending, Poll::Ready)).await;
        match outcome.code {
            0 => Ok(()),
            code => Err(ClientError::Failed { hash: outcome.hash, code, log: outcome.log }),
        }
    }
}

fn stage(stage: ChallengeStage) -> &'static str {
    match stage {
        ChallengeStage::Commit => "commit",
        ChallengeStage::Reveal => "reveal",
        ChallengeStage::Draw(_) => "draw",
        ChallengeStage::Panel => "panel",
        ChallengeStage::Appeal => "appeal",
        ChallengeStage::Contested => "contested",
    }
}

impl ContentStore for Party {
    async fn block(&self, _codec: Codec, cid: &Cid) -> Result<Vec<u8>, ClientError> {
        let world = self.world.borrow();
        if let Some(manifest) = world.gradients.manifest(cid) {
            let is_served = world.served.get(cid).is_some_and(|served| served.manifest);
            return if is_served || world.can_fetch(self.number, cid) {
                Ok(manifest)
            } else {
                Err(world.absence(cid, cid))
            };
        }
        world.gradients.block(cid).ok_or_else(|| StoreError::Missing(*cid).into())
    }

    async fn task_inputs(&self, task: &Task) -> Result<Blocks, FetchError> {
        self.adapter(&task.adapter).await
    }

    async fn adapter(&self, adapter: &Cid) -> Result<Blocks, FetchError> {
        match self.world.borrow().adapters.contains(adapter) {
            true => Ok(Blocks::default()),
            false => Err(ClientError::from(StoreError::Missing(*adapter)).into()),
        }
    }

    async fn artifact(&self, artifact: &Cid) -> Result<Blocks, FetchError> {
        let mut world = self.world.borrow_mut();
        match world.can_fetch(self.number, artifact) {
            true => {
                world.pass_on(artifact);
                Ok(Blocks::default())
            }
            false => Err(world.absence(artifact, artifact).into()),
        }
    }

    async fn store(&self, dag: &Dag) -> Result<(), ClientError> {
        let mut world = self.world.borrow_mut();
        match world.gradients.manifest(&dag.root) {
            Some(_) => drop(world.served.insert(dag.root, Served::ALL)),
            None => drop(world.adapters.insert(dag.root)),
        }
        Ok(())
    }

    fn fail_over(&self) {}
}

impl Recompute for Computation {
    async fn recompute(
        &mut self,
        task: &Task,
        selector: &[u8; 32],
        _: &Blocks,
    ) -> Result<RecomputedGradient, RoleError> {
        let gradients = self.0.borrow_mut().gradients.of(task);
        let artifact = Dag { root: gradients.right.root, blocks: Vec::new() };
        Ok(RecomputedGradient { commitment: gradients.right.commitment, artifact, leaf: Some(leaf(task, selector)) })
    }
}

impl Aggregator for Computation {
    type Gradient = Cid;
    type Sum = Vec<Cid>;

    fn read(&self, task: &Task, artifact: &Cid, _: &Blocks) -> Result<(Cid, Commitment), ProtocolError> {
        let gradients = self.0.borrow_mut().gradients.of(task);
        let version = [&gradients.right, &gradients.wrong].into_iter().find(|version| version.root == *artifact);
        version.map(|version| (version.root, version.commitment)).ok_or(ProtocolError::OtherGradient)
    }

    fn add(&self, sum: &mut Option<Vec<Cid>>, _: &Task, gradient: &Cid) -> Result<(), ProtocolError> {
        sum.get_or_insert_default().push(*gradient);
        Ok(())
    }

    fn step(
        &self,
        sum: Option<Vec<Cid>>,
        _: Option<&Task>,
        adapter: &Cid,
        _: &Blocks,
    ) -> Result<(Dag, Hash), RoleError> {
        let block = next_adapter(adapter, &sum.unwrap_or_default())?;
        let root = block.cid();
        Ok((Dag { root, blocks: vec![block] }, Hash([0; 32])))
    }
}

/// Returns a block that serves as the next adapter in a simulation. Instead of the result of an optimizer step, it
/// contains a hash of the CIDs of the current adapter and of the gradients.
pub(super) fn next_adapter(adapter: &Cid, gradients: &[Cid]) -> Result<Block, StoreError> {
    let mut bytes = Sha256::new().chain_update("adapter").chain_update(adapter.to_bytes());
    gradients.iter().for_each(|gradient| bytes.update(gradient.to_bytes()));
    Block::new(Codec::DagCbor, bytes.finalize().to_vec())
}

impl ReplayTask for Computation {
    type Prover = TraceProver;

    async fn prover(&self, task: &Task, _: &Blocks) -> Result<TraceProver, RoleError> {
        Ok(TraceProver::new(&self.0.borrow_mut().gradients.of(task).right))
    }
}

/// The actions of an honest party, as a future that is polled once for each block.
pub(super) type Life = Pin<Box<dyn Future<Output = ()>>>;

/// Waits until another block has been applied to the ledger.
async fn next_block(world: &Shared) {
    let height = world.borrow().height();
    poll_fn(|_| if world.borrow().height() > height { Poll::Ready(()) } else { Poll::Pending }).await;
}

/// Returns a future that runs the honest operator with this number. An operator that has nothing to do, or whose last
/// action failed, tries again in the next block. If a block has been applied during the action, it tries again in this
/// block, because the operator of a real node asks again after a fraction of a second.
pub(super) fn run_operator(world: &Shared, number: usize) -> Life {
    let world = world.clone();
    Box::pin(async move {
        let computation = Computation(world.clone());
        // the secret numbers for the beacon are derived from the salt, so it has to differ from simulation to
        // simulation
        let salt = Sha256::digest(world.borrow_mut().random.next().to_le_bytes()).into();
        let party = Party { world: world.clone(), address: operator(number), number };
        let mut operator = Operator::from_roles(
            party,
            Verifier::new(computation.clone(), salt),
            Some(Proposer::new(computation.clone(), salt)),
            Some(Challenger::new(computation)),
        );
        loop {
            let height = world.borrow().height();
            let is_done = matches!(operator.work().await, Ok(Some(_)));
            if !is_done && world.borrow().height() == height {
                next_block(&world).await;
            }
        }
    })
}

/// Returns a future that runs an honest miner. The miner makes no progress while the adapter of its task cannot be
/// fetched.
pub(super) fn run_miner(world: &Shared, address: String) -> Life {
    let world = world.clone();
    Box::pin(async move {
        let party = Party { world: world.clone(), address: address.clone(), number: 0 };
        loop {
            if mine(&party).await.is_none() {
                next_block(&world).await;
            }
        }
    })
}

/// Claims one task, submits its gradient, and waits until the gradient is accepted or rejected. Returns `None` if no
/// task can be claimed, if the adapter cannot be fetched, or if the ledger refuses a transaction.
async fn mine(party: &Party) -> Option<()> {
    let position = {
        let world = party.world.borrow();
        let now = world.ledger.state().head().time + 1;
        let later = world.ledger.at(now);
        let free: Vec<u64> = later.state().available().take(16).collect();
        let choice = party.address.bytes().map(usize::from).sum::<usize>() + world.height() as usize;
        *free.get(choice % free.len().max(1))?
    };
    let chunk_id = position;
    let miner = party.address.clone();
    if !party.world.borrow().ledger.state().holds_claim(&miner) {
        party.send(Message::ClaimTask(MsgClaimTask { miner, pool_id: 0, chunk_id })).await.ok()?;
    }
    let held = party.world.borrow().ledger.held(&party.address).ok()??;
    party.task_inputs(&held.task).await.ok()?;
    let message = {
        let mut world = party.world.borrow_mut();
        let right = world.gradients.of(&held.task);
        world.served.insert(right.right.root, Served::ALL);
        submission(&world.ledger, &party.address, right.right.root, right.right.commitment)
    };
    let hash = message.gradient_hash.clone();
    party.send(Message::SubmitGradient(Box::new(message))).await.ok()?;
    let id =
        party.world.borrow().submitted.iter().rev().find(|(_, own)| own.gradient_hash == hash).map(|(id, _)| *id)?;
    while !party.world.borrow().submitted[&id].decided {
        next_block(&party.world).await;
    }
    Some(())
}

/// Returns the message by which `miner` submits a gradient in the current round.
pub(super) fn submission(ledger: &Ledger, miner: &str, artifact: Cid, commitment: Commitment) -> MsgSubmitGradient {
    let (state, head) = (ledger.state(), ledger.state().head());
    let began = state.round_of(head.round).map_or([0; 32], |round| round.hash);
    MsgSubmitGradient {
        miner: miner.to_owned(),
        ipfs_hash: artifact.to_string(),
        model_version: ledger.genesis().job.model.to_string(),
        training_round_id: head.round,
        shard_id: shard(miner, &began, head.round),
        gradient_hash: commitment.to_string(),
        nonce: head.height + 1,
        global_seed: global_seed(&began, head.round),
        token_count: CHUNK_TOKENS as u64,
        ..Default::default()
    }
}
