//! Mining: a task from its claim to its reward, wherever the program runs.

mod health;

use crate::{
    client::{
        Blocks, Client, ClientError, ErrorClass, FetchError, HeldTask, Host, Sent, Watch,
        stores::{Stores, Unstored},
    },
    compute::Backend,
    error::Error,
    protocol::{Artifact, CHUNK_TOKENS, Receipt, Task, WorkError},
    store::{Codec, Dag, StoreError},
    training::{
        step::nats,
        worker::{Worker, WorkerError},
    },
    tx::{Message, MsgClaimTask, MsgSetPayout, MsgSubmitGradient, MsgSubmitGradientResponse, MsgWithdraw, code},
};
use health::Health;
use std::cell::OnceCell;

/// Why a task was not finished. What was done is not lost: a task that is claimed is found again, and computed to the
/// same bits.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MiningError {
    /// The node.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Blocks could not be fetched.
    #[error(transparent)]
    Blocks(#[from] FetchError),
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
    /// The claim ran out, or went to another, before the submission came; or the node knows nothing of it any more. What
    /// was computed stays saved: where the same task can be claimed again, it is not computed anew.
    #[error("not counted: {0}")]
    Late(String),
    /// A store that did not keep the artifact. Nothing was submitted.
    #[error("not submitted: {0}")]
    Unstored(#[from] Unstored),
    /// The backend gives wrong answers; what no block had drawn for was taken back.
    #[error("the backend is not fit to mine any more, its work was taken back: {0}")]
    Unfit(#[source] Error),
}

impl MiningError {
    /// As [`ClientError::class`]. A store may always come to its senses: the artifact has_pending for it. A block that is not there
    /// may be on its way from one node to another.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Client(ClientError::Store(StoreError::Missing(_))) | Self::Unstored(_) | Self::Late(_) => {
                ErrorClass::Retryable
            }
            Self::Client(error) => error.class(),
            Self::Blocks(error) => error.class(),
            _ => ErrorClass::Fatal,
        }
    }

    /// Whether the same, or the next task, may work later.
    pub fn is_temporary(&self) -> bool {
        self.class() == ErrorClass::Retryable
    }
}

/// Where a task stands.
#[derive(Clone, Debug)]
pub enum TaskStage {
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
    health: Option<Health>,
    pending: Option<Pending>,
    /// The chunk that was claimed last.
    claimed: Option<u64>,
}

/// What is computed, and not yet settled.
struct Pending {
    receipt: Receipt,
    artifact: Artifact,
    held: HeldTask,
    /// The transaction that submitted it, and its number.
    submitted: OnceCell<(String, u64)>,
}

/// Chunks to choose among, so that miners who ask at once seldom want the same.
const CHOICE: u32 = 64;
/// Longest time between two looks at how a submission stands; the first ones come sooner.
const POLL_MS: u32 = 500;
/// So long a node may not know of a submission.
const UNKNOWN_MS: u32 = 60_000;

impl<H: Host> Miner<H> {
    /// Rewards go to the address `payout`: the granter, where the client has one. `gpu_architecture` is told to the node
    /// for its statistics.
    pub fn new(client: Client<H>, worker: Worker, payout: String, gpu_architecture: String) -> Self {
        let stores = Stores::default();
        Self { client, stores, worker, payout, gpu_architecture, health: None, pending: None, claimed: None }
    }

