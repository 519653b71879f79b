//! The genesis is what a ledger starts from and never changes: the job, the text, the rules, the first coins and nodes.

use super::params::LedgerParams;
use crate::{
    dispute::judge::{DisputeContext, Hash},
    protocol::{Aggregate, Job, Task, TaskTerms, WorkError},
    store::{Cid, dag_cbor},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const FORMAT: &str = "r3mes/genesis/3";
/// Room for a text of a million chunks.
const MAX_JSON_BYTES: usize = 96 << 20;

/// The terms of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// What signatures are bound to.
    pub chain_id: String,
    /// The rules, in numbers.
    pub params: LedgerParams,
    /// What is computed for each chunk.
    pub job: Job,
    /// What all job seeds are derived from.
    #[serde(with = "serde_bytes")]
    pub seed: [u8; 32],
    /// Accepted tasks that make a round, 1..=4096; at most as many as there are chunks.
    pub quota: u32,
    /// Root of the adapter that the first round starts from.
    pub adapter: Cid,
    /// Root of what it is layout_root as: see [`AdapterLayout`](crate::dispute::prover::AdapterLayout).
    pub layout_root: Hash,
    /// What disputes over tasks of the job are about.
    pub ground: DisputeContext,
    /// The text, in chunks of 2048 tokens.
    pub chunks: Vec<Cid>,
    /// First balances, in micro-units.
    pub accounts: Vec<(String, u64)>,
    /// First nodes: address, stake, roles.
    pub nodes: Vec<(String, u64, Vec<u32>)>,
}

/// Why terms are none.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GenesisError {
    /// The job.
    #[error(transparent)]
    Job(#[from] WorkError),
    /// A round's quota.
    #[error("a round of {quota} tasks: at least 1, at most 4096, and at most as many as the text has chunks, {chunks}")]
    Quota {
        /// As given.
        quota: u32,
        /// Of the text.
        chunks: usize,
    },
    /// More coins than a balance can hold.
    #[error("the first coins exceed 2^63 micro-units")]
    Coins,
    /// Bytes that are no genesis.
    #[error("not a genesis in DAG-JSON: {0}")]
    Malformed(String),
    /// What disputes would be about.
    #[error("the ground of disputes is of no job: no dispatches, no tokens, or too many")]
    DisputeContext,
    /// A name of a chain that transactions can not carry.
    #[error("the chain's id is not of 1 to 64 letters, digits and dashes")]
    ChainId,
}

impl Genesis {
    /// Checks every limit.
    pub fn validate(&self) -> Result<(), GenesisError> {
        self.job.validate()?;
        let (quota, chunks) = (self.quota, self.chunks.len());
        if !(1..=Aggregate::MAX_ARTIFACTS).contains(&quota) || (chunks as u64) < quota.into() {
            return Err(GenesisError::Quota { quota, chunks });
        }
        if !self.ground.is_possible() {
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

    /// The coins that there are at first.
    pub(super) fn supply(&self) -> Option<u64> {
        let balances = self.accounts.iter().map(|(_, balance)| *balance);
        balances.chain(self.nodes.iter().map(|(_, stake, _)| *stake)).try_fold(0u64, u64::checked_add)
    }

    /// SHA-256 of its canonical bytes.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(dag_cbor::encode(FORMAT, self)).into()
    }

    /// As DAG-JSON, for people and files: a CID is `{"/": "bafy…"}`, bytes are `{"/": {"bytes": "…"}}`.
    pub fn to_json(&self) -> String {
        let json = serde_ipld_dagjson::to_vec(self).expect("the same value that DAG-CBOR holds");
        String::from_utf8(json).expect("JSON is UTF-8")
    }

    /// Reads [`to_json`](Self::to_json), written in any way that JSON allows, and checks every limit.
    pub fn from_json(json: &[u8]) -> Result<Self, GenesisError> {
        if json.len() > MAX_JSON_BYTES {
            return Err(GenesisError::Malformed(format!("{} bytes; at most {MAX_JSON_BYTES}", json.len())));
        }
        let genesis: Self =
            serde_ipld_dagjson::from_slice(json).map_err(|error| GenesisError::Malformed(error.to_string()))?;
        genesis.validate()?;
        Ok(genesis)
    }

    /// The chunk at a position.
    pub fn chunk(&self, position: u64) -> Cid {
        self.chunks[chunk_number(position, self.chunks.len() as u64) as usize]
    }

    /// The positions of a round.
    pub fn positions(&self, round: u64) -> std::ops::Range<u64> {
        let quota = u64::from(self.quota);
        let start = round.saturating_mul(quota);
        start..start.saturating_add(quota)
    }

    /// The task at a position of a round that starts from `adapter`, for one miner.
    pub fn task(&self, round: u64, adapter: Cid, position: u64, miner: &str) -> Result<Task, WorkError> {
        let seed = Sha256::new().chain_update("r3mes/job-seed/1").chain_update(self.seed);
        let seed = seed.chain_update(round.to_le_bytes()).chain_update(position.to_le_bytes()).finalize().into();
        let (job, chunk, miner) = (self.job.clone(), self.chunk(position), miner.to_owned());
        Task::new(TaskTerms { job, adapter, chunk, seed, miner })
    }
}

/// Which of `chunks` chunks stands at `position`: every chunk once in `chunks` positions, neighbors far apart.
///
/// A walk in steps near `0.618 · chunks` that share no factor with it.
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
    fn every_chunk_comes_once_in_each_pass() {
        for chunks in [1, 2, 3, 5, 12, 582] {
            for pass in 0..3 {
                let seen: BTreeSet<u64> =
                    (pass * chunks..(pass + 1) * chunks).map(|at| chunk_number(at, chunks)).collect();
                assert_eq!(seen.len() as u64, chunks);
            }
        }
    }
}
