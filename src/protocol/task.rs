//! The task: everything that determines a gradient, namely the job, the adapter, the chunk, the seed and the miner.

use super::error::{ProtocolError, plain_name};
use super::job::Job;
use crate::store::{Block, Cid, Codec, Fetch, dag_cbor};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub(super) const FORMAT: &str = "r3mes/task/1";
/// The largest length of a miner's address in a task, in bytes.
pub(crate) const MAX_MINER_BYTES: usize = 128;

/// The fields of a [`Task`], before they have been checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskTerms {
    /// The job, which contains the settings that all tasks of a training run have in common.
    pub job: Job,
    /// The adapter root: the CID of the adapter state for which the gradient is computed.
    pub adapter: Cid,
    /// CID of the chunk, which contains the 2048 tokens on which the gradient is computed.
    pub chunk: Cid,
    /// The seed from which the dither (the pseudo-random bits of the rounding) is derived. It is different for each
    /// chunk of each round. If several chunks had the same seed, a miner's rounding errors would be correlated and
    /// would not average out.
    #[serde(with = "serde_bytes")]
    pub seed: [u8; 32],
    /// Address of the miner. It receives the reward, unless the miner has set another payout address.
    pub miner: String,
}

/// A task: [`TaskTerms`] that have been checked to be within their limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "TaskTerms", into = "TaskTerms")]
pub struct Task(TaskTerms);

impl Task {
    /// Returns the task with the given fields, or an error if a field is outside its limits.
    pub fn new(terms: TaskTerms) -> Result<Self, ProtocolError> {
        terms.job.validate()?;
        plain_name("miner address", &terms.miner, MAX_MINER_BYTES)?;
        let task = Self(terms);
        Block::new(Codec::DagCbor, dag_cbor::encode(FORMAT, &task))?;
        Ok(task)
    }

    /// Returns the task with the given fields. Checks only the miner's address. The caller must have called
    /// [`Self::new`] for the same job and the longest possible miner's address ([`MAX_MINER_BYTES`] bytes), without an
    /// error. It is then certain that the job is valid and that the new task fits in a block.
    pub(crate) fn of_checked_job(terms: TaskTerms) -> Result<Self, ProtocolError> {
        plain_name("miner address", &terms.miner, MAX_MINER_BYTES)?;
        Ok(Self(terms))
    }

    /// Decodes a task from DAG-CBOR. Returns an error unless `bytes` is the canonical encoding.
    pub fn decode(bytes: &[u8]) -> Result<Self, ProtocolError> {
        Ok(dag_cbor::decode(FORMAT, bytes)?)
    }

    /// Fetches the block with the CID `cid`, checks its bytes against the CID, and decodes the task that it contains.
    pub fn fetch(cid: &Cid, fetch: Fetch) -> Result<Self, ProtocolError> {
        Ok(dag_cbor::fetch(FORMAT, cid, fetch)?)
    }

    /// Returns the DAG-CBOR block that encodes the task.
    pub fn block(&self) -> Block {
        dag_cbor::block(FORMAT, self).expect("the constructor checked the size")
    }

    /// Returns the CID of the block that encodes the task.
    pub fn cid(&self) -> Cid {
        self.block().cid()
    }

    /// Returns the task key. The dither (the pseudo-random bits of all roundings in the task) is derived from this key,
    /// by [`dither_key`](crate::numbers::rng::dither_key).
    pub fn key(&self) -> [u8; 32] {
        task_key(&self.seed, &self.miner)
    }
}

/// Returns the task key, `SHA-256(seed ‖ miner address)`. Because the key depends on the miner, each miner rounds
/// differently, in a way that anybody can reproduce.
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
    type Error = ProtocolError;

    fn try_from(terms: TaskTerms) -> Result<Self, ProtocolError> {
        Self::new(terms)
    }
}

impl From<Task> for TaskTerms {
    fn from(task: Task) -> Self {
        task.0
    }
}
