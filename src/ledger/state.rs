//! The state of the ledger: tables of rows, where a row is a value under a key. The tables are persistent maps, so a
//! copy of the state shares them with the original and costs nothing. Comparing two states visits only the parts that
//! they do not share.

use super::genesis::Genesis;
use crate::{
    dispute::judge::{Dispute, Hash},
    protocol::{Commitment, ProtocolError, Task},
    store::Cid,
};
use imbl::{OrdMap, ordmap::DiffItem};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
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
#[error("the rows are not a state of this ledger: {0}")]
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

            /// Inserts, replaces or removes one row, as stated by a row change that [`Self::changes`] returned.
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
    /// Fees that the fee pool has paid so far for an account, in micro-units, keyed by the account's address.
    paid_by_pool: String => u64,
    /// The number that the next session statement (a signed text that opens or closes a session) must carry, keyed by
    /// (granter, grantee). It counts how often a session between the two accounts was opened or closed, and how often a
    /// grant or a fee allowance was revoked.
    statement_numbers: (String, String) => u64,
    /// Registered nodes with their roles and stakes, keyed by address.
    nodes: String => Registration,
    /// Locked coins that a later block returns, in micro-units, keyed by (height of that block, address of the owner).
    unbonding: (u64, String) => u64,
    /// Reputations of miners, keyed by address.
    reputations: String => Reputation,
    /// Chunk slots of the current round, keyed by position. A free slot has no row.
    chunk_slots: u64 => ChunkSlot,
    /// Positions of the chunk slots that miners have claimed, keyed by the address of the miner.
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
    /// Aggregates of the current round to which proposers have committed, keyed by the ID of the commitment.
    proposals: u64 => Proposal,
    /// The current round and the closed rounds that are still stored, keyed by index.
    rounds: u64 => Round,
}

/// The values that a state has only once: the last block, the counters and the totals.
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
    /// Index of the current round, counted from 0. It equals the number of closed rounds.
    pub round: u64,
    /// The number of gradients that the current round has accepted. A disputed gradient does not count.
    pub accepted_in_round: u32,
    /// Height of the block in which the current round became full, that is, reached its quota of accepted gradients;
    /// `None` if it is not full.
    pub full_since: Option<u64>,
    /// The number of gradients accepted since the genesis, including those that were rejected later.
    pub accepted_total: u64,
    /// The number of submissions since the genesis. IDs count from 1, so this is also the ID of the latest submission.
    pub submissions: u64,
    /// The number of challenges (recomputations of submitted gradients) since the genesis. IDs count from 1, so this is
    /// also the ID of the latest challenge.
    pub challenges: u64,
    /// The number of disputes since the genesis. IDs count from 1, so this is also the ID of the latest dispute.
    pub disputes: u64,
    /// The number of node registrations since the genesis. IDs count from 1, so this is also the ID of the latest
    /// registration.
    pub registrations: u64,
    /// The number of proposed aggregates since the genesis. IDs count from 1, so this is also the ID of the latest
    /// proposal.
    pub proposals: u64,
    /// Total of all micro-units ever minted: the balances and stakes in the genesis, and all rewards.
    pub minted: u64,
    /// Total of all micro-units ever burned: fees, lost bonds and penalties, minus the bounties that were paid from
    /// them.
    pub burned: u64,
    /// The part of the burned micro-units that was paid as transaction fees.
    pub fees: u64,
    /// Fees that the fee pool has paid in the current block, in micro-units.
    pub paid_by_pool: u64,
}

/// An account. An address that has no row in the table of accounts has an account with the default values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// The number of transactions that the account has sent. The account's next transaction must state this number.
    pub sequence: u64,
    /// Balance in micro-units.
    pub balance: u64,
    /// Address of the account that receives the rewards for this account's gradients; `None` if this account receives
    /// them itself.
    pub payout: Option<String>,
}

/// An amount that one account (the granter) lets another account (the grantee) spend on transaction fees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeeAllowance {
    /// The amount that the grantee may still spend, in micro-units.
    pub remaining: u64,
    /// Time at which the allowance expires, in seconds since 1970.
    pub expires: u64,
}

/// What the ledger stores about a registered node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// ID of the registration. IDs count from 1; a later change of roles or stake keeps the ID.
    pub id: u64,
    /// IDs of the node's roles, in ascending order, each from 1 to 4. A validator has 3, and a proposer has 4.
    pub roles: Vec<u32>,
    /// Coins that the node has locked as its stake, in micro-units.
    pub stake: u64,
}

