//! The state: tables of rows, each a value under a key. A copy shares everything with its original and costs nothing;
//! two states are compared by what they do not share.

use super::genesis::Genesis;
use crate::{
    dispute::judge::{Dispute, Hash},
    protocol::Commitment,
    store::Cid,
};
use imbl::{OrdMap, ordmap::DiffItem};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::sync::Arc;

/// A change of a row, or the whole of it: the table and the key, and the value, in canonical DAG-CBOR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateRow {
    /// `[table, key]`.
    pub key: Vec<u8>,
    /// `None` where the row is gone.
    pub value: Option<Vec<u8>>,
}

/// Rows that are no state of this ledger.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a state of this ledger: {0}")]
pub struct InvalidRow(pub(super) String);

macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident: $key:ty => $value:ty,)*) => {
        /// All that a ledger knows.
        #[derive(Clone, Debug, PartialEq)]
        pub struct State {
            pub(super) genesis: Arc<Genesis>,
            $($(#[$doc])* pub(super) $name: OrdMap<$key, $value>,)*
        }

        impl State {
            pub(super) fn empty(genesis: Arc<Genesis>) -> Self {
                Self { genesis, $($name: OrdMap::new(),)* }
            }

            /// What makes `before` this state.
            pub(super) fn changes(&self, before: &Self) -> Vec<StateRow> {
                let mut rows = Vec::new();
                $(changes(stringify!($name), &before.$name, &self.$name, &mut rows);)*
                rows
            }

            /// Puts a row in that [`Self::changes`] made.
            pub(super) fn insert(&mut self, row: &StateRow) -> Result<(), InvalidRow> {
                let table = table(&row.key)?;
                match table.as_str() {
                    $(stringify!($name) => insert(&mut self.$name, row),)*
                    _ => Err(InvalidRow(format!("a table {table:?}"))),
                }
            }
        }
    };
}

tables! {
    /// What there is one of.
    head: () => ChainState,
    accounts: String => Account,
    /// (granter, grantee, type URL of a message) → expiry.
    grants: (String, String, String) => u64,
    /// (granter, grantee) → what fees may take.
    allowances: (String, String) => FeeAllowance,
    /// (when an end is a day past, granter, grantee, type URL, empty for an allowance): what is forgotten then.
    ends: (u64, String, String, String) => (),
    /// Account → fees that the pool paid for it.
    pooled: String => u64,
    /// (granter, grantee) → openings and revocations between them.
    sessions: (String, String) => u64,
    /// Nodes with roles.
    nodes: String => Registration,
    /// (height, node) → stake that comes back then.
    unbonding: (u64, String) => u64,
    /// What miners are known for.
    reputations: String => Reputation,
    /// Where the positions of this round stand; those that nobody has are not there.
    chunk_slots: u64 => ChunkSlot,
    /// Miner → the position that it holds.
    held: String => u64,
    submissions: u64 => Submission,
    /// (miner, number) of each submission that is kept.
    submitted: (String, u64) => (),
    /// Commitment → its submission.
    commitments: Commitment => u64,
    /// Recomputations that are under way.
    challenges: u64 => Challenge,
    /// Disputes that are under way.
    disputes: u64 => DisputeCase,
    /// Aggregates of this round that proposers committed to.
    proposals: u64 => Proposal,
    /// Rounds whose adapters are kept, and the present one.
    rounds: u64 => Round,
}

/// The scalars of a ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainState {
    /// Of the last block.
    pub height: u64,
    /// Of the last block.
    pub time: u64,
    /// Of the last block.
    #[serde(with = "serde_bytes")]
    pub hash: [u8; 32],
    /// Rounds closed.
    pub round: u64,
    /// Accepted in this round.
    pub accepted_in_round: u32,
    /// Block from which on the round is full.
    pub full_since: Option<u64>,
    /// Accepted ever.
    pub accepted_total: u64,
    /// Submissions ever.
    pub submissions: u64,
    /// Challenges ever.
    pub challenges: u64,
    /// Disputes ever.
    pub disputes: u64,
    /// Registrations ever.
    pub registrations: u64,
    /// Aggregates proposed ever.
    pub proposals: u64,
    /// Micro-units made: those of the genesis, and rewards.
    pub minted: u64,
    /// Micro-units taken for ever: fees, bonds of claims that ran out, penalties.
    pub burned: u64,
    /// Of these, fees.
    pub fees: u64,
    /// Of these, what the pool paid in this block.
    pub pooled: u64,
}

