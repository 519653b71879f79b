//! A miner claims a task, computes its gradient, submits the gradient, and waits until the gradient is accepted.

mod health_check;
mod mining;

pub use mining::{MiningEvent, mine};

use crate::{
    client::{
        BlockStore, Blocks, Classify, Client, ClientError, ErrorClass, ExecutedTx, FetchError, HeldTask, Host,
        ProgressMonitor, WorkFile,
        stores::{StorageError, Stores},
    },
    compute::Backend,
    error::Error,
    protocol::{Artifact, CHUNK_TOKENS, ProtocolError, Receipt, Task},
    store::{Codec, Dag, StoreError},
    training::{
        step::nats,
        worker::{Worker, WorkerError},
    },
    tx::{Message, MsgClaimTask, MsgSetPayout, MsgSubmitGradient, MsgSubmitGradientResponse, MsgWithdraw, code},
};
use health_check::HealthCheck;
use std::cell::OnceCell;

/// Error returned when a task was not completed. The miner can continue a task that it has claimed: it asks the node
/// for the task again, and a repeated computation yields the same bits.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MiningError {
    /// A request to the node failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The task's chunk, or a block of its adapter, could not be fetched.
    #[error(transparent)]
    Blocks(#[from] FetchError),
    /// The backend failed, or the task belongs to a different job from the one for which the worker was created.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// The task is malformed.
    #[error(transparent)]
    Work(#[from] ProtocolError),
    /// The gradient was rejected, or the miner withdrew it.
    #[error("gradient {id} was rejected: {finding}")]
    Rejected {
        /// ID that the ledger gave to the submission of the gradient.
        id: u64,
        /// The reason for the rejection: `mismatch` (the gradient was found wrong), `unavailable` (proposers could not
        /// fetch it), `voided` (another gradient of the miner was found wrong), or `withdrawn` (the miner took the
        /// submission back).
        finding: String,
    },
    /// The claim expired or went to another miner before the submission, or the node does not know the submission.
    /// The gradient stays in the work file, so it need not be recomputed if the same task can be claimed again.
    #[error("the claim on the chunk was lost before the gradient was accepted: {reason}", reason = .0)]
    ClaimLost(String),
    /// A store did not keep the artifact, so nothing was submitted.
    #[error("the gradient was not submitted: {reason}", reason = .0)]
    Storage(#[from] StorageError),
    /// The miner was told to stop before the gradient of the submission with this ID was accepted or rejected. The
    /// ledger decides about the gradient later, even if the miner no longer runs.
    #[error("gradient {0} was submitted, but is neither accepted nor rejected yet")]
    Undecided(u64),
    /// The backend failed its known-answer tests, so the miner withdrew its pending submissions. A submission can be
    /// withdrawn only as long as nothing is known about the random value that decides whether verifiers recompute the
    /// gradient.
    #[error(
        "the miner has withdrawn its pending submissions, because the backend computes wrong results: {reason}",
        reason = .0
    )]
    BackendFault(#[source] Error),
}

impl Classify for MiningError {
    /// Returns the class of the error. The failure of a store is retryable, and so is a missing block, which may still
    /// be on its way from one node to another.
    fn class(&self) -> ErrorClass {
        match self {
            Self::Client(ClientError::Store(StoreError::Missing(_)))
            | Self::Storage(_)
            | Self::ClaimLost(_)
            | Self::Undecided(_) => ErrorClass::Retryable,
            Self::Client(error) => error.class(),
            Self::Blocks(error) => error.class(),
            _ => ErrorClass::Fatal,
        }
    }
}

/// How far a miner has got with its current task.
#[derive(Clone, Debug)]
pub enum TaskStage {
    /// The miner has claimed the task, now or before a restart.
    Claimed {
        /// The task, which names the adapter and the chunk for which to compute a gradient.
        task: Box<Task>,
        /// Index of the round in which the miner claimed the task.
        round: u64,
    },
    /// The miner has computed the gradient. The value is the gradient's receipt, which should be kept: with it, anybody
    /// can recompute the gradient.
    Computed(Box<Receipt>),
    /// The miner has found in the work file the gradient that it computed earlier. The value is the gradient's receipt.
    Restored(Box<Receipt>),
    /// The node, and every other store that the miner uses, have stored the gradient's artifact.
    Stored,
    /// The miner has submitted the gradient, and the ledger gave this ID to the submission. Verifiers can recompute the
    /// gradient from now on.
    Submitted(u64),
}

/// A task whose gradient was accepted, and what the miner reports about it.
#[derive(Clone, Debug)]
pub struct AcceptedTask {
    /// The receipt, with which anybody can recompute the gradient.
    pub receipt: Receipt,
    /// Gradient root: the root of a Merkle tree over the gradient's matrices. It identifies the gradient.
    pub gradient_root: [u8; 32],
    /// Hash of the transaction that submitted the gradient.
    pub transaction: String,
    /// Index of the round to which the gradient belongs.
    pub round: u64,
    /// Mean loss in nats per token; `None` if the gradient is void because a value left its range.
    pub loss: Option<f64>,
    /// Why the gradient is void. `None` if it is not void, or if an earlier run of the program computed the gradient.
    pub void_reason: Option<String>,
    /// Balance of the payout address after the gradient was accepted, in micro-units.
    pub balance: u64,
    /// Total size, in bytes, of the artifact's blocks, which contain the gradient.
    pub bytes: u64,
}

/// A miner. It has a worker, which computes gradients, and a client, with which it claims tasks and submits gradients.
pub struct Miner<H> {
    client: Client<H>,
    stores: Stores<H>,
    worker: Worker,
    payout: String,
    gpu_architecture: String,
    health_check: Option<HealthCheck>,
    pending: Option<PendingResult>,
    /// Index of the chunk that this miner claimed last; `None` before its first claim.
    claimed_chunk: Option<u64>,
    /// Why the first void artifact (one without a gradient) was void; `None` if there was no void artifact.
    void_reason: Option<String>,
}

/// A computed gradient that has not been accepted yet.
struct PendingResult {
    receipt: Receipt,
    artifact: Artifact,
    held: HeldTask,
    /// Why the artifact is void (has no gradient). `None` if it is not void, or if the miner does not know the reason.
    void_reason: Option<String>,
    /// Hash of the transaction that submitted the gradient, and ID of the submission. Not set before the submission.
    submitted: OnceCell<(String, u64)>,
}

/// The largest number of available chunks that a miner asks the node to list. The miner's address decides which chunk
/// of the list the miner claims, so miners that claim at the same time seldom choose the same chunk.
const CHUNK_CHOICES: u32 = 64;
/// The longest wait between two requests for the status of a submission, in milliseconds. The first wait is 1/16 of
/// this, and each later one is twice as long as the one before, up to this limit.
const POLL_MS: u32 = 500;
/// How long the miner keeps asking for the status of a submission that the node does not know, in milliseconds. After
/// that, the miner treats its claim on the task as lost.
const UNKNOWN_MS: u32 = 60_000;

impl<H: Host + WorkFile> Miner<H> {
    /// Creates a miner whose rewards go to the address `payout`. If the client acts for another account (the granter),
    /// `payout` must be the address of that account. The node uses `gpu_architecture` for statistics only.
    pub fn new(client: Client<H>, worker: Worker, payout: String, gpu_architecture: String) -> Self {
        let stores = Stores::default();
        Self {
            client,
            stores,
            worker,
            payout,
            gpu_architecture,
            health_check: None,
            pending: None,
            claimed_chunk: None,
            void_reason: None,
        }
    }

    /// Makes the miner repeat the known-answer tests of `backend`, which must be the backend of its worker. The miner
    /// tests one kernel while it waits for the block in which the ledger samples verifiers for a submission, and all
    /// kernels after a rejection. If an answer is wrong, the miner withdraws its pending submissions and returns an
    /// error.
    pub fn with_known_answers(self, backend: Backend) -> Self {
        Self { health_check: Some(HealthCheck::new(backend)), ..self }
    }

    /// Sets the stores, besides the node, that must hold an artifact before the miner submits its gradient.
    pub fn with_stores(self, stores: Stores<H>) -> Self {
        Self { stores, ..self }
    }

    /// Returns the client through which the miner talks to its node.
    pub fn client(&self) -> &Client<H> {
        &self.client
    }

    /// Registers the payout address with the ledger if it differs from the miner's own address.
    pub async fn register(&self) -> Result<(), ClientError> {
        if self.payout != self.client.miner() {
            let (miner, payout) = (self.client.miner().to_owned(), self.payout.clone());
            self.client.send(Message::SetPayout(MsgSetPayout { miner, payout })).await?;
        }
        Ok(())
    }

    /// Completes the task that the miner has claimed, or claims one and completes it. Returns `None` if no chunk can be
    /// claimed now. `on_stage` is called at each [stage](TaskStage). Once the gradient is submitted, returns
    /// [`MiningError::Undecided`] as soon as `gives_up` returns true.
    ///
    /// If a gradient has been computed but could not be submitted, the next call submits it. The next call may also
    /// come from another process, if that process uses the same work file.
    pub async fn work(
        &mut self,
        gives_up: impl Fn() -> bool,
        mut on_stage: impl FnMut(TaskStage),
    ) -> Result<Option<AcceptedTask>, MiningError> {
        if self.pending.is_none() {
            let Some((task, held)) = self.claim().await? else { return Ok(None) };
            on_stage(TaskStage::Claimed { task: Box::new(task.clone()), round: held.round });
            let (artifact, void_reason, stage): (_, _, fn(_) -> _) = match self.restore(&task).await {
                Some(artifact) => (artifact, None, TaskStage::Restored),
                None => {
                    let (artifact, void_reason) = self.compute(&task).await?;
                    (artifact, void_reason, TaskStage::Computed)
                }
            };
            let receipt = Receipt::new(task, &artifact, Vec::new())?;
            on_stage(stage(Box::new(receipt.clone())));
            self.pending = Some(PendingResult { receipt, artifact, held, void_reason, submitted: OnceCell::new() });
        }
        let Some(pending) = &self.pending else { return Ok(None) };
        let finished = self.finish(pending, gives_up, on_stage).await;
        let stays_pending =
            |error: &MiningError| !matches!(error, MiningError::ClaimLost(_)) && error.class() != ErrorClass::Fatal;
        if !finished.as_ref().is_err_and(stays_pending) {
            self.pending = None;
        }
        finished.map(Some)
    }

    /// Submits a gradient unless that has been done already, and waits until it is accepted.
    async fn finish(
        &self,
        pending: &PendingResult,
        gives_up: impl Fn() -> bool,
        mut on_stage: impl FnMut(TaskStage),
    ) -> Result<AcceptedTask, MiningError> {
        let PendingResult { receipt, artifact, held, void_reason, submitted } = pending;
        let dag = artifact.dag()?;
        let loss = artifact.as_gradient().map(|gradient| nats(gradient.loss, gradient.tokens as usize));
        let (transaction, id) = match submitted.get() {
            Some(submitted) => submitted,
            None => {
                self.stores.put(&dag).await?;
                self.client.put_dag(&dag).await?;
                on_stage(TaskStage::Stored);
                let sent = match self.submit(receipt, held, loss).await {
                    Err(error @ ClientError::Failed { code: code::REJECTED | code::TAKEN, .. })
                        if self.client.held_task().await?.as_ref() != Some(held) =>
                    {
                        return Err(MiningError::ClaimLost(error.to_string()));
                    }
                    sent => sent?,
                };
                let id = sent.response::<MsgSubmitGradientResponse>().map_or(0, |response| response.stored_gradient_id);
                on_stage(TaskStage::Submitted(id));
                submitted.get_or_init(|| (sent.hash, id))
            }
        };
        self.wait_until_accepted(*id, gives_up).await?;
        Ok(AcceptedTask {
            receipt: receipt.clone(),
            gradient_root: artifact.gradient_root(),
            transaction: transaction.clone(),
            round: held.round,
            loss,
            void_reason: void_reason.clone(),
            balance: self.client.balance(&self.payout).await?,
            bytes: dag.bytes() as u64,
        })
    }

    async fn wait_until_accepted(&self, id: u64, gives_up: impl Fn() -> bool) -> Result<(), MiningError> {
        let (mut progress, mut pause_ms, mut tested) = (ProgressMonitor::default(), POLL_MS / 16, false);
        loop {
            match self.client.gradient_status(id).await {
                Ok(gradient) => match gradient.status.as_str() {
                    "accepted" | "settled" => return Ok(()),
                    "withdrawn" => return Err(MiningError::Rejected { id, finding: gradient.status }),
                    "rejected" => {
                        if let Some(health_check) = &self.health_check {
                            self.withdraw_if_wrong(health_check.test_all().await).await?;
                        }
                        return Err(MiningError::Rejected { id, finding: gradient.finding.unwrap_or_default() });
                    }
                    // there is time for a test because the block right after the submission never samples verifiers
                    "pending" if !tested && pause_ms > POLL_MS / 16 => {
                        tested = true;
                        if let Some(health_check) = &self.health_check {
                            self.withdraw_if_wrong(health_check.test_next().await).await?;
                        }
                    }
                    _ => {}
                },
                // another node may be a few blocks behind the one that accepted the submission
                Err(ClientError::Refused { status: 404, .. }) if progress.waited_ms() < UNKNOWN_MS => {}
                Err(ClientError::Refused { status: 404, message }) => return Err(MiningError::ClaimLost(message)),
                Err(error) => return Err(error.into()),
            }
            if gives_up() {
                return Err(MiningError::Undecided(id));
            }
            progress.wait(&self.client, pause_ms).await?;
            pause_ms = (pause_ms * 2).min(POLL_MS);
        }
    }

    /// If the known-answer tests found a wrong answer, withdraws the pending submissions and returns an error. Any
    /// other error of the tests is returned without a withdrawal.
    async fn withdraw_if_wrong(&self, known_answers: Result<(), Error>) -> Result<(), MiningError> {
        match known_answers {
            Ok(()) => Ok(()),
            Err(error @ Error::WrongAnswer { .. }) => {
                let miner = self.client.miner().to_owned();
                self.client.send(Message::Withdraw(MsgWithdraw { miner })).await?;
                Err(MiningError::BackendFault(error))
            }
            Err(error) => Err(WorkerError::Backend(error).into()),
        }
    }

    /// Computes the artifact of a task. If the artifact is void (has no gradient), also returns the reason. Finding the
    /// reason takes long, so it is found only for the first void artifact; for later ones, the same reason is returned.
    async fn compute(&mut self, task: &Task) -> Result<(Artifact, Option<String>), MiningError> {
        let blocks = Blocks::of_task(self.client.host(), task).await?;
        let artifact = self.worker.compute(task, &|cid| blocks.get(cid)).await?;
        self.client.host().save_work(&artifact.dag()?.to_car()).await;
        if artifact.as_gradient().is_some() {
            return Ok((artifact, None));
        }
        if self.void_reason.is_none() {
            let found = self.worker.explain_saturation(task, &|cid| blocks.get(cid)).await?;
            let too_large = || "the gradient is too large for its encoding".to_owned();
            self.void_reason = Some(found.map_or_else(too_large, |saturation| saturation.to_string()));
        }
        Ok((artifact, self.void_reason.clone()))
    }

    /// Returns the artifact of this task from the work file. Returns `None` if the file is damaged or absent, or
    /// contains the artifact of another task.
    async fn restore(&self, task: &Task) -> Option<Artifact> {
        let dag = Dag::from_car(&self.client.host().load_work().await?).ok()?;
        Artifact::fetch(task, &dag.root, &|cid| dag.get(cid)).ok()
    }

    /// Returns the task that the miner has claimed, or claims one. Returns `None` if no chunk is available, or if
    /// another miner was faster.
    async fn claim(&mut self) -> Result<Option<(Task, HeldTask)>, MiningError> {
        let held = match self.client.held_task().await? {
            Some(held) => Some(held),
            None => {
                let Some((pool_id, chunks)) = self.client.available(CHUNK_CHOICES).await? else { return Ok(None) };
                let Some(chunk_id) = self.choose(&chunks) else { return Ok(None) };
                self.claimed_chunk = Some(chunk_id);
                let miner = self.client.miner().to_owned();
                match self.client.send(Message::ClaimTask(MsgClaimTask { miner, pool_id, chunk_id })).await {
                    Ok(_) => self.client.held_task().await?,
                    // another miner was faster
                    Err(ClientError::Failed { code: code::TAKEN, .. }) => None,
                    Err(error) => return Err(error.into()),
                }
            }
        };
        let Some(held) = held else { return Ok(None) };
        let task = Task::decode(&self.client.block(Codec::DagCbor, &held.task).await?)?;
        Ok(Some((task, held)))
    }

    /// Chooses the chunk to claim from the available `chunks`, and returns it. This is the chunk that the miner claimed
    /// last if it is available, because the work file may contain its gradient. Otherwise, the miner's address decides
    /// which chunk is chosen. Returns `None` if no chunk is available.
    fn choose(&self, chunks: &[u64]) -> Option<u64> {
        if let Some(claimed) = self.claimed_chunk.filter(|claimed| chunks.contains(claimed)) {
            return Some(claimed);
        }
        let letters = self.client.miner().bytes();
        let number = letters.fold(0u64, |number, letter| number.wrapping_mul(31).wrapping_add(letter.into()));
        let count = u64::try_from(chunks.len()).ok().filter(|count| *count > 0)?;
        chunks.get(usize::try_from(number % count).ok()?).copied()
    }

    async fn submit(&self, receipt: &Receipt, held: &HeldTask, loss: Option<f64>) -> Result<ExecutedTx, ClientError> {
        let commitment = receipt.commitment().0;
        let nonce = u64::from_le_bytes(commitment[..8].try_into().expect("8 of 32 bytes")) | 1;
        let mut message = MsgSubmitGradient {
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
        if held.proof_of_work_bits > 0 {
            message.prove_work(&self.client.job().await?.chain_id, held.proof_of_work_bits);
        }
        self.client.send(Message::SubmitGradient(Box::new(message))).await
    }
}