/// What the ledger knows about a miner's past gradients. Verifiers recompute more of a miner's gradients if its trust
/// is low.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reputation {
    /// Trust in points, from 0 to 10,000. A miner starts with 5,000; below that, more of its gradients are recomputed.
    pub trust: u32,
    /// The number of the miner's accepted gradients, without those that were rejected later.
    pub accepted: u64,
    /// The number of the miner's rejected gradients, whether wrong or unavailable.
    pub rejected: u64,
    /// Rewards that the ledger holds back, in micro-units. The miner loses them if one of its gradients is wrong.
    pub escrow: u64,
    /// Heights of the blocks with the miner's latest submissions, in ascending order. They serve to limit how many
    /// gradients a miner may submit in ten blocks.
    pub recent_heights: Vec<u64>,
    /// Height of the last block in which the miner cannot claim a chunk because it has withdrawn a claim or a
    /// submission; 0 if it never withdrew anything.
    pub quarantined_until: u64,
}

/// The state of a chunk slot that is not free. A chunk slot is the ledger's entry for one chunk in the current round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChunkSlot {
    /// One or more miners have claimed the chunk slot, and none has submitted a gradient yet.
    Claimed(Vec<Claim>),
    /// The gradient with this submission ID has been submitted, but neither accepted nor rejected yet.
    Submitted(u64),
    /// The gradient with this submission ID has been accepted.
    Accepted(u64),
}

/// The reservation of a chunk slot by a miner, for a limited time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Address of the miner that made the claim.
    pub miner: String,
    /// Time of the block in which the claim was made, in seconds since 1970.
    pub since: u64,
    /// Time at which the claim expires, in seconds since 1970.
    pub expires: u64,
    /// Bond that the miner locked for the claim, in micro-units; 0 for a claim without a bond.
    pub bond: u64,
}

/// What the ledger stores about a submitted gradient. The gradient itself is in the artifact, outside the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// Address of the miner that submitted the gradient.
    pub miner: String,
    /// Index of the round in which the gradient was submitted.
    pub round: u64,
    /// Position of the chunk slot that the miner had claimed. It determines the chunk.
    pub position: u64,
    /// CID of the root block of the artifact that contains the gradient.
    pub artifact: Cid,
    /// Commitment: a hash that binds the gradient to its task and to its miner.
    pub commitment: Commitment,
    /// A number above 0 that the miner chose. In one round, a miner may use the same number only once.
    pub nonce: u64,
    /// Height of the block that contains the submission.
    pub height: u64,
    /// Height of the block in which the gradient was accepted, or in which the last of its disputes was dismissed;
    /// `None` before the acceptance. The period in which it can be disputed begins at this block.
    pub accepted: Option<u64>,
    /// Addresses of the verifiers and voters that found a match. They are slashed if a dispute proves the accepted
    /// gradient wrong.
    pub attested_by: Vec<String>,
    /// How far the verification of the gradient has come.
    pub status: SubmissionStatus,
}

/// How far the verification of a submitted gradient has come, or how it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubmissionStatus {
    /// Nothing is decided yet: the hash of a later block decides whether verifiers recompute the gradient.
    Pending,
    /// Verifiers were sampled to recompute the gradient, in the challenge with this ID.
    Challenged(u64),
    /// The gradient is accepted, and its reward is paid or held in escrow.
    Accepted,
    /// The gradient was accepted, but a dispute about it is open now.
    Disputed,
    /// The miner withdrew the submission while it was pending.
    Withdrawn,
    /// The gradient is rejected: it is wrong (`Mismatch`), or its bytes cannot be fetched (`Unavailable`).
    Rejected(Finding),
}

/// What a verifier finds when it recomputes a submitted gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// The commitment of the recomputed gradient is the one in the submission: the submitted gradient is right.
    Match,
    /// The commitment of the recomputed gradient differs from that in the submission: the submitted gradient is wrong.
    Mismatch,
    /// The gradient cannot be checked, because the blocks of its artifact cannot be fetched.
    Unavailable,
}

/// The recomputation of one submitted gradient by sampled verifiers, with all that follows until it is settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Challenge {
    /// ID of the submission whose gradient is recomputed.
    pub submission: u64,
    /// The stage that the challenge has reached.
    pub stage: ChallengeStage,
    /// Height of the block at which the stage ends even if not all verifiers or voters have acted. Only open disputes
    /// extend the stage beyond this block.
    pub stage_ends: u64,
    /// Hash of the block that sampled the verifiers. It selects the tile (a part of the gradient) whose digest they
    /// must reveal.
    #[serde(with = "serde_bytes")]
    pub selector: [u8; 32],
    /// The verifiers that were sampled for the current recomputation, without those that were removed because they
    /// failed to commit or reveal in time.
    pub sampled: Vec<SampledVerifier>,
    /// The verifiers of the first recomputation, if the challenge became a trap (a second recomputation by other
    /// verifiers); otherwise empty.
    pub first_recomputation: Vec<SampledVerifier>,
    /// The disputes that verifiers lost over their finding of a mismatch, each as (address of the verifier, address of
    /// the account that defended the gradient).
    pub lost_disputes: Vec<(String, String)>,
    /// Votes of the validators about the gradient. They vote only if the sampled verifiers disagree.
    pub votes: Vec<Vote>,
}

