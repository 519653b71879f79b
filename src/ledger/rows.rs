//! The types of the values that the ledger's state contains. Their fields are stored by name, so renaming a field
//! changes the root hash of the state.

use crate::{
    dispute::judge::{Dispute, Hash},
    protocol::Commitment,
    store::Cid,
};
use serde::{Deserialize, Serialize};

/// The values that exist only once in the ledger's state: the last block, the counters and the totals.
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
    /// The number of blocks so far that had room for another transaction, and a later time than the block before. A
    /// deadline passes when this number reaches a certain value. Nobody can make a deadline pass sooner by sending
    /// transactions: full blocks do not count, and of several blocks in the same second, at most one counts.
    pub clock: u64,
    /// The number of seconds that passed while blocks had no room for another transaction. This time does not count
    /// toward the lifetime of a claim.
    pub paused_seconds: u64,
    /// The source of the random values that decide which gradients are recomputed, and by whom.
    pub beacon: Beacon,
    /// Index of the current round, counted from 0. It equals the number of closed rounds.
    pub round: u64,
    /// The number of gradients that the current round has accepted. A disputed gradient does not count.
    pub accepted_in_round: u32,
    /// Value of the [clock](Self::clock) (a count of blocks) when the current round became full, that is, reached its
    /// quota of accepted gradients; `None` if it is not full.
    pub full_since: Option<u64>,
    /// The number of gradients accepted since the genesis, including those that were rejected later.
    pub accepted_total: u64,
    /// The number of gradients settled since the genesis: accepted for good, so that their rewards were minted.
    pub settled_total: u64,
    /// The number of gradients that were submitted in the current round without a bond.
    pub unbonded_in_round: u64,
    /// The number of claims without a bond in the current block.
    pub unbonded_in_block: u32,
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
    /// Total of all micro-units ever minted: the balances and stakes in the genesis, and all minted rewards.
    pub minted: u64,
    /// Total of all micro-units ever burned: fees, lost bonds, lost escrows and slashed stakes, minus the bounties and
    /// the rewards of verifiers that were paid from them.
    pub burned: u64,
    /// The part of the minted micro-units that was paid to verifiers.
    pub minted_for_verifiers: u64,
    /// The part of the burned micro-units that was paid as transaction fees.
    pub fees: u64,
    /// Fees that were waived in the current block, in micro-units.
    pub waived_in_block: u64,
}

/// The beacon: the source of random values that no single party can predict or choose. In each epoch, every validator
/// reveals a secret number to which it committed in the epoch before. The random value of the epoch is a hash of the
/// previous random value and of all these numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beacon {
    /// Index of the current epoch, counted from 0.
    pub epoch: u64,
    /// Value of the [clock](ChainHead::clock) (a count of blocks) when the current epoch began.
    pub since: u64,
    /// The number of random values so far. Random values are numbered from 1, so this is also the number of the last
    /// one.
    pub values: u64,
    /// The last random value.
    #[serde(with = "serde_bytes")]
    pub value: [u8; 32],
}

/// What the ledger stores about the contribution of one validator to the beacon: the secret number that the validator
/// reveals in an epoch, and the hashes by which it committed to this number and to its next number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BeaconShare {
    /// Index of the epoch in which the validator must reveal its current secret number.
    pub epoch: u64,
    /// Hash of 32 bytes by which the validator committed to its current secret number, in the epoch before
    /// [`Self::epoch`].
    pub committed: serde_bytes::ByteBuf,
    /// The current secret number, 32 bytes; `None` until the validator has revealed it.
    pub revealed: Option<serde_bytes::ByteBuf>,
    /// Hash by which the validator committed to the secret number that it must reveal in the epoch after
    /// [`Self::epoch`]. The validator commits to this number when it reveals the current one. `None` until then, and
    /// also if the node has stopped being a validator.
    pub next: Option<serde_bytes::ByteBuf>,
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
    /// ID of the registration. IDs count from 1. A later change of the node's roles or stake does not change the ID.
    pub id: u64,
    /// IDs of the node's roles, in ascending order, each from 1 to 4. The role with ID 3 is validator, and the role
    /// with ID 4 is proposer.
    pub roles: Vec<u32>,
    /// Coins that the node has locked as its stake, in micro-units.
    pub stake: u64,
}

