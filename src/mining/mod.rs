//! Mining: a task from its claim to its reward, wherever the program runs.

use crate::chain::{
    Message, MsgClaimTask, MsgSetPayout, MsgSubmitGradient,
    client::{Client, ClientError, Host},
    code,
};
use crate::store::{Cid, Codec, StoreError};
use crate::training::step::nats;
use crate::work::{AdapterState, CHUNK_TOKENS, Receipt, Task, WorkError, Worker, WorkerError};
use std::collections::BTreeMap;

/// Why a task was not finished. What was done is not lost: a task that is claimed is found again, and computed to the
/// same bits.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MiningError {
    /// The node.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The backend, or a task that is not this worker's.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// The task is malformed.
    #[error(transparent)]
    Work(#[from] WorkError),
}

impl MiningError {
    /// Whether nobody answered: the same may work later.
    pub fn is_offline(&self) -> bool {
        matches!(self, Self::Client(ClientError::Offline(_)))
    }
}

/// Where a task stands.
#[derive(Clone, Debug)]
pub enum Stage {
    /// It is this miner's.
    Claimed(Box<Task>),
    /// It is computed; the receipt is worth keeping.
    Computed(Box<Receipt>),
    /// Its blocks are with the node.
    Stored,
}

/// A task that was accepted.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// What anyone can verify.
    pub receipt: Receipt,
    /// Root over the matrices, as in the artifact.
    pub gradient_root: [u8; 32],
    /// Hash of the transaction that submitted it.
    pub transaction: String,
    /// The round it counts in.
    pub round: u64,
    /// Mean loss in nats; `None` for a void.
    pub loss: Option<f64>,
    /// Of who is paid, in micro-units.
    pub balance: u64,
}

/// A worker with a node to work for.
pub struct Miner<H> {
    client: Client<H>,
    worker: Worker,
    payout: String,
    gpu_architecture: String,
}

impl<H: Host> Miner<H> {
    /// Rewards go to the address `payout`: the granter, where the client has one. `gpu_architecture` is told to the node
    /// for its statistics.
    pub fn new(client: Client<H>, worker: Worker, payout: String, gpu_architecture: String) -> Self {
        Self { client, worker, payout, gpu_architecture }
    }

    /// The node.
    pub fn client(&self) -> &Client<H> {
        &self.client
    }

    /// Tells the node who is paid, where that is not the miner itself.
    pub async fn register(&self) -> Result<(), ClientError> {
        if self.payout != self.client.miner() {
            let (miner, payout) = (self.client.miner().to_owned(), self.payout.clone());
            self.client.send(Message::SetPayout(MsgSetPayout { miner, payout })).await?;
        }
        Ok(())
    }

    /// Works on the task held, or on a new one; `None` where the round has no chunk left. `tell` hears of each stage.
    pub async fn work(&mut self, mut tell: impl FnMut(Stage)) -> Result<Option<Accepted>, MiningError> {
        let Some((task, round)) = self.claim().await? else { return Ok(None) };
        tell(Stage::Claimed(Box::new(task.clone())));
        let blocks = self.fetch(&task).await?;
        let fetch = |cid: &Cid| blocks.get(cid).cloned().ok_or(StoreError::Missing(*cid));
        let artifact = self.worker.compute(&task, &fetch).await?;
        let receipt = Receipt::new(task, &artifact, Vec::new())?;
        tell(Stage::Computed(Box::new(receipt.clone())));
        self.client.put(&artifact.dag()?).await?;
        tell(Stage::Stored);
        let loss = artifact.as_gradient().map(|gradient| nats(gradient.loss, gradient.tokens as usize));
        let transaction = self.submit(&receipt, round, loss).await?;
        let balance = self.client.balance(&self.payout).await?;
        let gradient_root = artifact.gradient_root();
        Ok(Some(Accepted { receipt, gradient_root, transaction, round, loss, balance }))
    }

    async fn claim(&self) -> Result<Option<(Task, u64)>, MiningError> {
        let held = match self.client.held_task().await? {
            Some(held) => Some(held),
            None => {
                let Some((pool_id, chunk_id)) = self.client.available().await? else { return Ok(None) };
                let miner = self.client.miner().to_owned();
                match self.client.send(Message::ClaimTask(MsgClaimTask { miner, pool_id, chunk_id })).await {
                    Ok(_) => self.client.held_task().await?,
                    // another was faster
                    Err(ClientError::Failed { code: code::TAKEN, .. }) => None,
                    Err(error) => return Err(error.into()),
                }
            }
        };
        let Some((cid, round)) = held else { return Ok(None) };
        let task = Task::decode(&self.client.block(Codec::DagCbor, &cid).await?)?;
        Ok(Some((task, round)))
    }

    /// The chunk, and the adapter with all its leaves.
    async fn fetch(&self, task: &Task) -> Result<BTreeMap<Cid, Vec<u8>>, MiningError> {
        let mut blocks = BTreeMap::new();
        blocks.insert(task.chunk, self.client.block(Codec::Raw, &task.chunk).await?);
        let manifest = self.client.block(Codec::DagCbor, &task.adapter).await?;
        for cid in AdapterState::links(&manifest)? {
            if let std::collections::btree_map::Entry::Vacant(entry) = blocks.entry(cid) {
                entry.insert(self.client.block(Codec::Raw, &cid).await?);
            }
        }
        blocks.insert(task.adapter, manifest);
        Ok(blocks)
    }

    async fn submit(&self, receipt: &Receipt, round: u64, loss: Option<f64>) -> Result<String, ClientError> {
        let commitment = receipt.commitment().0;
        let nonce = u64::from_le_bytes(commitment[..8].try_into().expect("8 of 32 bytes")) | 1;
        let message = MsgSubmitGradient {
            miner: self.client.miner().to_owned(),
            ipfs_hash: receipt.artifact().to_string(),
            model_version: receipt.task().job.model.to_string(),
            training_round_id: round,
            gradient_hash: commitment.iter().map(|byte| format!("{byte:02x}")).collect(),
            gpu_architecture: self.gpu_architecture.clone(),
            nonce,
            claimed_loss: loss.map_or(String::new(), |loss| format!("{loss:.6}")),
            token_count: CHUNK_TOKENS as u64,
            ..Default::default()
        };
        self.client.send(Message::SubmitGradient(Box::new(message))).await
    }
}