/// The stages of a challenge. The next step of a challenge depends on its stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChallengeStage {
    /// Each sampled verifier sends a hash that commits it to its finding.
    Commit,
    /// Each sampled verifier reveals the finding to which it committed.
    Reveal,
    /// The sampled verifiers disagreed, and all validators vote.
    Panel,
    /// A mismatch was found. The gradient is rejected at the end of this stage unless somebody appeals.
    Appeal,
    /// The gradient has been disputed, and the disputes decide whether it is accepted or rejected.
    Contested,
}

/// An open dispute about a submitted gradient, with the bonds that its parties have locked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DisputeCase {
    /// ID of the submission whose gradient is disputed.
    pub submission: u64,
    /// Address of the account that claims that the gradient is wrong.
    pub challenger: String,
    /// The challenger's bond in micro-units; `None` if an appeal opened the dispute. In that case the challenger is a
    /// verifier, whose stake is at risk instead of a bond.
    pub bond: Option<u64>,
    /// The answers that defend the gradient, each as (address of the account that gave the answer, its bond in
    /// micro-units).
    pub answers: Vec<(String, u64)>,
    /// The disputed outcome of the task, and for each answer the game that the challenger plays against it.
    pub dispute: Dispute,
}

/// A verifier that was sampled to recompute a gradient, and what it has stated so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampledVerifier {
    /// Address of the sampled verifier.
    pub verifier: String,
    /// Hash of 32 bytes by which the verifier committed to its finding; `None` before that.
    pub committed: Option<serde_bytes::ByteBuf>,
    /// The finding that the verifier revealed; `None` before that.
    pub finding: Option<Finding>,
    /// The attestation leaf (a digest of one tile of the gradient) that the verifier revealed, in hexadecimal; empty
    /// before that.
    pub leaf: String,
}

/// The vote of a validator about a gradient on which the sampled verifiers disagree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vote {
    /// Address of the validator that voted.
    pub validator: String,
    /// True if the validator found that the gradient is right.
    pub valid: bool,
    /// The attestation leaf (a digest of one tile of the gradient) that the validator computed, in hexadecimal.
    pub leaf: String,
}

/// A proposer's aggregate of a round: the next adapter, to which the proposer first commits and which it later reveals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// Address of the proposer that committed to the aggregate.
    pub proposer: String,
    /// Hash by which the proposer committed to the aggregate, in hexadecimal.
    pub committed: String,
    /// Height of the block that contains the commitment. The aggregate must be revealed in a later block.
    pub height: u64,
    /// IDs of the submissions whose gradients the aggregate adds up, in ascending order. Gradients that the proposer
    /// could not fetch are left out.
    pub ids: Vec<u64>,
    /// CID of the adapter that results from the aggregate; `None` until the proposer reveals it.
    pub adapter: Option<Cid>,
    /// Layout root of the resulting adapter: the Merkle root over the buffers into which the adapter's factors are
    /// packed; `None` until the proposer reveals it.
    pub layout_root: Option<Hash>,
}

/// A round of training, in which the network collects gradients for one adapter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Round {
    /// CID of the adapter for which the round collects gradients.
    pub adapter: Cid,
    /// Layout root of the round's adapter: the Merkle root over the buffers into which the adapter's factors are
    /// packed; see [`AdapterLayout`](crate::dispute::prover::AdapterLayout).
    pub layout_root: Hash,
    /// Hash of the block with which the round began; in round 0, the hash of the genesis. The seed of the round and the
    /// miners' shards are derived from it.
    #[serde(with = "serde_bytes")]
    pub hash: [u8; 32],
}

impl Reputation {
    pub(super) const NEW: Self =
        Self { trust: 5_000, accepted: 0, rejected: 0, escrow: 0, recent_heights: Vec::new(), quarantined_until: 0 };
}

impl State {
    /// Returns the last block, the counters and the totals of the state.
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

    pub(super) fn reputation_mut(&mut self, miner: &str) -> &mut Reputation {
        self.reputations.entry(miner.to_owned()).or_insert(Reputation::NEW)
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

    /// Returns the task that a miner has to compute for the chunk slot at `position` of the current round.
    pub(super) fn task(&self, position: u64, miner: &str) -> Result<Task, ProtocolError> {
        self.genesis.task(self.head().round, self.round().adapter, position, miner)
    }

    /// Returns the task for which a gradient was submitted. The round of the submission, on which the task depends, is
    /// stored until the submission is settled.
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
