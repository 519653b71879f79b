//! The genesis: the job, the text, the parameters, and the initial accounts and nodes. It never changes.

use super::params::LedgerParams;
use crate::{
    dispute::judge::{DisputeContext, Hash},
    protocol::{Aggregate, Job, ProtocolError, Task, TaskTerms},
    store::{Cid, dag_cbor},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const FORMAT: &str = "r3mes/genesis/3";
/// The most bytes of a genesis in JSON: enough for a text of a million chunks.
const MAX_JSON_BYTES: usize = 96 << 20;

/// The genesis of a network, from which every ledger of the network starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// Name of the chain, which every signature covers.
    pub chain_id: String,
    /// The parameters of the rules.
    pub params: LedgerParams,
    /// The job that is computed for each chunk.
    pub job: Job,
    /// The seed from which all job seeds are derived.
    #[serde(with = "serde_bytes")]
    pub seed: [u8; 32],
    /// The number of accepted tasks that a round needs: 1 to 4096, and at most the number of chunks.
    pub quota: u32,
    /// CID of the adapter from which the first round starts.
    pub adapter: Cid,
    /// Layout root of the adapter from which the first round starts; see
    /// [`AdapterLayout`](crate::dispute::prover::AdapterLayout).
    pub layout_root: Hash,
    /// The dispute context of the job.
    pub dispute_context: DisputeContext,
    /// CIDs of the text's chunks of 2048 tokens.
    pub chunks: Vec<Cid>,
    /// Initial accounts: address, and balance in micro-units.
    pub accounts: Vec<(String, u64)>,
    /// Initial nodes: address, stake in micro-units, and roles.
    pub nodes: Vec<(String, u64, Vec<u32>)>,
}

/// Error returned when a genesis is invalid.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GenesisError {
    /// The job is invalid.
    #[error(transparent)]
    Job(#[from] ProtocolError),
    /// The quota is not within its limits.
    #[error("a round of {quota} tasks: the quota must be 1 to 4096, and at most the number of chunks, {chunks}")]
    Quota {
        /// The quota that the genesis states.
        quota: u32,
        /// The number of chunks in the text.
        chunks: usize,
    },
    /// All balances and stakes together exceed 2^63 micro-units.
    #[error("the balances and stakes of the genesis exceed 2^63 micro-units in total")]
    Coins,
    /// The bytes are not a genesis.
    #[error("not a genesis in DAG-JSON: {0}")]
    Malformed(String),
    /// The dispute context contains a count that is out of range.
    #[error("the dispute context is invalid: it has no dispatches, no tokens, or too many of them")]
    DisputeContext,
    /// The chain id is empty, too long, or contains other characters than letters, digits and dashes.
    #[error("the chain id must have 1 to 64 letters, digits and dashes")]
    ChainId,
}

impl Genesis {
    /// Checks that every value is within its limits.
    pub fn validate(&self) -> Result<(), GenesisError> {
        self.job.validate()?;
        let (quota, chunks) = (self.quota, self.chunks.len());
        if !(1..=Aggregate::MAX_ARTIFACTS).contains(&quota) || (chunks as u64) < quota.into() {
            return Err(GenesisError::Quota { quota, chunks });
        }
        if !self.dispute_context.is_possible() {
            return Err(GenesisError::DisputeContext);
        }
        let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
        if self.chain_id.is_empty() || self.chain_id.len() > 64 || !self.chain_id.chars().all(plain) {
            return Err(GenesisError::ChainId);
        }
        match self.supply() {
            Some(supply) if supply <= 1 << 63 => Ok(()),
            _ => Err(GenesisError::Coins),
        }
    }

    /// Returns the sum of all balances and stakes; `None` if it exceeds 2^64 − 1.
    pub(super) fn supply(&self) -> Option<u64> {
        let balances = self.accounts.iter().map(|(_, balance)| *balance);
        balances.chain(self.nodes.iter().map(|(_, stake, _)| *stake)).try_fold(0u64, u64::checked_add)
    }

    /// Returns the SHA-256 hash of the genesis in canonical DAG-CBOR.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(dag_cbor::encode(FORMAT, self)).into()
    }

    /// Returns the genesis as DAG-JSON, for files: a CID is `{"/": "bafy…"}`, bytes are `{"/": {"bytes": "…"}}`.
    pub fn to_json(&self) -> String {
        let json = serde_ipld_dagjson::to_vec(self).expect("the same value that DAG-CBOR holds");
        String::from_utf8(json).expect("JSON is UTF-8")
    }

    /// Reads the JSON of [`to_json`](Self::to_json), with any whitespace and any order of keys, and validates the
    /// genesis.
    pub fn from_json(json: &[u8]) -> Result<Self, GenesisError> {
        if json.len() > MAX_JSON_BYTES {
            return Err(GenesisError::Malformed(format!("{} bytes, more than {MAX_JSON_BYTES}", json.len())));
        }
        let genesis: Self =
            serde_ipld_dagjson::from_slice(json).map_err(|error| GenesisError::Malformed(error.to_string()))?;
        genesis.validate()?;
        Ok(genesis)
    }

    /// Returns the CID of the chunk at a position.
    pub fn chunk(&self, position: u64) -> Cid {
        self.chunks[chunk_number(position, self.chunks.len() as u64) as usize]
    }

    /// Returns the positions that a round covers, one for each of its chunk slots.
    pub fn positions(&self, round: u64) -> std::ops::Range<u64> {
        let quota = u64::from(self.quota);
        let start = round.saturating_mul(quota);
        start..start.saturating_add(quota)
    }

    /// Returns a miner's task at a position of a round that starts from `adapter`.
    pub fn task(&self, round: u64, adapter: Cid, position: u64, miner: &str) -> Result<Task, ProtocolError> {
        let seed = Sha256::new().chain_update("r3mes/job-seed/1").chain_update(self.seed);
        let seed = seed.chain_update(round.to_le_bytes()).chain_update(position.to_le_bytes()).finalize().into();
        let (job, chunk, miner) = (self.job.clone(), self.chunk(position), miner.to_owned());
        Task::new(TaskTerms { job, adapter, chunk, seed, miner })
    }
}

/// Returns the index of the chunk at a position. Any `chunks` consecutive positions have different chunks, and
/// neighboring positions have chunks that are far apart.
///
/// The step from one position to the next is the first number from `0.618 · chunks` upwards that has no common factor
/// with `chunks`.
fn chunk_number(position: u64, chunks: u64) -> u64 {
    let coprime = |step: &u64| {
        let (mut a, mut b) = (chunks, *step);
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a == 1
    };
    let start = (u128::from(chunks) * 618 / 1000) as u64;
    let step = (start.max(1)..=chunks).find(coprime).unwrap_or(1);
    (u128::from(position) * u128::from(step) % u128::from(chunks)) as u64
}

#[cfg(test)]
mod tests {
    use super::chunk_number;
    use std::collections::BTreeSet;

    #[test]
    fn every_pass_visits_each_chunk_once() {
        for chunks in [1, 2, 3, 5, 12, 582] {
            for pass in 0..3 {
                let seen: BTreeSet<u64> =
                    (pass * chunks..(pass + 1) * chunks).map(|at| chunk_number(at, chunks)).collect();
                assert_eq!(seen.len() as u64, chunks);
            }
        }
    }
}