/// An account; one that is not there owns nothing and sent nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// Transactions sent.
    pub sequence: u64,
    /// Micro-units.
    pub balance: u64,
    /// Who is paid for what it mines, where that is another.
    pub payout: Option<String>,
}

/// A fee allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeeAllowance {
    /// Micro-units.
    pub left: u64,
    /// Seconds since 1970.
    pub expires: u64,
}

/// A node with roles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// Its number.
    pub id: u64,
    /// Ascending, of 1 to 4.
    pub roles: Vec<u32>,
    /// Micro-units that answer for it.
    pub stake: u64,
}

/// What a miner is known for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reputation {
    /// Ten-thousandths; 5000 at first.
    pub trust: u32,
    /// Gradients accepted.
    pub accepted: u64,
    /// Gradients rejected.
    pub rejected: u64,
    /// Micro-units of rewards that wait for the end of probation.
    pub escrow: u64,
    /// Heights of its last submissions, at most ten.
    pub recent: Vec<u64>,
    /// Last block in which it may claim nothing, since its GPU computed wrongly.
    pub quarantined: u64,
}

/// Where a position of the round stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChunkSlot {
    /// By one or more.
    Claimed(Vec<Claim>),
    /// And not settled yet.
    Submitted(u64),
    /// This submission counts.
    Accepted(u64),
}

/// A claim to a position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Whose.
    pub miner: String,
    /// Seconds since 1970.
    pub since: u64,
    /// Seconds since 1970.
    pub expires: u64,
    /// Micro-units locked.
    pub bond: u64,
}

/// A gradient that somebody says to have computed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// Whose.
    pub miner: String,
    /// Of which round.
    pub round: u64,
    /// Of which position.
    pub position: u64,
    /// Root of its artifact.
    pub artifact: Cid,
    /// To task and gradient.
    pub commitment: Commitment,
    /// Unused before by this miner in this round.
    pub nonce: u64,
    /// Block that it came in.
    pub height: u64,
    /// Block that it counts since: that of its acceptance, or where its last dispute ended.
    pub accepted: Option<u64>,
    /// Verifiers by whose word it counts, who answer for it too.
    pub attested_by: Vec<String>,
    /// Where it stands.
    pub status: SubmissionStatus,
}

/// Where a submission stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubmissionStatus {
    /// A block to come draws whether it is recomputed.
    Pending,
    /// Verifiers were sampled.
    Challenged(u64),
    /// It counts and is paid.
    Accepted,
    /// It counted, until somebody doubted it.
    Disputed,
    /// Its miner took it back.
    Withdrawn,
    /// It does not count.
    Rejected(Finding),
}

/// What a recomputation finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// The same bytes.
    Match,
    /// Others.
    Mismatch,
    /// Its blocks are not to be had.
    Unavailable,
}

/// A recomputation that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Challenge {
    /// Of what.
    pub submission: u64,
    /// How it stands.
    pub stage: ChallengeStage,
    /// The block after which the stage ends, done or not.
    pub until: u64,
    /// What chooses the leaf of the trace that verifiers show: the hash of the block that drew them.
    #[serde(with = "serde_bytes")]
    pub selector: [u8; 32],
    /// Who was sampled.
    pub sampled: Vec<Sampled>,
    /// Who was sampled before them and agreed, where this is a trap.
    pub first: Vec<Sampled>,
    /// Who found a mismatch and lost the game about it, and whose answer stood.
    pub defended: Vec<(String, String)>,
    /// Words of validators who decide, where the sampled disagree.
    pub votes: Vec<Vote>,
}

