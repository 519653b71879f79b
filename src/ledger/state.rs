//! The state: tables of rows in persistent maps. A row is a value under a key. A copy shares its maps with the original
//! and costs nothing; a comparison of two states visits only the parts that they do not share.

use super::genesis::Genesis;
use crate::{
    dispute::judge::{Dispute, Hash},
    protocol::{Commitment, ProtocolError, Task},
    store::Cid,
};
use imbl::{OrdMap, ordmap::DiffItem};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::sync::Arc;

/// A row, or the change of a row, in canonical DAG-CBOR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateRow {
    /// The pair `[table, key]`.
    pub key: Vec<u8>,
    /// The value; `None` if the row was removed.
    pub value: Option<Vec<u8>>,
}

/// Error returned when rows are not a state of this ledger.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a state of this ledger: {0}")]
pub struct InvalidRow(pub(super) String);

macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident: $key:ty => $value:ty,)*) => {
        /// The state of a ledger: the genesis, and the tables that blocks change.
        #[derive(Clone, Debug, PartialEq)]
        pub struct State {
            pub(super) genesis: Arc<Genesis>,
            $($(#[$doc])* pub(super) $name: OrdMap<$key, $value>,)*
        }

        impl State {
            pub(super) fn empty(genesis: Arc<Genesis>) -> Self {
                Self { genesis, $($name: OrdMap::new(),)* }
            }

            /// Returns the changes that turn `before` into this state.
            pub(super) fn changes(&self, before: &Self) -> Vec<StateRow> {
                let mut rows = Vec::new();
                $(changes(stringify!($name), &before.$name, &self.$name, &mut rows);)*
                rows
            }

            /// Applies one of the changes that [`Self::changes`] returned: inserts or removes a row.
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
    /// The last block, counters and totals, as one row.
    head: () => ChainHead,
    accounts: String => Account,
    /// (granter, grantee, type URL of a message) → expiry.
    grants: (String, String, String) => u64,
    /// (granter, grantee) → fee allowance.
    allowances: (String, String) => FeeAllowance,
    /// Grants and allowances to remove: (time of the removal, granter, grantee, type URL, which is empty for an
    /// allowance).
    ends: (u64, String, String, String) => (),
    /// Account → fees that the pool has paid for it, in micro-units.
    pooled: String => u64,
    /// (granter, grantee) → the number of openings and revocations between them.
    sessions: (String, String) => u64,
    /// Address of a node → its roles and stake.
    nodes: String => Registration,
    /// (height, node) → stake that is returned at this height.
    unbonding: (u64, String) => u64,
    /// Address of a miner → its reputation.
    reputations: String => Reputation,
    /// Position → the chunk slot of the current round at this position. Free slots have no row.
    chunk_slots: u64 => ChunkSlot,
    /// Address of a miner → position that it has claimed.
    held: String => u64,
    submissions: u64 => Submission,
    /// (miner, submission ID) of each stored submission.
    submitted: (String, u64) => (),
    /// Commitment → ID of the submission that states it.
    commitments: Commitment => u64,
    /// Challenge ID → open challenge.
    challenges: u64 => Challenge,
    /// Dispute ID → open dispute.
    disputes: u64 => DisputeCase,
    /// Commitment ID → aggregate of the current round to which a proposer committed.
    proposals: u64 => Proposal,
    /// Index → round: the current round, and closed rounds that are still stored.
    rounds: u64 => Round,
}

/// The values of which a state has only one: the last block, counters and totals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainHead {
    /// Height of the last block.
    pub height: u64,
    /// Time of the last block in seconds since 1970.
    pub time: u64,
    /// Hash of the last block.
    #[serde(with = "serde_bytes")]
    pub hash: [u8; 32],
    /// Index of the current round, which is the number of closed rounds.
    pub round: u64,
    /// The number of accepted gradients in this round.
    pub accepted_in_round: u32,
    /// Height since which the round has been full; `None` if it is not full.
    pub full_since: Option<u64>,
    /// The number of gradients that were accepted in all rounds.
    pub accepted_total: u64,
    /// The number of submissions so far, which is the ID of the latest one.
    pub submissions: u64,
    /// The number of challenges so far, which is the ID of the latest one.
    pub challenges: u64,
    /// The number of disputes so far.
    pub disputes: u64,
    /// The number of registrations so far.
    pub registrations: u64,
    /// The number of proposed aggregates so far, which is the ID of the latest one.
    pub proposals: u64,
    /// All micro-units ever minted: those of the genesis, and rewards.
    pub minted: u64,
    /// All micro-units ever burned: fees, bonds, penalties.
    pub burned: u64,
    /// How many of the burned micro-units were fees.
    pub fees: u64,
    /// Fees that the fee pool paid in this block, in micro-units.
    pub pooled: u64,
}

/// An account. An address without a row has the default account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// The number of transactions that the account has sent.
    pub sequence: u64,
    /// Balance in micro-units.
    pub balance: u64,
    /// Address of the account that receives the rewards; `None` if this account receives them.
    pub payout: Option<String>,
}

/// A fee allowance that one account granted to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeeAllowance {
    /// Micro-units that the grantee may still spend.
    pub left: u64,
    /// Expiry in seconds since 1970.
    pub expires: u64,
}

