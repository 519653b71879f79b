//! The parameters of a network's rules. docs/LEDGER.md gives the reasons for the values that this file contains.

use serde::{Deserialize, Serialize};

/// The value of [`LedgerParams::sampling`] and [`LedgerParams::trap_share`] that stands for 100 %. The unit of both
/// parameters is 2^-16.
pub const ALL: u32 = 1 << 16;
/// The value that stands for 100 % in parameters that are shares of an amount, because they are stated in
/// ten-thousandths.
pub const PER_MYRIAD: u64 = 10_000;

/// The parameters of a network's rules. They are part of the genesis, and do not change later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerParams {
    /// Reward for an accepted gradient, in micro-units.
    pub reward: u64,
    /// Reward of a verifier for a correct attestation, in micro-units, for each seat, that is, for each time that the
    /// verifier was sampled for this recomputation (see [`SampledVerifier::seats`]). The miner of a wrong gradient pays
    /// this amount. For a correct gradient it is only a weight: the verifiers of all gradients share the budget of the
    /// round ([`LedgerParams::verification_budget`]) in proportion to these rewards.
    ///
    /// [`SampledVerifier::seats`]: super::SampledVerifier::seats
    pub verifier_reward: u64,
    /// The amount that is minted for verifiers, in micro-units for each settled gradient (a gradient that can no longer
    /// be rejected). It does not depend on how many of the gradients are recomputed.
    pub verification_budget: u64,
    /// The time from a claim to its expiry, in seconds.
    pub claim_lifetime: u64,
    /// The number of seconds after which a claimed chunk can be claimed by another miner too. This is possible only
    /// while no chunk of the round is free. The chunk then goes to the first miner that submits a gradient.
    pub claim_grace: u64,
    /// The maximum number of claims to one chunk that may be open at a time.
    pub claims_per_chunk: u32,
    /// Bond of a claim by a miner that has collateral (see [`LedgerParams::probation`]), in micro-units. It is returned
    /// when the gradient is accepted. The miner loses it if the claim expires or the gradient is wrong.
    pub claim_bond: u64,
    /// Bond of a claim by a miner that has no collateral, in micro-units. If the gradient is wrong, the verifiers are
    /// paid from it.
    pub newcomer_bond: u64,
    /// The share of a round's chunks that may be claimed without a bond, in ten-thousandths. If the share is not 0, it
    /// is at least one chunk. Miners that have neither collateral nor enough coins for a bond can claim these chunks. A
    /// chunk for which a gradient was submitted without a bond counts toward the share until the round ends, even if
    /// the gradient is rejected.
    pub unbonded_share: u64,
    /// The maximum number of claims without a bond in a block.
    pub unbonded_per_block: u32,
    /// The number of leading zero bits that the proof of work of a submission without a bond must have.
    pub unbonded_work_bits: u32,
    /// The number of closed rounds that are kept, with their submissions and adapters. Older rounds are deleted.
    pub retention_rounds: u64,
    /// The maximum number of submissions by one miner in a block.
    pub submissions_per_block: u32,
    /// The maximum number of submissions by one miner in any ten consecutive blocks.
    pub submissions_per_ten_blocks: u32,
    /// The number of leading zero bits that the proof of work of a submission must have; 0 if no proof is required.
    pub proof_of_work_bits: u32,
    /// The minimum length of an epoch of the [beacon](super::Beacon) in blocks. If it is 0, there is no beacon: every
    /// block has a random value, which is the hash of the block. The producer of a block can choose this hash.
    pub epoch_blocks: u64,
    /// The share of a validator's stake that is burned if the validator does not reveal its secret number for the
    /// beacon, in ten-thousandths.
    pub beacon_penalty: u64,
    /// Determines which random value decides whether a gradient is recomputed: 1 stands for the first random value
    /// after the submission of the gradient, 2 for the second, and so on. A setting of 0 has the same effect as 1. In a
    /// network with a beacon, 0 and 1 have the same effect as 2, because some of the secret numbers of the current
    /// epoch may already be known.
    pub draw_after: u64,
    /// The sampling rate: how many of [`ALL`] (65,536) submissions are recomputed on average.
    pub sampling: u32,
    /// The number of verifiers that are sampled to recompute one gradient.
    pub verifiers: u32,
    /// The number of blocks within which sampled verifiers must commit to their findings. They must then reveal the
    /// findings within the same number of blocks. Each other gradient that is being recomputed extends this time by a
    /// tenth. This and all other deadlines count only blocks with room for another transaction, and at most one block
    /// per second (see [`ChainHead::clock`](super::ChainHead::clock)).
    pub attestation_blocks: u64,
    /// A time limit, in blocks, for two decisions. If sampled verifiers disagree, the validators must vote within this
    /// time, which each other gradient that is being recomputed extends by a tenth. Once the gradients of a full round
    /// can no longer be disputed, the proposers must agree on the aggregate of the round within this time.
    pub decision_blocks: u64,
    /// The share of traps: how many of [`ALL`] (65,536) recomputations that found a match are repeated by other
    /// verifiers. The other verifiers are sampled after the first ones have revealed their findings.
    pub trap_share: u32,
    /// The number of blocks during which a gradient can be disputed after it is accepted. After a gradient is found to
    /// be wrong, an appeal is possible during the same number of blocks. A full round waits for this number of blocks
    /// before its aggregation. If the number is 0, disputes and appeals are possible only while validators vote.
    pub challenge_blocks: u64,
    /// Bond of a dispute in micro-units. It should exceed the cost of computing a task.
    pub dispute_bond: u64,
    /// Bond, in micro-units, of an answer (a statement that defends a gradient in a dispute).
    pub answer_bond: u64,
    /// The maximum length, in blocks, of each turn in the games of a dispute (exchanges of moves between the challenger
    /// and an account that defends the gradient). A new dispute accepts answers for the same number of blocks.
    pub move_blocks: u64,
    /// The maximum number of disputes by one challenger that may be open at a time.
    pub disputes_per_challenger: u32,
    /// The number of blocks for which a miner that has withdrawn a claim or a submission cannot claim any chunk.
    pub quarantine_blocks: u64,
    /// Minimum stake of a node in micro-units.
    pub min_stake: u64,
    /// The number of blocks from the end of a node's registration to the return of its stake.
    pub unbonding_blocks: u64,
    /// The share of a stake that is burned for a wrong attestation, vote, aggregate or gradient, in ten-thousandths.
    pub fraud_penalty: u64,
    /// The share of a stake that is burned if an attestation or a vote is missing, or if it states that the gradient
    /// cannot be recomputed (is unavailable), in ten-thousandths.
    pub silence_penalty: u64,
    /// The minimum fee of a transaction for each of its bytes, in micro-units.
    pub fee_per_byte: u64,
    /// The minimum fee of a transaction, in micro-units, for each row (a value under a key) that the transaction may
    /// add to the state. Rows that are removed after a few rounds, and rows for which the sender must lock coins, do
    /// not count.
    pub fee_per_row: u64,
    /// The maximum amount of fees that are [waived](super::fee_waiver) for one account in total, in micro-units.
    pub waiver_per_account: u64,
    /// The maximum amount of fees that are waived for all accounts together in one block, in micro-units.
    pub waiver_per_block: u64,
    /// The maximum time from the grant of a permission or of a fee allowance to its expiry, in seconds.
    pub max_grant_seconds: u64,
    /// The collateral that a miner needs, as a number of rewards: the miner must be able to lose this many rewards for
    /// a wrong gradient, either from its stake or from its rewards in escrow. If a miner has less collateral, all of
    /// its gradients are recomputed. The latest rewards of a miner without a sufficient stake are held in escrow until
    /// they reach this number.
    pub probation: u64,
}