/// How a challenge stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChallengeStage {
    /// The sampled seal what they find.
    Commit,
    /// They show it.
    Reveal,
    /// All validators decide.
    Panel,
    /// It is rejected, unless somebody appeals.
    Appeal,
    /// The disputes about it decide.
    Contested,
}

/// A dispute that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DisputeCase {
    /// About what.
    pub submission: u64,
    /// Who doubts it.
    pub challenger: String,
    /// Micro-units locked; `None` where it is a sampled verifier's word that is doubted, for which its stake answers.
    pub bond: Option<u64>,
    /// Who gave each answer, and the micro-units that it locked.
    pub answers: Vec<(String, u64)>,
    /// The games.
    pub dispute: Dispute,
}

/// A verifier that was sampled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sampled {
    /// Who.
    pub verifier: String,
    /// What it committed.
    pub committed: Option<serde_bytes::ByteBuf>,
    /// What it found.
    pub finding: Option<Finding>,
    /// The leaf that it showed.
    pub leaf: String,
}

/// A validator's word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vote {
    /// Whose.
    pub validator: String,
    /// Whether the gradient is right.
    pub valid: bool,
    /// The leaf that it computed.
    pub leaf: String,
}

/// An aggregate that a proposer committed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// Whose.
    pub proposer: String,
    /// What it committed, hexadecimal.
    pub committed: String,
    /// Block that it came in.
    pub height: u64,
    /// Numbers of the gradients that it adds up, ascending: those whose bytes it could get.
    pub ids: Vec<u64>,
    /// The next adapter, once it is shown.
    pub adapter: Option<Cid>,
    /// With it, the root of what it is packed as.
    pub layout_root: Option<Hash>,
}

/// A round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Round {
    /// Root of the adapter that it starts from.
    pub adapter: Cid,
    /// Root of what that is layout_root as: see [`AdapterLayout`](crate::dispute::prover::AdapterLayout).
    pub layout_root: Hash,
    /// Hash of the block that it began with, known to every miner of it.
    #[serde(with = "serde_bytes")]
    pub hash: [u8; 32],
}

impl Reputation {
    pub(super) const NEW: Self =
        Self { trust: 5_000, accepted: 0, rejected: 0, escrow: 0, recent: Vec::new(), quarantined: 0 };
}

impl State {
    pub(super) fn head(&self) -> &ChainState {
        self.head.get(&()).expect("a state has a head from its genesis on")
    }

    pub(super) fn head_mut(&mut self) -> &mut ChainState {
        self.head.get_mut(&()).expect("a state has a head from its genesis on")
    }

    pub(super) fn account(&self, address: &str) -> Account {
        self.accounts.get(address).cloned().unwrap_or_default()
    }

    pub(super) fn account_mut(&mut self, address: &str) -> &mut Account {
        self.accounts.entry(address.to_owned()).or_default()
    }

    /// A miner's submissions that are kept, with their numbers, ascending.
    pub(super) fn submissions_of(&self, miner: &str) -> impl Iterator<Item = (u64, &Submission)> {
        let all = self.submitted.range((miner.to_owned(), 0)..=(miner.to_owned(), u64::MAX));
        all.filter_map(|((_, id), ())| Some((*id, self.submissions.get(id)?)))
    }

    pub(super) fn reputation_mut(&mut self, miner: &str) -> &mut Reputation {
        self.reputations.entry(miner.to_owned()).or_insert(Reputation::NEW)
    }

    /// The present round.
    pub(super) fn round(&self) -> &Round {
        self.rounds.get(&self.head().round).expect("the present round is kept")
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
    serde_ipld_dagcbor::to_vec(value).expect("our rows hold integers, strings, bytes, lists, maps and CIDs only")
}

/// Reads what [`encode`] wrote, and nothing else.
fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, InvalidRow> {
    let value = serde_ipld_dagcbor::from_slice(bytes).map_err(|error| InvalidRow(error.to_string()))?;
    match encode(&value) == bytes {
        true => Ok(value),
        false => Err(InvalidRow("another encoding of the same value is the canonical one".to_owned())),
    }
}