/// The registration of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// ID of the registration.
    pub id: u64,
    /// Roles, 1 to 4, ascending.
    pub roles: Vec<u32>,
    /// Stake in micro-units.
    pub stake: u64,
}

/// The reputation of a miner, which affects its sampling rate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reputation {
    /// Trust in points, 0 to 10,000; initially 5,000. Fewer points mean more recomputations.
    pub trust: u32,
    /// The number of accepted gradients.
    pub accepted: u64,
    /// The number of rejected gradients.
    pub rejected: u64,
    /// Rewards in escrow, in micro-units.
    pub escrow: u64,
    /// Heights of the miner's latest submissions, at most ten.
    pub recent: Vec<u64>,
    /// Height of the last block of the quarantine after a withdrawal, in which the miner may claim nothing.
    pub quarantined: u64,
}

/// A chunk slot of the round that is not free.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChunkSlot {
    /// Claimed by one or more miners.
    Claimed(Vec<Claim>),
    /// The gradient with this ID is submitted, and not settled yet.
    Submitted(u64),
    /// The gradient with this ID is accepted.
    Accepted(u64),
}

/// A claim to a chunk slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Address of the miner.
    pub miner: String,
    /// Time of the claim in seconds since 1970.
    pub since: u64,
    /// Expiry in seconds since 1970.
    pub expires: u64,
    /// Bond of the claim in micro-units; 0 if the miner claimed without one.
    pub bond: u64,
}

/// A submitted gradient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// Address of the miner.
    pub miner: String,
    /// Index of the round.
    pub round: u64,
    /// Position of the chunk slot.
    pub position: u64,
    /// CID of the artifact's root.
    pub artifact: Cid,
    /// The commitment to task and gradient.
    pub commitment: Commitment,
    /// A number that the miner has not used before in this round.
    pub nonce: u64,
    /// Height of the block with the submission.
    pub height: u64,
    /// Height of the block in which the gradient was accepted, or in which its last dispute was dismissed.
    pub accepted: Option<u64>,
    /// Verifiers whose attestations led to the acceptance, and which are slashed if the gradient proves wrong.
    pub attested_by: Vec<String>,
    /// Status of the submission.
    pub status: SubmissionStatus,
}

/// The status of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubmissionStatus {
    /// A later block decides whether the gradient is recomputed.
    Pending,
    /// Verifiers were sampled for the challenge with this ID.
    Challenged(u64),
    /// The gradient is accepted and paid.
    Accepted,
    /// The gradient was accepted, and is disputed now.
    Disputed,
    /// The miner withdrew the submission.
    Withdrawn,
    /// The gradient is rejected because of this finding.
    Rejected(Finding),
}

/// The result of a recomputation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// The submission commits to the right gradient.
    Match,
    /// The submission commits to a wrong gradient.
    Mismatch,
    /// The blocks of the artifact cannot be fetched.
    Unavailable,
}

/// The recomputation of a gradient by sampled verifiers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Challenge {
    /// ID of the submission.
    pub submission: u64,
    /// Stage of the challenge.
    pub stage: ChallengeStage,
    /// Height of the block at which the stage ends even if it is not complete.
    pub until: u64,
    /// Hash of the block that sampled the verifiers. It selects the leaf that they must reveal.
    #[serde(with = "serde_bytes")]
    pub selector: [u8; 32],
    /// The verifiers that are sampled for this challenge.
    pub sampled: Vec<SampledVerifier>,
    /// In a trap, the verifiers that were sampled first.
    pub first: Vec<SampledVerifier>,
    /// Verifiers that found a mismatch and lost the dispute about it, each with the account whose answer won.
    pub defended: Vec<(String, String)>,
    /// Votes of the validators, if the sampled verifiers disagree.
    pub votes: Vec<Vote>,
}

