//! Mining: a task from its claim to its reward, wherever the program runs.

mod blocks;

use crate::chain::{
    Message, MsgClaimTask, MsgSetPayout, MsgSubmitGradient, MsgSubmitGradientResponse,
    client::{Client, ClientError, HeldTask, Host, Sent},
    code,
};
use crate::ipfs::{Stores, Unstored};
use crate::store::{Cid, Codec, Dag, StoreError};
use crate::training::step::nats;
use crate::work::{Artifact, CHUNK_TOKENS, Receipt, Task, WorkError, Worker, WorkerError};
pub use blocks::Blocks;

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
    /// It was recomputed, and does not count.
    #[error("gradient {id} is rejected: {finding}")]
    Rejected {
        /// Its number.
        id: u64,
        /// What a recomputation found.
        finding: String,
    },
    /// A store that did not keep the artifact. Nothing was submitted.
    #[error("not submitted: {0}")]
    Unstored(#[from] Unstored),
    /// A manifest that names more than anybody needs.
    #[error("the blocks under {root} exceed the limit of {} bytes", blocks::MAX_DAG_BYTES)]
    TooLarge {
        /// The manifest.
        root: Box<Cid>,
    },
}

impl MiningError {
    /// As [`ClientError::is_temporary`]. A store may always come to its senses: the artifact waits for it. A block that is not
    /// there may be on its way from one node to another.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Client(ClientError::Store(StoreError::Missing(_))) | Self::Unstored(_) => true,
            Self::Client(error) => error.is_temporary(),
            _ => false,
        }
    }
}

/// Where a task stands.
#[derive(Clone, Debug)]
pub enum Stage {
    /// It is this miner's, in a round of the node's.
    Claimed(Box<Task>, u64),
    /// It is computed; the receipt is worth keeping.
    Computed(Box<Receipt>),
    /// It was computed before, and saved.
    Found(Box<Receipt>),
    /// Its blocks are with the node, and in every other store.
    Stored,
    /// It is submitted under this number, and others may recompute it.
    Submitted(u64),
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
    /// Of the artifact's blocks.
    pub bytes: u64,
}

/// A worker with a node to work for.
pub struct Miner<H> {
    client: Client<H>,
    stores: Stores<H>,
    worker: Worker,
    payout: String,
    gpu_architecture: String,
    pending: Option<Pending>,
}

/// What is computed, and not yet settled.
struct Pending {
    receipt: Receipt,
    artifact: Artifact,
    held: HeldTask,
}

/// Chunks to choose among, so that miners who ask at once seldom want the same.
const CHOICE: u32 = 64;
/// Longest time between two looks at how a submission stands; the first ones come sooner.
const POLL_MS: u32 = 500;

impl<H: Host> Miner<H> {
    /// Rewards go to the address `payout`: the granter, where the client has one. `gpu_architecture` is told to the node
    /// for its statistics.
    pub fn new(client: Client<H>, worker: Worker, payout: String, gpu_architecture: String) -> Self {
        Self { client, stores: Stores::default(), worker, payout, gpu_architecture, pending: None }
    }