    /// The same, that asks the worker's backend known answers again: those of one kernel while a submission waits for the
    /// block that draws for it, all after a rejection. Where one is wrong it takes its work back and ends.
    pub fn with_known_answers(self, backend: Backend) -> Self {
        Self { health: Some(Health::new(backend)), ..self }
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
    pub async fn work(&mut self, mut tell: impl FnMut(TaskStage)) -> Result<Option<Accepted>, MiningError> {
        if self.pending.is_none() {
            let Some((task, held)) = self.claim().await? else { return Ok(None) };
            tell(TaskStage::Claimed(Box::new(task.clone()), held.round));
            let saved = self.saved(&task).await;
            let found = saved.is_some();
            let artifact = match saved {
                Some(artifact) => artifact,
                None => self.compute(&task).await?,
            };
            let receipt = Receipt::new(task, &artifact, Vec::new())?;
            let stage = if found { TaskStage::Found } else { TaskStage::Computed };
            tell(stage(Box::new(receipt.clone())));
            self.pending = Some(Pending { receipt, artifact, held, submitted: OnceCell::new() });
        }
        let Some(pending) = &self.pending else { return Ok(None) };
        let finished = self.finish(pending, tell).await;
        let kept = |error: &MiningError| !matches!(error, MiningError::Late(_)) && error.class() != ErrorClass::Fatal;
        if !finished.as_ref().is_err_and(kept) {
            self.pending = None;
        }
        finished.map(Some)
    }

    /// Submits what is computed, where it is not submitted yet, and waits until it counts.
    async fn finish(&self, pending: &Pending, mut tell: impl FnMut(TaskStage)) -> Result<Accepted, MiningError> {
        let Pending { receipt, artifact, held, submitted } = pending;
        let dag = artifact.dag()?;
        let loss = artifact.as_gradient().map(|gradient| nats(gradient.loss, gradient.tokens as usize));
        let (transaction, id) = match submitted.get() {
            Some(submitted) => submitted,
            None => {
                self.stores.put(&dag).await?;
                self.client.put(&dag).await?;
                tell(TaskStage::Stored);
                let sent = match self.submit(receipt, held, loss).await {
                    Err(error @ ClientError::Failed { code: code::REJECTED | code::TAKEN, .. })
                        if self.client.held_task().await?.as_ref() != Some(held) =>
                    {
                        return Err(MiningError::Late(error.to_string()));
                    }
                    sent => sent?,
                };
                let id = sent.answer::<MsgSubmitGradientResponse>().map_or(0, |answer| answer.stored_gradient_id);
                tell(TaskStage::Submitted(id));
                submitted.get_or_init(|| (sent.hash, id))
            }
        };
        self.settled(*id).await?;
        Ok(Accepted {
            receipt: receipt.clone(),
            gradient_root: artifact.gradient_root(),
            transaction: transaction.clone(),
            round: held.round,
            loss,
            balance: self.client.balance(&self.payout).await?,
            bytes: dag.bytes() as u64,
        })
    }

    /// Waits until a submission counts.
    async fn settled(&self, id: u64) -> Result<(), MiningError> {
        let (mut watch, mut pause, mut asked) = (Watch::default(), POLL_MS / 16, false);
        loop {
            match self.client.stored(id).await {
                Ok(stored) => match stored.status.as_str() {
                    "accepted" => return Ok(()),
                    "withdrawn" => return Err(MiningError::Rejected { id, finding: stored.status }),
                    "rejected" => {
                        if let Some(health) = &self.health {
                            self.fit(health.ask_all().await).await?;
                        }
                        return Err(MiningError::Rejected { id, finding: stored.finding.unwrap_or_default() });
                    }
                    // the block that draws is not the next one: there is time
                    "pending" if !asked && pause > POLL_MS / 16 => {
                        asked = true;
                        if let Some(health) = &self.health {
                            self.fit(health.ask_one().await).await?;
                        }
                    }
                    _ => {}
                },
                // another node may be a few blocks behind the one that took it
                Err(ClientError::Refused { status: 404, .. }) if watch.waited_ms() < UNKNOWN_MS => {}
                Err(ClientError::Refused { status: 404, message }) => return Err(MiningError::Late(message)),
                Err(error) => return Err(error.into()),
            }
            watch.wait(&self.client, pause).await?;
            pause = (pause * 2).min(POLL_MS);
        }
    }

    /// Goes on where the backend's answers are right; else takes back what was submitted, before it is drawn for.
    async fn fit(&self, answers: Result<(), Error>) -> Result<(), MiningError> {
        match answers {
            Ok(()) => Ok(()),
            Err(error @ Error::WrongAnswer { .. }) => {
                let miner = self.client.miner().to_owned();
                self.client.send(Message::Withdraw(MsgWithdraw { miner })).await?;
                Err(MiningError::Unfit(error))
            }
            Err(error) => Err(WorkerError::Backend(error).into()),
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

    async fn claim(&mut self) -> Result<Option<(Task, HeldTask)>, MiningError> {
        let held = match self.client.held_task().await? {
            Some(held) => Some(held),
            None => {
                let Some((pool_id, chunks)) = self.client.available(CHOICE).await? else { return Ok(None) };
                let Some(chunk_id) = self.choose(&chunks) else { return Ok(None) };
                self.claimed = Some(chunk_id);
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

    /// The chunk that was claimed before, whose gradient may be saved; else another of the chunks for each address.
    fn choose(&self, chunks: &[u64]) -> Option<u64> {
        if let Some(claimed) = self.claimed.filter(|claimed| chunks.contains(claimed)) {
            return Some(claimed);
        }
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
            gradient_hash: data_encoding::HEXLOWER.encode(&commitment),
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
