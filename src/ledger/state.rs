//! The state of the ledger: tables of rows, where a row is a value under a key. The tables are persistent maps, so a
//! copy of the state shares them with the original and costs nothing. Comparing two states visits only the parts that
//! they do not share.

use super::{
    genesis::{ConsensusKey, Genesis},
    rows::{
        Account, Author, BeaconShare, ChainHead, Challenge, ChunkSlot, DisputeCase, FeeAllowance, Proposal,
        Registration, Reputation, Round, Submission,
    },
};
use crate::protocol::{Commitment, ProtocolError, Task};
use imbl::{OrdMap, ordmap::DiffItem};
use serde::{Serialize, de::DeserializeOwned};
use std::sync::Arc;

/// A row of the state, or the change of one row, encoded in canonical DAG-CBOR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateRow {
    /// The pair `[table, key]`: the name of the table, and the row's key in this table.
    pub key: Vec<u8>,
    /// The row's value; `None` if the change removes the row.
    pub value: Option<Vec<u8>>,
}

/// The error for rows that do not form a valid state of the ledger. It contains the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the rows (keys with their values) do not form a valid state of the ledger: {reason}", reason = .0)]
pub struct InvalidRow(pub(super) String);

macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident: $key:ty => $value:ty,)*) => {
        /// The state of a ledger: its genesis, and the tables that the blocks change.
        #[derive(Clone, Debug, PartialEq)]
        pub struct State {
            pub(super) genesis: Arc<Genesis>,
            $($(#[$doc])* pub(super) $name: OrdMap<$key, $value>,)*
        }

        impl State {
            pub(super) fn empty(genesis: Arc<Genesis>) -> Self {
                Self { genesis, $($name: OrdMap::new(),)* }
            }

            /// Returns the row changes that turn the state `before` into this state.
            pub(super) fn changes(&self, before: &Self) -> Vec<StateRow> {
                let mut rows = Vec::new();
                $(changes(stringify!($name), &before.$name, &self.$name, &mut rows);)*
                rows
            }

            /// Returns whether this state and `other` share the memory of all tables except `head` (the last block, the
            /// counters and the totals). Tables that were built separately do not count as shared, even if their rows
            /// are equal.
            #[cfg(feature = "compute")]
            pub(crate) fn differs_by_head(&self, other: &Self) -> bool {
                true $(&& (stringify!($name) == "head" || self.$name.ptr_eq(&other.$name)))*
            }

            /// Applies one of the row changes that [`Self::changes`] returned: inserts, replaces or removes a row.
            pub(super) fn insert(&mut self, row: &StateRow) -> Result<(), InvalidRow> {
                let table = table(&row.key)?;
                match table.as_str() {
                    $(stringify!($name) => insert(&mut self.$name, row),)*
                    _ => Err(InvalidRow(format!("unknown table {table:?}"))),
                }
            }
        }
    };
}

tables! {
    /// The table with a single row, which contains the last block, the counters and the totals.
    head: () => ChainHead,
    accounts: String => Account,
    /// Expiries of grants in seconds since 1970, keyed by (granter, grantee, type URL of the permitted message).
    grants: (String, String, String) => u64,
    /// Fee allowances, keyed by (granter, grantee).
    allowances: (String, String) => FeeAllowance,
    /// Scheduled removals of grants and fee allowances, keyed by (time in seconds since 1970, granter, grantee, type
    /// URL of the permitted message). The type URL is empty for a fee allowance.
    removals: (u64, String, String, String) => (),
    /// Fees that have been waived for an account so far, in micro-units, keyed by the account's address.
    waived: String => u64,
    /// The number that the next session statement (a signed text that opens or closes a session) must carry, keyed by
    /// (granter, grantee). It counts how often a session between the two accounts was opened or closed, how often a fee
    /// allowance was granted, and how often a grant or a fee allowance was revoked.
    statement_numbers: (String, String) => u64,
    /// Registered nodes with their roles and stakes, keyed by address.
    nodes: String => Registration,
    /// Public keys of the CometBFT processes of validators, keyed by the validator's address.
    consensus_keys: String => ConsensusKey,
    /// Voting powers of validators in CometBFT, keyed by the public key of the validator's CometBFT process. Empty if
    /// the genesis contains no consensus keys.
    voting_powers: ConsensusKey => u64,
    /// The contributions of validators to the beacon, keyed by address.
    beacon_shares: String => BeaconShare,
    /// Coins, in micro-units, that are returned to accounts later. They were the stake and the escrow of an account
    /// when it ended its roles. The key is (value of the clock at which the coins are returned, address of the
    /// account). The clock is a count of blocks.
    unbonding: (u64, String) => u64,
    /// Scheduled settlements (payments of rewards) of accepted gradients. The key is (value of the clock, ID of the
    /// submission). The clock is a count of blocks. When it reaches the value in the key, the gradient can no longer be
    /// disputed. The gradient is then settled, unless it is settled already, belongs to the current round, or is
    /// disputed.
    maturing: (u64, u64) => (),
    /// Rewards, in micro-units, that verifiers have earned but have not received yet, because the budget for
    /// verification does not cover them so far. The key is the address of the verifier.
    owed: String => u64,
    reputations: Author => Reputation,
    /// Chunk slots of the current round, keyed by position (the number of the slot, counted over all rounds). A free
    /// slot has no row.
    chunk_slots: u64 => ChunkSlot,
    /// Positions (numbers, counted over all rounds) of the chunk slots that miners have claimed, keyed by the address
    /// of the miner.
    claimed_positions: String => u64,
    submissions: u64 => Submission,
    /// Index for finding a miner's submissions: the keys (address of the miner, ID of the submission) of all stored
    /// submissions.
    submissions_by_miner: (String, u64) => (),
    /// IDs of submissions, keyed by the commitment that the submission states.
    commitments: Commitment => u64,
    /// Open challenges, keyed by ID.
    challenges: u64 => Challenge,
    /// Open disputes, keyed by ID.
    disputes: u64 => DisputeCase,
    /// Proposals of the current round, keyed by ID. In a proposal, a proposer commits to an aggregate: a sum of
    /// gradients, and the adapter that results from it.
    proposals: u64 => Proposal,
    /// The current round and the closed rounds that are still stored, keyed by index.
    rounds: u64 => Round,
}

impl State {
    /// Returns the height and the hash of the last block, and the counters and the totals of the state.
    pub fn head(&self) -> &ChainHead {
        self.head.get(&()).expect("a state has a head from its genesis on")
    }

    pub(super) fn head_mut(&mut self) -> &mut ChainHead {
        self.head.get_mut(&()).expect("a state has a head from its genesis on")
    }

    pub(super) fn account(&self, address: &str) -> Account {
        self.accounts.get(address).cloned().unwrap_or_default()
    }

    pub(super) fn account_mut(&mut self, address: &str) -> &mut Account {
        self.accounts.entry(address.to_owned()).or_default()
    }

    /// Returns the stored submissions of a miner, each with its ID, in ascending order of the IDs.
    pub(super) fn submissions_of(&self, miner: &str) -> impl Iterator<Item = (u64, &Submission)> {
        let all = self.submissions_by_miner.range((miner.to_owned(), 0)..=(miner.to_owned(), u64::MAX));
        all.filter_map(|((_, id), ())| Some((*id, self.submissions.get(id)?)))
    }

    pub(super) fn reputation_mut(&mut self, author: &Author) -> &mut Reputation {
        self.reputations.entry(author.clone()).or_insert(Reputation::NEW)
    }

    /// Returns the reputations of a miner: its own, if it has one, and those of the sessions that have mined for it.
    pub(super) fn reputations_of(&self, miner: &str) -> impl Iterator<Item = (&Author, &Reputation)> {
        let all = self.reputations.range(Author::own(miner)..);
        all.take_while(move |(author, _)| author.miner == miner)
    }

    pub(super) fn round(&self) -> &Round {
        self.rounds.get(&self.head().round).expect("the current round is stored")
    }

    /// Returns the open disputes about the gradient with this submission ID.
    pub(super) fn disputes_about(&self, submission: u64) -> impl Iterator<Item = &DisputeCase> {
        self.disputes.values().filter(move |case| case.submission == submission)
    }

    /// Returns whether any dispute about the gradient with this submission ID is open.
    pub(super) fn is_disputed(&self, submission: u64) -> bool {
        self.disputes_about(submission).next().is_some()
    }

    /// Returns the task that a miner must compute after it has claimed the chunk slot at `position` of the current
    /// round.
    pub(super) fn task(&self, position: u64, miner: &str) -> Result<Task, ProtocolError> {
        self.genesis.task(self.head().round, self.round().adapter, position, miner)
    }

    /// Returns the task for which a gradient was submitted. The task depends on the round in which the gradient was
    /// submitted. This round is stored until the submission is settled.
    pub(super) fn task_of(&self, submission: &Submission) -> Result<Task, ProtocolError> {
        let Submission { round, position, miner, .. } = submission;
        let adapter = self.rounds.get(round).unwrap_or(self.round()).adapter;
        self.genesis.task(*round, adapter, *position, miner)
    }
}

fn changes<K, V>(table: &'static str, before: &OrdMap<K, V>, after: &OrdMap<K, V>, rows: &mut Vec<StateRow>)
where
    K: Ord + Clone + Serialize,
    V: Clone + PartialEq + Serialize,
{
    if before.ptr_eq(after) {
        return;
    }
    for item in before.diff(after) {
        let (key, value) = match item {
            DiffItem::Add(key, value) | DiffItem::Update { new: (key, value), .. } => (key, Some(encode(value))),
            DiffItem::Remove(key, _) => (key, None),
        };
        rows.push(StateRow { key: encode(&(table, key)), value });
    }
}

fn insert<K, V>(table: &mut OrdMap<K, V>, row: &StateRow) -> Result<(), InvalidRow>
where
    K: Ord + Clone + Serialize + DeserializeOwned,
    V: Clone + Serialize + DeserializeOwned,
{
    let (_, key): (String, K) = decode(&row.key)?;
    match &row.value {
        Some(value) => table.insert(key, decode(value)?),
        None => table.remove(&key),
    };
    Ok(())
}

fn table(key: &[u8]) -> Result<String, InvalidRow> {
    let (table, _): (String, serde::de::IgnoredAny) =
        serde_ipld_dagcbor::from_slice(key).map_err(|error| InvalidRow(error.to_string()))?;
    Ok(table)
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    serde_ipld_dagcbor::to_vec(value).expect("rows hold integers, strings, bytes, lists, maps and CIDs only")
}

/// Decodes the key or the value of a row. Fails unless `bytes` is the canonical encoding, which [`encode`] writes.
fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, InvalidRow> {
    let value = serde_ipld_dagcbor::from_slice(bytes).map_err(|error| InvalidRow(error.to_string()))?;
    match encode(&value) == bytes {
        true => Ok(value),
        false => Err(InvalidRow("a row is not in the canonical encoding".to_owned())),
    }
}
