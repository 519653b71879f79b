//! The parameters of a network's rules. docs/LEDGER.md gives the reasons for the values chosen here.

use serde::{Deserialize, Serialize};

/// The value that means "all" in [`LedgerParams::sampling`] and [`LedgerParams::trap_share`], whose unit is 2^-16.
pub const ALL: u32 = 1 << 16;
/// The value that means "the whole" in shares whose unit is one ten-thousandth.
pub const PER_MYRIAD: u64 = 10_000;

/// The parameters of a network's rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerParams {
    /// Reward for an accepted gradient, in micro-units.
    pub reward: u64,
    /// Reward of each sampled verifier for a right attestation, in micro-units.
    pub verifier_reward: u64,
    /// Seconds until a claim expires.
    pub claim_lifetime: u64,
    /// Seconds after which a claimed chunk may be claimed by other miners too, if no chunk is free. The miner that
    /// submits first gets the chunk.
    pub claim_grace: u64,
    /// The most claims to one chunk.
    pub claims_per_chunk: u32,
    /// Bond of a claim in micro-units: returned with the submission, burned if the claim expires.
    pub claim_bond: u64,
    /// Share of a round's chunks that miners without a bond may hold at a time, in ten-thousandths.
    pub unbonded_share: u64,
    /// The number of closed rounds whose submissions and adapters are kept.
    pub retention_rounds: u64,
    /// The most submissions of one miner in a block.
    pub submissions_per_block: u32,
    /// The most submissions of one miner in any ten consecutive blocks.
    pub submissions_per_ten_blocks: u32,
    /// Leading zero bits that a submission's proof of work must have.
    pub proof_of_work_bits: u32,
    /// The number of blocks from a submission to its sampling block, at least 1. Until then the miner may withdraw the
    /// submission.
    pub draw_blocks: u64,
    /// The sampling rate: how many of [`ALL`] submissions are recomputed.
    pub sampling: u32,
    /// The number of verifiers that are sampled for each recomputation.
    pub verifiers: u32,
    /// The number of blocks in which verifiers must commit, and then again in which they must reveal.
    pub attestation_blocks: u64,
    /// The number of blocks in which validators vote if verifiers disagree, and in which proposers agree on an
    /// aggregate.
    pub decision_blocks: u64,
    /// How many of [`ALL`] recomputations that found a match are repeated by other verifiers, which are sampled after
    /// the first verifiers revealed their findings.
    pub trap_share: u32,
    /// The number of blocks in which an accepted gradient may be disputed, and in which a finding may be appealed
    /// against. A full round waits as long for disputes. 0 permits neither disputes nor appeals.
    pub challenge_blocks: u64,
    /// Bond of a dispute in micro-units. It exceeds the cost of computing the task.
    pub dispute_bond: u64,
    /// Bond of an answer in micro-units.
    pub answer_bond: u64,
    /// The number of blocks for which each turn of a game lasts, and for which a dispute accepts answers.
    pub move_blocks: u64,
    /// The most open disputes of one challenger.
    pub disputes_per_challenger: u32,
    /// The number of blocks in which a miner may claim nothing after a withdrawal.
    pub quarantine_blocks: u64,
    /// Minimum stake of a node in micro-units.
    pub min_stake: u64,
    /// The number of blocks until the stake of a node that has unregistered is returned.
    pub unbonding_blocks: u64,
    /// Share of the stake that a wrong attestation, vote, aggregate or gradient costs, in ten-thousandths.
    pub fraud_penalty: u64,
    /// Share of the stake that a missing attestation costs, in ten-thousandths.
    pub silence_penalty: u64,
    /// The most micro-units that the [fee pool](super::fee_pool) pays for one account in total.
    pub pool_allowance: u64,
    /// The most micro-units that the fee pool pays for all accounts in one block.
    pub pool_per_block: u64,
    /// Length of the probation of a miner without a stake: this many of its first gradients are all recomputed, and as
    /// many of its latest rewards are in escrow, which it loses for a wrong gradient.
    pub probation: u64,
}

impl LedgerParams {
    /// The parameters for one process that is miner, verifier and sequencer: every gradient is recomputed, nothing is
    /// at stake.
    pub const EMBEDDED: Self = Self {
        reward: 1_000_000,
        verifier_reward: 0,
        claim_lifetime: 300,
        claim_grace: 30,
        claims_per_chunk: 3,
        claim_bond: 0,
        unbonded_share: PER_MYRIAD,
        retention_rounds: 8,
        submissions_per_block: 1,
        submissions_per_ten_blocks: 10,
        proof_of_work_bits: 0,
        draw_blocks: 1,
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
        pool_allowance: 1_000_000,
        pool_per_block: 10_000_000,
        probation: 0,
    };

    /// The parameters for many processes that do not trust each other.
    pub const NETWORK: Self = Self {
        verifier_reward: 800_000,
        claim_bond: 100_000,
        unbonded_share: 2_500,
        submissions_per_ten_blocks: 9,
        draw_blocks: 10,
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
        probation: 16,
        ..Self::EMBEDDED
    };

    /// Returns a share of an amount. The share is in ten-thousandths, at most [`PER_MYRIAD`].
    pub(super) fn share(amount: u64, of_myriad: u64) -> u64 {
        (u128::from(amount) * u128::from(of_myriad.min(PER_MYRIAD)) / u128::from(PER_MYRIAD)) as u64
    }
}