/// The stage of a challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChallengeStage {
    /// The sampled verifiers commit to their findings.
    Commit,
    /// The sampled verifiers reveal their findings.
    Reveal,
    /// The sampled verifiers disagree, and all validators vote.
    Panel,
    /// A mismatch was found, and the gradient will be rejected unless somebody appeals.
    Appeal,
    /// The disputes about the gradient decide.
    Contested,
}

/// An open dispute about a submission, with the bonds of its parties.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DisputeCase {
    /// ID of the submission.
    pub submission: u64,
    /// Address of the challenger.
    pub challenger: String,
    /// Bond in micro-units; `None` for a dispute that an appeal opened, in which the verifier's stake is at risk
    /// instead.
    pub bond: Option<u64>,
    /// For each answer, the address of the account that gave it and its bond in micro-units.
    pub answers: Vec<(String, u64)>,
    /// The disputed claim, and the games over the answers.
    pub dispute: Dispute,
}

/// A verifier that was sampled for a challenge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampledVerifier {
    /// Address of the verifier.
    pub verifier: String,
    /// The verifier's commitment, 32 bytes; `None` until it commits.
    pub committed: Option<serde_bytes::ByteBuf>,
    /// The finding that the verifier revealed; `None` until then.
    pub finding: Option<Finding>,
    /// The leaf that the verifier revealed, hexadecimal.
    pub leaf: String,
}

/// A validator's vote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vote {
    /// Address of the validator.
    pub validator: String,
    /// Whether the gradient is right, according to the validator.
    pub valid: bool,
    /// The leaf that the validator computed, hexadecimal.
    pub leaf: String,
}

/// An aggregate to which a proposer committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// Address of the proposer.
    pub proposer: String,
    /// The proposer's commitment, hexadecimal.
    pub committed: String,
    /// Height of the block with the commitment.
    pub height: u64,
    /// IDs of the gradients that the aggregate adds up, ascending: those whose bytes the proposer could fetch.
    pub ids: Vec<u64>,
    /// CID of the next adapter; `None` until the proposer reveals it.
    pub adapter: Option<Cid>,
    /// Layout root of the next adapter; `None` until the proposer reveals it.
    pub layout_root: Option<Hash>,
}

/// A round of training.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Round {
    /// CID of the adapter from which the round starts.
    pub adapter: Cid,
    /// Layout root of the adapter from which the round starts; see
    /// [`AdapterLayout`](crate::dispute::prover::AdapterLayout).
    pub layout_root: Hash,
    /// Hash of the block with which the round began, known to every miner of the round.
    #[serde(with = "serde_bytes")]
    pub hash: [u8; 32],
}

impl Reputation {
    pub(super) const NEW: Self =
        Self { trust: 5_000, accepted: 0, rejected: 0, escrow: 0, recent: Vec::new(), quarantined: 0 };
}

impl State {
    /// Returns the last block, the counters and the totals.
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

    /// Returns the stored submissions of a miner with their IDs, in ascending order.
    pub(super) fn submissions_of(&self, miner: &str) -> impl Iterator<Item = (u64, &Submission)> {
        let all = self.submitted.range((miner.to_owned(), 0)..=(miner.to_owned(), u64::MAX));
        all.filter_map(|((_, id), ())| Some((*id, self.submissions.get(id)?)))
    }

    pub(super) fn reputation_mut(&mut self, miner: &str) -> &mut Reputation {
        self.reputations.entry(miner.to_owned()).or_insert(Reputation::NEW)
    }

    /// Returns the current round.
    pub(super) fn round(&self) -> &Round {
        self.rounds.get(&self.head().round).expect("the current round is stored")
    }

    /// Returns the open disputes about a submission.
    pub(super) fn disputes_about(&self, submission: u64) -> impl Iterator<Item = &DisputeCase> {
        self.disputes.values().filter(move |case| case.submission == submission)
    }

    /// Returns whether a dispute about a submission is open.
    pub(super) fn is_disputed(&self, submission: u64) -> bool {
        self.disputes_about(submission).next().is_some()
    }

    /// Returns a miner's task at a position of the current round.
    pub(super) fn task(&self, position: u64, miner: &str) -> Result<Task, ProtocolError> {
        self.genesis.task(self.head().round, self.round().adapter, position, miner)
    }

    /// Returns the task of a submission. The submission's round is stored until the submission is settled.
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

/// Decodes a value. Fails for every encoding of the value except the one that [`encode`] writes.
fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, InvalidRow> {
    let value = serde_ipld_dagcbor::from_slice(bytes).map_err(|error| InvalidRow(error.to_string()))?;
    match encode(&value) == bytes {
        true => Ok(value),
        false => Err(InvalidRow("the encoding of a row is not the canonical one".to_owned())),
    }
}
