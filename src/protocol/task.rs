//! A task names all that a gradient is a function of: job, adapter, chunk, seed, miner.

use super::error::{WorkError, plain_name};
use super::job::Job;
use crate::store::{Block, Cid, Codec, Fetch, dag_cbor};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub(super) const FORMAT: &str = "r3mes/task/1";

/// The fields of a [`Task`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskTerms {
    /// What all tasks of the run share.
    pub job: Job,
    /// Root of the adapter and optimizer state to differentiate at.
    pub adapter: Cid,
    /// The 2048 tokens.
    pub chunk: Cid,
    /// Fresh for each chunk of each round: with one seed for several chunks a miner's rounding errors would be
    /// correlated and would not average out.
    #[serde(with = "serde_bytes")]
    pub seed: [u8; 32],
    /// The address that is paid.
    pub miner: String,
}

/// Valid [`TaskTerms`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "TaskTerms", into = "TaskTerms")]
pub struct Task(TaskTerms);

impl Task {
    /// Checks every limit.
    pub fn new(terms: TaskTerms) -> Result<Self, WorkError> {
        terms.job.validate()?;
        plain_name("miner address", &terms.miner, 128)?;
        let task = Self(terms);
        Block::new(Codec::DagCbor, dag_cbor::encode(FORMAT, &task))?;
        Ok(task)
    }

    /// Reads canonical bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, WorkError> {
        Ok(dag_cbor::decode(FORMAT, bytes)?)
    }

    /// Gets, checks and reads the task named `cid`.
    pub fn fetch(cid: &Cid, fetch: Fetch) -> Result<Self, WorkError> {
        Ok(dag_cbor::fetch(FORMAT, cid, fetch)?)
    }

    /// The canonical bytes under their CID.
    pub fn block(&self) -> Block {
        dag_cbor::block(FORMAT, self).expect("the constructor measured it")
    }

    /// Its name.
    pub fn cid(&self) -> Cid {
        self.block().cid()
    }

    /// The key of every dither stream of this task, for [`dither_key`](crate::numbers::rng::dither_key).
    pub fn key(&self) -> [u8; 32] {
        task_key(&self.seed, &self.miner)
    }
}

/// `SHA-256(job seed ‖ miner address)`: each miner rounds differently, and anyone can redo it.
pub fn task_key(seed: &[u8; 32], miner: &str) -> [u8; 32] {
    Sha256::new().chain_update(seed).chain_update(miner).finalize().into()
}

impl std::ops::Deref for Task {
    type Target = TaskTerms;

    fn deref(&self) -> &TaskTerms {
        &self.0
    }
}

impl TryFrom<TaskTerms> for Task {
    type Error = WorkError;

    fn try_from(terms: TaskTerms) -> Result<Self, WorkError> {
        Self::new(terms)
    }
}

impl From<Task> for TaskTerms {
    fn from(task: Task) -> Self {
        task.0
    }
}