    /// The same, that puts every artifact into these stores too before it is submitted.
    pub fn with_stores(self, stores: Stores<H>) -> Self {
        Self { stores, ..self }
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
    ///
    /// What was computed and could not be submitted is submitted next time, also by another process with the same host.
    pub async fn work(&mut self, mut tell: impl FnMut(Stage)) -> Result<Option<Accepted>, MiningError> {
        if self.pending.is_none() {
            let Some((task, held)) = self.claim().await? else { return Ok(None) };
            tell(Stage::Claimed(Box::new(task.clone()), held.round));
            let saved = self.saved(&task).await;
            let found = saved.is_some();
            let artifact = match saved {
                Some(artifact) => artifact,
                None => self.compute(&task).await?,
            };
            let receipt = Receipt::new(task, &artifact, Vec::new())?;
            let stage = if found { Stage::Found } else { Stage::Computed };
            tell(stage(Box::new(receipt.clone())));
            self.pending = Some(Pending { receipt, artifact, held });
        }
        let Some(Pending { receipt, artifact, held }) = &self.pending else { return Ok(None) };
        let dag = artifact.dag()?;
        self.stores.put(&dag).await?;
        self.client.put(&dag).await?;
        let bytes = dag.bytes() as u64;
        tell(Stage::Stored);
        let loss = artifact.as_gradient().map(|gradient| nats(gradient.loss, gradient.tokens as usize));
        let sent = match self.submit(receipt, held, loss).await {
            Err(error @ ClientError::Failed { .. }) if !error.is_temporary() => {
                self.pending = None;
                return Err(error.into());
            }
            sent => sent?,
        };
        let id = sent.answer::<MsgSubmitGradientResponse>().map_or(0, |answer| answer.stored_gradient_id);
        tell(Stage::Submitted(id));
        if let Err(error) = self.settled(id).await {
            if !error.is_temporary() {
                self.pending = None;
            }
            return Err(error);
        }
        let balance = self.client.balance(&self.payout).await?;
        let (receipt, gradient_root, round) = (receipt.clone(), artifact.gradient_root(), held.round);
        self.pending = None;
        Ok(Some(Accepted { receipt, gradient_root, transaction: sent.hash, round, loss, balance, bytes }))
    }

    /// Waits until a submission counts.
    async fn settled(&self, id: u64) -> Result<(), MiningError> {
        let mut pause = POLL_MS / 16;
        loop {
            let stored = self.client.stored(id).await?;
            match stored.status.as_str() {
                "accepted" => return Ok(()),
                "rejected" => {
                    return Err(MiningError::Rejected { id, finding: stored.finding.unwrap_or_default() });
                }
                _ => self.client.host().sleep(pause).await,
            }
            pause = (pause * 2).min(POLL_MS);
        }
    }

    async fn compute(&mut self, task: &Task) -> Result<Artifact, MiningError> {
        let blocks = Blocks::of_task(self.client.host(), task).await?;
        let artifact = self.worker.compute(task, &|cid| blocks.get(cid)).await?;
        self.client.host().save(&artifact.dag()?.to_car()).await;
        Ok(artifact)
    }

    /// The artifact of this task, if it was computed before and kept whole.
    async fn saved(&self, task: &Task) -> Option<Artifact> {
        let dag = Dag::from_car(&self.client.host().saved().await?).ok()?;
        Artifact::fetch(task, &dag.root, &|cid| dag.get(cid)).ok()
    }

    async fn claim(&self) -> Result<Option<(Task, HeldTask)>, MiningError> {
        let held = match self.client.held_task().await? {
            Some(held) => Some(held),
            None => {
                let Some((pool_id, chunks)) = self.client.available(CHOICE).await? else { return Ok(None) };
                let Some(chunk_id) = self.choose(&chunks) else { return Ok(None) };
                let miner = self.client.miner().to_owned();
                match self.client.send(Message::ClaimTask(MsgClaimTask { miner, pool_id, chunk_id })).await {
                    Ok(_) => self.client.held_task().await?,
                    // another was faster
                    Err(ClientError::Failed { code: code::TAKEN, .. }) => None,
                    Err(error) => return Err(error.into()),
                }
            }
        };
        let Some(held) = held else { return Ok(None) };
        let task = Task::decode(&self.client.block(Codec::DagCbor, &held.task).await?)?;
        Ok(Some((task, held)))
    }

    /// Another of the chunks for each address.
    fn choose(&self, chunks: &[u64]) -> Option<u64> {
        let letters = self.client.miner().bytes();
        let number = letters.fold(0u64, |number, letter| number.wrapping_mul(31).wrapping_add(letter.into()));
        let count = u64::try_from(chunks.len()).ok().filter(|count| *count > 0)?;
        chunks.get(usize::try_from(number % count).ok()?).copied()
    }

    async fn submit(&self, receipt: &Receipt, held: &HeldTask, loss: Option<f64>) -> Result<Sent, ClientError> {
        let commitment = receipt.commitment().0;
        let nonce = u64::from_le_bytes(commitment[..8].try_into().expect("8 of 32 bytes")) | 1;
        let message = MsgSubmitGradient {
            miner: self.client.miner().to_owned(),
            ipfs_hash: receipt.artifact().to_string(),
            model_version: receipt.task().job.model.to_string(),
            training_round_id: held.round,
            shard_id: held.shard_id,
            gradient_hash: commitment.iter().map(|byte| format!("{byte:02x}")).collect(),
            gpu_architecture: self.gpu_architecture.clone(),
            nonce,
            global_seed: held.global_seed,
            claimed_loss: loss.map_or(String::new(), |loss| format!("{loss:.6}")),
            token_count: CHUNK_TOKENS as u64,
            ..Default::default()
        };
        self.client.send(Message::SubmitGradient(Box::new(message))).await
    }
}
