//! The genesis of a network: the job, the CIDs of the training text's chunks, the parameters of the rules, and the
//! initial accounts and nodes. A network keeps the same genesis forever.

use super::{nodes::VALIDATOR, params::LedgerParams};
use crate::{
    dispute::judge::{DisputeContext, Hash},
    protocol::{Aggregate, Job, MAX_MINER_BYTES, ProtocolError, Task, TaskTerms},
    store::{Cid, dag_cbor},
    tx::{TxError, canonical_address},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

const FORMAT: &str = "r3mes/genesis/3";
/// The maximum size of a genesis in JSON, in bytes. It is enough for the CIDs of a million chunks of text.
const MAX_JSON_BYTES: usize = 96 << 20;

/// The Ed25519 public key of a CometBFT process. Other CometBFT processes use it to check the votes of this process on
/// blocks.
pub type ConsensusKey = serde_bytes::ByteArray<32>;

/// The genesis of a network: the rules, the job, and the state in which every ledger of the network starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// The name of the chain. Every signature covers this name, so a signature is valid on one chain only.
    pub chain_id: String,
    /// The parameters of the ledger's rules, such as rewards and time limits.
    pub params: LedgerParams,
    /// The job: the settings that all tasks of the network have in common, such as the model.
    pub job: Job,
    /// The seed from which the seeds of all tasks are derived.
    #[serde(with = "serde_bytes")]
    pub seed: [u8; 32],
    /// The number of accepted gradients after which a round is full: 1 to 4096, and at most the number of chunks.
    pub quota: u32,
    /// CID of the adapter from which the first round starts.
    pub adapter: Cid,
    /// Layout root of the adapter from which the first round starts: the Merkle root over the buffers into which the
    /// adapter's factors are packed; see [`AdapterLayout`](crate::dispute::prover::AdapterLayout).
    pub layout_root: Hash,
    /// The data that is the same in all disputes of the network, whatever task a dispute is about.
    pub dispute_context: DisputeContext,
    /// The CIDs of the chunks into which the training text is divided. Each chunk has 2048 tokens.
    pub chunks: Vec<Cid>,
    /// The initial accounts, each as an address and a balance in micro-units.
    pub accounts: Vec<(String, u64)>,
    /// The initial nodes, each as an address, a stake in micro-units, and the IDs of its roles.
    pub nodes: Vec<(String, u64, Vec<u32>)>,
    /// The public keys of the CometBFT processes of the initial validators, by the address of the validator. If there is
    /// any, the voting power of each validator follows its stake. If there is none, the voting powers are always those
    /// of CometBFT's own genesis.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub consensus_keys: BTreeMap<String, ConsensusKey>,
}

/// Error returned when a genesis is invalid.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GenesisError {
    /// The job is invalid.
    #[error(transparent)]
    Job(#[from] ProtocolError),
    /// The quota (the number of accepted gradients after which a round is full) is out of range.
    #[error(
        "the quota is {quota} gradients per round, but must be 1 to 4096 and at most the number of chunks, {chunks}"
    )]
    Quota {
        /// The quota that the genesis states.
        quota: u32,
        /// The number of chunks in the text.
        chunks: usize,
    },
    /// All balances and stakes together exceed 2^63 micro-units.
    #[error("the balances and stakes of the genesis exceed 2^63 micro-units in total")]
    Coins,
    /// The bytes are not a genesis in DAG-JSON. The string states the reason.
    #[error("the bytes are not a genesis in DAG-JSON: {reason}", reason = .0)]
    Malformed(String),
    /// A count in the dispute context (the data that all disputes of the network have in common), such as the number of
    /// dispatches (kernel launches), is out of range.
    #[error("the dispute context is invalid: it has no dispatches or no tokens, or one of its counts exceeds 2^20")]
    DisputeContext,
    /// The address of an account or a node is not an address of this chain.
    #[error(transparent)]
    Address(#[from] TxError),
    /// The address of an account or a node in the genesis contains upper-case letters. The variant's value is the
    /// address.
    #[error("the address {0} must be written in lower case")]
    UpperCase(String),
    /// The genesis contains a consensus key for an account that is not a validator with at least the minimum stake, or
    /// contains the same key twice. The variant's value is the address of the account.
    #[error(
        "the consensus key of {0} is not allowed: either {0} is not a validator with at least the minimum stake, or the \
         same key occurs twice"
    )]
    ConsensusKey(String),
    /// The chain ID is empty, is longer than 64 characters, or contains characters other than ASCII letters, digits and
    /// dashes.
    #[error("the chain ID must consist of 1 to 64 letters, digits or dashes")]
    ChainId,
}

