//! A proposer aggregates a completed round: it adds up the accepted gradients and takes an optimizer step. It commits
//! to the resulting adapter and reveals it later.

use super::{Aggregator, Chain, ContentStore, RoleError, hex};
use crate::{
    client::{AggregationInput, AggregationJob, ClientError},
    dispute::{judge::Hash, prover::AdapterLayout},
    protocol::{Commitment, ProtocolError, Task, merkle_root},
    store::{Cid, Codec},
    tx::{Message, MsgCommitAggregation, MsgRevealAggregation, code},
};
use sha2::{Digest, Sha256};

/// A proposer. It keeps the last aggregate that it computed, so that it can reveal what it has committed to.
pub struct Proposer<A = AdapterLayout> {
    aggregator: A,
    salt: [u8; 32],
    computed: Option<ComputedAggregate>,
}

/// The values that describe the aggregate of a round. The proposer's messages contain them.
#[derive(Clone)]
struct ComputedAggregate {
    round: u64,
    /// IDs and commitments (in hexadecimal) of the gradients that the aggregate sums.
    gradients: Vec<(u64, String)>,
    /// CID of the adapter after the optimizer step.
    adapter: Cid,
    /// Merkle root over the buffers into which the next adapter is packed.
    layout_root: Hash,
}

impl<A: Aggregator> Proposer<A> {
    /// Creates a proposer. `aggregator` computes the aggregates; it is usually the layout that describes how the job's
    /// adapter is packed into buffers. `salt` prevents others from guessing what the proposer has committed to, so it
    /// must be secret and random.
    pub fn new(aggregator: A, salt: [u8; 32]) -> Self {
        Self { aggregator, salt, computed: None }
    }

    /// Sends what is due for the completed round, if anything: the commitment to its aggregate, or the reveal. Returns
    /// the CID of the next adapter if this call computed it, and `None` otherwise.
    pub async fn work<C: Chain + ContentStore>(&mut self, client: &C) -> Result<Option<Cid>, RoleError> {
        let Some(job) = client.aggregation_job().await?.filter(|job| !job.revealed) else { return Ok(None) };
        let known = self.computed.take().filter(|computed| computed.is_of(&job));
        let (computed, fresh) = match known {
            Some(computed) => (computed, None),
            None => {
                let computed = self.compute(client, &job).await?;
                let adapter = computed.adapter;
                (computed, Some(adapter))
            }
        };
        let message = self.message(client, &job, &computed).await?;
        self.computed = Some(computed);
        match client.send(message).await {
            // the ledger refuses the message if another proposer's aggregate has closed the round, or if no block has
            // followed the one that contains the commitment
            Ok(_) | Err(ClientError::Failed { code: code::REJECTED | code::NOT_FOUND, .. }) => Ok(fresh),
            Err(error) => Err(error.into()),
        }
    }

    /// Computes the next adapter and stores it on the node. If a gradient cannot be fetched or does not match its
    /// commitment, the method returns an error or leaves the gradient out of the sum. It leaves the gradient out only
    /// if the job permits this and the proposer has not committed to an aggregate yet.
    async fn compute<C: ContentStore>(&self, client: &C, job: &AggregationJob) -> Result<ComputedAggregate, RoleError> {
        let (mut total, mut any_task, mut gradients) = (None, None, Vec::new());
        for AggregationInput { id, task, artifact, gradient_hash } in
            job.gradients.iter().filter(|input| job.includes(input))
        {
            let task = Task::decode(&client.block(Codec::DagCbor, task).await?)?;
            let gradient = self.gradient(client, &task, artifact, gradient_hash).await;
            let task = any_task.insert(task);
            match gradient {
                Ok(gradient) => self.aggregator.add(&mut total, task, &gradient)?,
                // a source that is busy, or answers nothing, must not hold up the round any longer than a missing block
                Err(_) if job.may_leave_out && job.commitment_id.is_none() => continue,
                Err(error) => return Err(error),
            }
            gradients.push((*id, gradient_hash.clone()));
        }
        let blocks = client.adapter(&job.adapter).await?;
        let (dag, layout_root) = self.aggregator.step(total, any_task.as_ref(), &job.adapter, &blocks)?;
        client.store(&dag).await?;
        Ok(ComputedAggregate { round: job.round, gradients, adapter: dag.root, layout_root })
    }

    /// Fetches the gradient of a task. `claimed` is the miner's commitment to the gradient, in hexadecimal. Returns an
    /// error if the fetched gradient does not match this commitment.
    async fn gradient<C: ContentStore>(
        &self,
        client: &C,
        task: &Task,
        artifact: &Cid,
        claimed: &str,
    ) -> Result<A::Gradient, RoleError> {
        let blocks = client.artifact(artifact).await?;
        let (gradient, commitment) = self.aggregator.read(task, artifact, &blocks)?;
        match commitment.to_string() == claimed {
            true => Ok(gradient),
            false => Err(ProtocolError::OtherGradient.into()),
        }
    }

    /// Returns the proposer's next message. Before the commitment, the message commits to the aggregate; after it, the
    /// message reveals the aggregate.
    async fn message<C: Chain>(
        &self,
        client: &C,
        job: &AggregationJob,
        computed: &ComputedAggregate,
    ) -> Result<Message, RoleError> {
        let ComputedAggregate { round, gradients, adapter, layout_root } = computed;
        let proposer = client.address().to_owned();
        let ids: Vec<u64> = gradients.iter().map(|(id, _)| *id).collect();
        let commitments = gradients.iter().filter_map(|(_, hash)| Some(Commitment::from_hex(hash)?.0));
        let salt = Sha256::new().chain_update(self.salt).chain_update(round.to_le_bytes()).finalize();
        let reveal = MsgRevealAggregation {
            proposer: proposer.clone(),
            commitment_id: job.commitment_id.unwrap_or_default(),
            adapter: adapter.to_string(),
            layout_root: hex(&layout_root.0),
            merkle_root: hex(&merkle_root(&commitments.collect::<Vec<_>>())),
            gradient_ids: ids.clone(),
            training_round_id: *round,
            model_version: client.job().await?.model,
            salt: salt.to_vec(),
        };
        Ok(match job.commitment_id {
            Some(_) => Message::RevealAggregation(Box::new(reveal)),
            None => Message::CommitAggregation(MsgCommitAggregation {
                proposer,
                commitment_hash: hex(&reveal.commitment()),
                training_round_id: *round,
                gradient_ids: ids,
            }),
        })
    }
}

impl ComputedAggregate {
    /// Returns whether the proposer can still use this aggregate for `job`: it must be of the same round and contain
    /// the gradients that `job` requires. The gradients of the round can change after the aggregate was computed: a
    /// dispute may have removed one of them, and another may have been accepted in its place.
    fn is_of(&self, job: &AggregationJob) -> bool {
        let known = |(id, _): &(u64, String)| job.gradients.iter().any(|input| input.id == *id && job.includes(input));
        let all = job.gradients.iter().filter(|input| job.includes(input)).count();
        let may_leave_out = job.may_leave_out && job.commitment_id.is_none();
        self.round == job.round && self.gradients.iter().all(known) && (may_leave_out || self.gradients.len() == all)
    }
}

impl AggregationJob {
    /// Returns whether a gradient belongs to the aggregate. Before the proposer's commitment, all gradients of the
    /// round belong to it; after the commitment, only those that the commitment covers.
    fn includes(&self, input: &AggregationInput) -> bool {
        self.commitment_id.is_none() || self.committed.contains(&input.id)
    }
}