/// Who is liable for a gradient: an account that mines for itself, or a session key that mines for an account. If a
/// gradient of a session key is wrong, the account loses only the escrow of this session and the bond of the claim. A
/// thief of the session key therefore cannot destroy the stake and the escrow of the account itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Author {
    /// Address of the miner: the account for which the gradient was computed.
    pub miner: String,
    /// Address of the session key that acted for the miner; `None` if the miner acted for itself.
    pub session: Option<String>,
}

/// What the ledger knows about the past gradients of an [`Author`]. Verifiers recompute more gradients of an author
/// whose trust is low.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reputation {
    /// Trust in points, from 0 to 10,000. A miner starts with 5,000 points. If it has fewer, more of its gradients are
    /// recomputed.
    pub trust: u32,
    /// The number of the miner's accepted gradients, without those that were rejected later.
    pub accepted: u64,
    /// The number of the miner's rejected gradients, whether wrong or unavailable.
    pub rejected: u64,
    /// Rewards that the ledger holds back, in micro-units. The miner loses them if one of its gradients is wrong.
    pub escrow: u64,
    /// Heights of the blocks with the miner's latest submissions, in ascending order. They serve to limit how many
    /// gradients a miner may submit in ten blocks. Always empty for a session key, because its submissions count toward
    /// the limit of its miner.
    pub recent_heights: Vec<u64>,
    /// Last value of the [clock](ChainHead::clock) (a count of blocks) at which the miner cannot claim a chunk because
    /// it has withdrawn a claim or a submission; 0 if it has never withdrawn anything. Always 0 for a session key,
    /// because the value of its miner also applies to the session key.
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
    /// Who made the claim.
    pub author: Author,
    /// When the claim was made: the time of the block with the claim, in seconds since 1970, minus the value that
    /// [`ChainHead::paused_seconds`] (the seconds during which blocks were full) had then.
    pub since: u64,
    /// Time at which the claim expires. The claim is removed when the time of the last block, in seconds since 1970,
    /// minus [`ChainHead::paused_seconds`] (the seconds during which blocks were full) reaches this value.
    pub expires: u64,
    /// Bond that the miner locked for the claim, in micro-units; 0 for a claim without a bond.
    pub bond: u64,
    /// The [session number](super::State::session_number) of the miner and its session key when the claim was made; 0
    /// if the miner made the claim itself. This number grows whenever a session between the two accounts is opened or
    /// closed. The bond is returned to the fee allowance of the session only if the number is still the same.
    pub session_number: u64,
}

/// What the ledger stores about a submitted gradient. The gradient itself is in the artifact, outside the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// Address of the miner that submitted the gradient.
    pub miner: String,
    /// Address of the session key that submitted the gradient for the miner; `None` if the miner did so itself.
    pub session: Option<String>,
    /// Index of the round in which the gradient was submitted.
    pub round: u64,
    /// Position of the chunk slot that the miner had claimed, counted over all rounds. The position determines the
    /// chunk of text that the gradient is computed from.
    pub position: u64,
    /// CID of the root block of the artifact that contains the gradient.
    pub artifact: Cid,
    /// Commitment: a hash that binds the gradient to its task and to its miner.
    pub commitment: Commitment,
    /// A number above 0 that the miner chose. In one round, a miner must not use the same number again unless it has
    /// withdrawn the submission that states it.
    pub nonce: u64,
    /// Height of the block that contains the submission.
    pub height: u64,
    /// The number of the random value that decides whether the gradient is recomputed. The beacon numbers its random
    /// values from 1, and [`Beacon::values`] is the number of the last one.
    pub draw: u64,
    /// Bond of the claim, in micro-units. It stays locked until the gradient is accepted, rejected, withdrawn or
    /// voided.
    pub bond: u64,
    /// The [session number](super::State::session_number) of the miner and its session key when the claim was made; 0
    /// if the miner made the claim itself. This number grows whenever a session between the two accounts is opened or
    /// closed. The bond is returned to the fee allowance of the session only if the number is still the same.
    pub session_number: u64,
    /// Value of the [clock](ChainHead::clock) (a count of blocks) when the gradient was accepted, or when the last of
    /// its disputes was dismissed; `None` until it is accepted. The period in which the gradient can be disputed begins
    /// then.
    pub accepted: Option<u64>,
    /// The verifiers and voters that found a match, each as (address, reward in micro-units). They are paid when the
    /// gradient is settled, and slashed if a dispute proves the gradient wrong. The reward of a voter is 0.
    pub attested_by: Vec<(String, u64)>,
    /// How far the verification of the gradient has come.
    pub status: SubmissionStatus,
}

