//! A proposer adds up a round's gradients and takes the optimizer's step: it seals the next adapter, then shows it.

use super::{RoleError, hex};
use crate::{
    client::{AggregationInput, AggregationJob, Blocks, Client, ClientError, ErrorClass, FetchError, Host},
    dispute::{judge::Hash, prover::AdapterLayout},
    protocol::{AdapterState, Aggregate, Artifact, Commitment, Task, merkle_root},
    store::{Cid, Codec, StoreError},
    tx::{Message, MsgCommitAggregation, MsgRevealAggregation, code},
};
use sha2::{Digest, Sha256};

/// Who adds up rounds.
pub struct Proposer {
    packing: AdapterLayout,
    salt: [u8; 32],
    computed: Option<Computed>,
}

/// The aggregate that was computed last.
#[derive(Clone)]
struct Computed {
    round: u64,
    /// Numbers and commitments of the gradients in it, hexadecimal.
    gradients: Vec<(u64, String)>,
    /// Root of the next adapter.
    adapter: Cid,
    /// Root of what that is packed as.
    packed: Hash,
}

impl Proposer {
    /// `packing` is the job's; `salt` is secret and random: it keeps what is sealed from being guessed.
    pub fn new(packing: AdapterLayout, salt: [u8; 32]) -> Self {
        Self { packing, salt, computed: None }
    }

    /// Does the next part of a round's aggregate, if one is due; returns the adapter that it computed.
    pub async fn work<H: Host>(&mut self, client: &Client<H>) -> Result<Option<Cid>, RoleError> {
        let Some(sum) = client.sum().await?.filter(|sum| !sum.shown) else { return Ok(None) };
        let known = self.computed.take().filter(|computed| computed.is_of(&sum));
        let (computed, fresh) = match known {
            Some(computed) => (computed, None),
            None => {
                let computed = self.compute(client, &sum).await?;
                let adapter = computed.adapter;
                (computed, Some(adapter))
            }
        };
        let message = self.word(client, &sum, &computed).await?;
        self.computed = Some(computed);
        match client.send(message).await {
            // another's aggregate closed the round meanwhile, or the block is still the one that it was sealed in
            Ok(_) | Err(ClientError::Failed { code: code::REJECTED | code::NOT_FOUND, .. }) => Ok(fresh),
            Err(error) => Err(error.into()),
        }
    }

    /// The next adapter, stored with the node. What can not be had is waited for, and left out then.
    async fn compute<H: Host>(&self, client: &Client<H>, sum: &AggregationJob) -> Result<Computed, RoleError> {
        let (mut total, mut matrices, mut gradients) = (None::<Aggregate>, Vec::new(), Vec::new());
        for AggregationInput { id, task, artifact, gradient_hash } in
            sum.gradients.iter().filter(|summand| sum.adds(summand))
        {
            let task = Task::decode(&client.block(Codec::DagCbor, task).await?)?;
            matrices.clone_from(&task.job.matrices);
            match fetch(client.host(), &task, artifact).await {
                Ok(artifact) => total.get_or_insert_with(|| Aggregate::new(&task.job)).add(&artifact)?,
                Err(error) if error.class() == ErrorClass::Retryable && !absent(&error) => return Err(error),
                Err(_) if sum.waited && sum.commitment_id.is_none() => continue,
                Err(error) => return Err(error),
            }
            gradients.push((*id, gradient_hash.clone()));
        }
        let blocks = Blocks::of_adapter(client.host(), &sum.adapter).await?;
        let state = AdapterState::fetch(&sum.adapter, &|cid| blocks.get(cid))?;
        let next = match total {
            Some(total) => state.after(&total)?,
            None => state,
        };
        let dag = next.dag()?;
        client.put(&dag).await?;
        let packed = self.packing.root(&next.adapter, &matrices)?;
        Ok(Computed { round: sum.round, gradients, adapter: dag.root, packed })
    }

    async fn word<H: Host>(
        &self,
        client: &Client<H>,
        sum: &AggregationJob,
        computed: &Computed,
    ) -> Result<Message, RoleError> {
        let Computed { round, gradients, adapter, packed } = computed;
        let proposer = client.address().to_owned();
        let ids: Vec<u64> = gradients.iter().map(|(id, _)| *id).collect();
        let commitments = gradients.iter().filter_map(|(_, hash)| Some(Commitment::from_hex(hash)?.0));
        let salt = Sha256::new().chain_update(self.salt).chain_update(round.to_le_bytes()).finalize();
        let shown = MsgRevealAggregation {
            proposer: proposer.clone(),
            commitment_id: sum.commitment_id.unwrap_or_default(),
            adapter: adapter.to_string(),
            layout_root: hex(&packed.0),
            merkle_root: hex(&merkle_root(&commitments.collect::<Vec<_>>())),
            gradient_ids: ids.clone(),
            training_round_id: *round,
            model_version: client.job().await?.model,
            salt: salt.to_vec(),
        };
        Ok(match sum.commitment_id {
            Some(_) => Message::RevealAggregation(Box::new(shown)),
            None => Message::CommitAggregation(MsgCommitAggregation {
                proposer,
                commitment_hash: hex(&shown.commitment()),
                training_round_id: *round,
                gradient_ids: ids,
            }),
        })
    }
}

impl Computed {
    /// Whether it is of this sum: a round may have lost a gradient, and got another, in a dispute.
    fn is_of(&self, sum: &AggregationJob) -> bool {
        let known = |(id, _): &(u64, String)| sum.gradients.iter().any(|own| own.id == *id && sum.adds(own));
        let all = sum.gradients.iter().filter(|summand| sum.adds(summand)).count();
        let left_out = sum.waited && sum.commitment_id.is_none();
        self.round == sum.round && self.gradients.iter().all(known) && (left_out || self.gradients.len() == all)
    }
}

impl AggregationJob {
    /// Whether a gradient may be in what is added up: in what was committed to, where something was.
    fn adds(&self, summand: &AggregationInput) -> bool {
        self.commitment_id.is_none() || self.committed.contains(&summand.id)
    }
}

async fn fetch<H: Host>(host: &H, task: &Task, artifact: &Cid) -> Result<Artifact, RoleError> {
    let blocks = Blocks::of_artifact(host, artifact).await?;
    Ok(Artifact::fetch(task, artifact, &|cid| blocks.get(cid))?)
}

/// Whether a block is nowhere to be had.
fn absent(error: &RoleError) -> bool {
    match error {
        RoleError::Blocks(error) => matches!(error, FetchError::Client(ClientError::Store(StoreError::Missing(_)))),
        _ => false,
    }
}
