//! A proposer adds up a round's gradients and takes the optimizer's step: it seals the next adapter, then shows it.

use super::{RoleError, hex};
use crate::{
    chain::{
        Message, MsgCommitAggregation, MsgRevealAggregation,
        client::{Client, ClientError, Host, Sum, Summand},
        code,
    },
    dispute::{Hash, Packing},
    mining::Blocks,
    store::{Cid, Codec},
    work::{AdapterState, Aggregate, Artifact, Task},
};
use sha2::{Digest, Sha256};

/// Who adds up rounds.
pub struct Proposer {
    packing: Packing,
    salt: [u8; 32],
    /// Of the adapter that was computed last: round, root, and the root of what it is packed as.
    computed: Option<(u64, Cid, Hash)>,
}

impl Proposer {
    /// `packing` is the job's; `salt` is secret and random: it keeps what is sealed from being guessed.
    pub fn new(packing: Packing, salt: [u8; 32]) -> Self {
        Self { packing, salt, computed: None }
    }

    /// Does the next part of a round's aggregate, if one is due; returns the adapter that it computed.
    pub async fn work<H: Host>(&mut self, client: &Client<H>) -> Result<Option<Cid>, RoleError> {
        let Some(sum) = client.sum().await?.filter(|sum| !sum.shown) else { return Ok(None) };
        let (next, fresh) = match self.computed {
            Some((round, adapter, packed)) if round == sum.round => ((adapter, packed), None),
            _ => {
                let (adapter, packed) = self.compute(client, &sum).await?;
                self.computed = Some((sum.round, adapter, packed));
                ((adapter, packed), Some(adapter))
            }
        };
        let message = self.word(client, &sum, next).await?;
        match client.send(message).await {
            // another's aggregate closed the round meanwhile, or the block is still the one that it was sealed in
            Ok(_) | Err(ClientError::Failed { code: code::REJECTED | code::NOT_FOUND, .. }) => Ok(fresh),
            Err(error) => Err(error.into()),
        }
    }

    /// The next adapter, stored with the node, and the root of what it is packed as.
    async fn compute<H: Host>(&self, client: &Client<H>, sum: &Sum) -> Result<(Cid, Hash), RoleError> {
        let host = client.host();
        let mut total: Option<Aggregate> = None;
        let mut matrices = Vec::new();
        for Summand { task, artifact, .. } in &sum.gradients {
            let task = Task::decode(&client.block(Codec::DagCbor, task).await?)?;
            let blocks = Blocks::of_artifact(host, artifact).await?;
            let artifact = Artifact::fetch(&task, artifact, &|cid| blocks.get(cid))?;
            matrices.clone_from(&task.job.matrices);
            total.get_or_insert_with(|| Aggregate::new(&task.job)).add(&artifact)?;
        }
        let blocks = Blocks::of_adapter(host, &sum.adapter).await?;
        let state = AdapterState::fetch(&sum.adapter, &|cid| blocks.get(cid))?;
        let next = match total {
            Some(total) => state.after(&total)?,
            None => state,
        };
        let dag = next.dag()?;
        client.put(&dag).await?;
        Ok((dag.root, self.packing.root(&next.adapter, &matrices)?))
    }

    async fn word<H: Host>(
        &self,
        client: &Client<H>,
        sum: &Sum,
        (adapter, packed): (Cid, Hash),
    ) -> Result<Message, RoleError> {
        let (proposer, round) = (client.address().to_owned(), sum.round);
        let ids: Vec<u64> = sum.gradients.iter().map(|summand| summand.id).collect();
        let salt = Sha256::new().chain_update(self.salt).chain_update(round.to_le_bytes()).finalize();
        let shown = MsgRevealAggregation {
            proposer: proposer.clone(),
            commitment_id: sum.commitment_id.unwrap_or_default(),
            aggregated_gradient_ipfs_hash: adapter.to_string(),
            merkle_root: sum.merkle_root.clone(),
            gradient_ids: ids.clone(),
            training_round_id: round,
            model_version: client.job().await?.model,
            salt: format!("{}:{}", hex(&packed.0), hex(&salt)),
        };
        Ok(match sum.commitment_id {
            Some(_) => Message::RevealAggregation(Box::new(shown)),
            None => Message::CommitAggregation(MsgCommitAggregation {
                proposer,
                commitment_hash: hex(&shown.commitment()),
                training_round_id: round,
                gradient_ids: ids,
            }),
        })
    }
}