/// How far the verification of a submitted gradient has come, or how it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubmissionStatus {
    /// Nothing is decided yet: a later random value decides whether verifiers recompute the gradient.
    Pending,
    /// Verifiers were sampled to recompute the gradient, in the challenge with this ID.
    Challenged(u64),
    /// The gradient is accepted, but can still be rejected, so its reward has not been minted.
    Accepted,
    /// The gradient was accepted, but a dispute about it is open now.
    Disputed,
    /// The gradient is accepted for good. Its reward has been paid or added to the escrow.
    Settled,
    /// The miner withdrew the submission while it was pending.
    Withdrawn,
    /// The gradient is rejected: it is wrong (`Mismatch`), or its bytes cannot be fetched (`Unavailable`).
    Rejected(Finding),
    /// The gradient was pending or accepted when another gradient of the same miner was proven wrong. Nothing is paid
    /// for it.
    Voided,
}

/// What a verifier finds when it recomputes a submitted gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// The commitment of the recomputed gradient equals the commitment in the submission: the submitted gradient is
    /// correct.
    Match,
    /// The commitment of the recomputed gradient differs from the commitment in the submission: the submitted gradient
    /// is wrong.
    Mismatch,
    /// The gradient cannot be recomputed, because blocks of its task cannot be fetched. As the reason for a rejection,
    /// this value means that proposers with at least half of the stake could not fetch the artifact.
    Unavailable,
}

/// The recomputation of one submitted gradient by sampled verifiers, and what may follow until the gradient is accepted
/// or rejected: a second recomputation by other verifiers, a vote of all validators, and disputes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Challenge {
    /// ID of the submission whose gradient is recomputed.
    pub submission: u64,
    /// The stage that the challenge has reached.
    pub stage: ChallengeStage,
    /// Value of the [clock](ChainHead::clock) (a count of blocks) at which the stage ends even if not all verifiers or
    /// voters have acted. The stage lasts longer only while disputes about the gradient are open.
    pub stage_ends: u64,
    /// The random value by which the verifiers were sampled. It also selects the tile (a part of the gradient) whose
    /// digest the verifiers must reveal.
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
    /// The sampled verifiers found a match. The random value with this number (see [`Submission::draw`]) decides
    /// whether other verifiers must recompute the gradient once more.
    Draw(u64),
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
    /// What the judge knows about the dispute: the disputed outcome of the task, and for each answer the game between
    /// the challenger and the side that defends the answer.
    pub dispute: Dispute,
}

/// A verifier that was sampled to recompute a gradient, and what it has stated so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampledVerifier {
    /// Address of the sampled verifier.
    pub verifier: String,
    /// How often the verifier was sampled for this recomputation, at least 1. Its reward is multiplied by this number.
    pub seats: u64,
    /// Hash of 32 bytes by which the verifier committed to its finding; `None` until it has committed.
    pub committed: Option<serde_bytes::ByteBuf>,
    /// The finding that the verifier revealed; `None` until it has revealed the finding.
    pub finding: Option<Finding>,
    /// The attestation leaf (a digest of one tile of the gradient) that the verifier revealed, in hexadecimal; empty
    /// until the verifier has revealed it.
    pub leaf: String,
}

/// The vote of a validator about a gradient on which the sampled verifiers disagree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vote {
    /// Address of the validator that voted.
    pub validator: String,
    /// Whether the validator found that the gradient is correct, is wrong, or cannot be recomputed.
    pub finding: Finding,
    /// The attestation leaf (a digest of one tile of the gradient) that the validator computed, in hexadecimal.
    pub leaf: String,
}

/// A proposer's aggregate of a round: the sum of the round's gradients, and the next adapter that results from it. The
/// proposer first commits to its aggregate, and later reveals it.
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
    /// shard of each miner (a number from 0 to 99) are derived from it.
    #[serde(with = "serde_bytes")]
    pub hash: [u8; 32],
}

impl Author {
    /// Returns the author (the party that is liable for a gradient) of the gradients that a miner submits itself,
    /// without a session key.
    pub(super) fn own(miner: &str) -> Self {
        Self { miner: miner.to_owned(), session: None }
    }
}

impl Submission {
    pub(super) fn author(&self) -> Author {
        Author { miner: self.miner.clone(), session: self.session.clone() }
    }
}

impl Reputation {
    pub(super) const NEW: Self =
        Self { trust: 5_000, accepted: 0, rejected: 0, escrow: 0, recent_heights: Vec::new(), quarantined_until: 0 };
}