impl Genesis {
    /// Returns an error if a value of the genesis is out of range.
    pub fn validate(&self) -> Result<(), GenesisError> {
        self.job.validate()?;
        let (quota, chunks) = (self.quota, self.chunks.len());
        if !(1..=Aggregate::MAX_ARTIFACTS).contains(&quota) || (chunks as u64) < quota.into() {
            return Err(GenesisError::Quota { quota, chunks });
        }
        if !self.dispute_context.is_possible() {
            return Err(GenesisError::DisputeContext);
        }
        // `task` relies on it
        let miner = "m".repeat(MAX_MINER_BYTES);
        Task::new(TaskTerms {
            job: self.job.clone(),
            adapter: self.adapter,
            chunk: self.adapter,
            seed: [0; 32],
            miner,
        })?;
        let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
        if self.chain_id.is_empty() || self.chain_id.len() > 64 || !self.chain_id.chars().all(plain) {
            return Err(GenesisError::ChainId);
        }
        for address in self.addresses() {
            if canonical_address(address)? != *address {
                return Err(GenesisError::UpperCase(address.clone()));
            }
        }
        let is_validator = |address: &str| {
            let mut nodes = self.nodes.iter().filter(|(node, ..)| node == address);
            nodes.any(|(_, stake, roles)| *stake >= self.params.min_stake && roles.contains(&VALIDATOR))
        };
        let mut keys = BTreeSet::new();
        if let Some((address, _)) =
            self.consensus_keys.iter().find(|(address, key)| !is_validator(address) || !keys.insert(**key))
        {
            return Err(GenesisError::ConsensusKey(address.clone()));
        }
        match self.supply() {
            Some(supply) if supply <= 1 << 63 => Ok(()),
            _ => Err(GenesisError::Coins),
        }
    }

    fn addresses(&self) -> impl Iterator<Item = &String> {
        self.accounts.iter().map(|(address, _)| address).chain(self.nodes.iter().map(|(address, ..)| address))
    }

    /// Returns the sum of all balances and stakes in micro-units; `None` if it exceeds 2^64 − 1.
    pub(super) fn supply(&self) -> Option<u64> {
        let balances = self.accounts.iter().map(|(_, balance)| *balance);
        balances.chain(self.nodes.iter().map(|(_, stake, _)| *stake)).try_fold(0u64, u64::checked_add)
    }

    /// Returns the SHA-256 hash of the genesis in canonical DAG-CBOR.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(dag_cbor::encode(FORMAT, self)).into()
    }

    /// Returns the genesis as DAG-JSON, the format of genesis files. A CID is written as `{"/": "bafy…"}`, and bytes
    /// are written as `{"/": {"bytes": "…"}}`.
    pub fn to_json(&self) -> String {
        let json = serde_ipld_dagjson::to_vec(self).expect("the same value that DAG-CBOR holds");
        String::from_utf8(json).expect("JSON is UTF-8")
    }

    /// Reads a genesis in the format that [`to_json`](Self::to_json) writes, and validates it. The whitespace and the
    /// order of the keys may differ, and addresses may be in upper case; the returned genesis has them in lower case.
    pub fn from_json(json: &[u8]) -> Result<Self, GenesisError> {
        if json.len() > MAX_JSON_BYTES {
            return Err(GenesisError::Malformed(format!(
                "the file has {} bytes, more than {MAX_JSON_BYTES}",
                json.len()
            )));
        }
        let mut genesis: Self =
            serde_ipld_dagjson::from_slice(json).map_err(|error| GenesisError::Malformed(error.to_string()))?;
        let accounts = genesis.accounts.iter_mut().map(|(address, _)| address);
        for address in accounts.chain(genesis.nodes.iter_mut().map(|(address, ..)| address)) {
            *address = canonical_address(address)?;
        }
        let keys = std::mem::take(&mut genesis.consensus_keys).into_iter();
        genesis.consensus_keys =
            keys.map(|(address, key)| Ok((canonical_address(&address)?, key))).collect::<Result<_, TxError>>()?;
        genesis.validate()?;
        Ok(genesis)
    }

    /// Returns the CID of the chunk that belongs to the chunk slot at `position`. Each round has one chunk slot for
    /// each gradient that it needs. The position of a chunk slot is its number, counted over all rounds.
    pub fn chunk(&self, position: u64) -> Cid {
        self.chunks[chunk_number(position, self.chunks.len() as u64) as usize]
    }

    /// Returns the positions of a round's chunk slots, which are numbered consecutively over all rounds.
    pub fn positions(&self, round: u64) -> std::ops::Range<u64> {
        let quota = u64::from(self.quota);
        let start = round.saturating_mul(quota);
        start..start.saturating_add(quota)
    }

    /// Returns the task that a miner must compute after it has claimed the chunk slot at `position` of a round.
    /// `adapter` is the adapter from which the round starts.
    pub fn task(&self, round: u64, adapter: Cid, position: u64, miner: &str) -> Result<Task, ProtocolError> {
        let seed = Sha256::new().chain_update("r3mes/job-seed/1").chain_update(self.seed);
        let seed = seed.chain_update(round.to_le_bytes()).chain_update(position.to_le_bytes()).finalize().into();
        let (job, chunk, miner) = (self.job.clone(), self.chunk(position), miner.to_owned());
        Task::of_checked_job(TaskTerms { job, adapter, chunk, seed, miner })
    }
}

/// Returns the index of the chunk of training text that belongs to the chunk slot at `position`. The slots are numbered
/// over all rounds, and `chunks` is the number of chunks in the text. The chunks of neighboring positions are far apart
/// in the text. Every chunk occurs once before any chunk occurs again.
///
/// From one position to the next, the index grows by a fixed step, modulo `chunks`. The step is the smallest positive
/// number that is at least `⌊0.618 · chunks⌋` and has no common factor with `chunks`.
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