impl LedgerParams {
    /// The parameters for a single process that contains the miner, the verifier and the sequencer. Every gradient is
    /// recomputed, and nobody has to lock a bond for a claim.
    pub const EMBEDDED: Self = Self {
        reward: 1_000_000,
        verifier_reward: 0,
        verification_budget: 0,
        claim_lifetime: 300,
        claim_grace: 30,
        claims_per_chunk: 3,
        claim_bond: 0,
        newcomer_bond: 0,
        unbonded_share: PER_MYRIAD,
        unbonded_per_block: u32::MAX,
        unbonded_work_bits: 0,
        retention_rounds: 8,
        submissions_per_block: 1,
        submissions_per_ten_blocks: 10,
        proof_of_work_bits: 0,
        epoch_blocks: 0,
        beacon_penalty: 0,
        draw_after: 1,
        sampling: ALL,
        verifiers: 1,
        attestation_blocks: 600,
        decision_blocks: 600,
        trap_share: 0,
        challenge_blocks: 0,
        dispute_bond: 4_000_000,
        answer_bond: 2_000_000,
        move_blocks: 600,
        disputes_per_challenger: 4,
        quarantine_blocks: 60,
        min_stake: 1_000_000,
        unbonding_blocks: 100,
        fraud_penalty: 5_000,
        silence_penalty: 0,
        fee_per_byte: 0,
        fee_per_row: 0,
        waiver_per_account: 200_000,
        waiver_per_block: 200_000,
        max_grant_seconds: 366 * 86_400,
        probation: 0,
    };

    /// The parameters for a network of many processes that do not trust each other.
    pub const NETWORK: Self = Self {
        verifier_reward: 800_000,
        verification_budget: 900_000,
        claim_bond: 100_000,
        newcomer_bond: 2_400_000,
        unbonded_share: 1_250,
        unbonded_per_block: 4,
        unbonded_work_bits: 22,
        submissions_per_ten_blocks: 9,
        epoch_blocks: 30,
        beacon_penalty: 50,
        draw_after: 2,
        sampling: ALL / 8,
        verifiers: 3,
        attestation_blocks: 60,
        decision_blocks: 120,
        trap_share: ALL / 16,
        challenge_blocks: 300,
        quarantine_blocks: 3_600,
        min_stake: 100_000_000,
        unbonding_blocks: 100_000,
        silence_penalty: 10,
        fee_per_byte: 1,
        fee_per_row: 5_000,
        probation: 16,
        ..Self::EMBEDDED
    };

    /// Returns a share of `amount`, rounded down. `of_myriad` is the share in ten-thousandths. If it is more than
    /// [`PER_MYRIAD`], the result is `amount`.
    pub(super) fn share(amount: u64, of_myriad: u64) -> u64 {
        (u128::from(amount) * u128::from(of_myriad.min(PER_MYRIAD)) / u128::from(PER_MYRIAD)) as u64
    }
}
