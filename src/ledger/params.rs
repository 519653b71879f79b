//! The rule profile: every number that a network may choose for itself. docs/LEDGER.md says why those chosen here.

use serde::{Deserialize, Serialize};

/// One in 2^16 is the unit of [`LedgerParams::sampling`]: so many are all.
pub const ALL: u32 = 1 << 16;
/// What shares of a stake are counted in.
pub const PER_MYRIAD: u64 = 10_000;

/// The rules of a network, in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerParams {
    /// Micro-units for an accepted gradient.
    pub reward: u64,
    /// Micro-units for each verifier whose word on a gradient was right.
    pub verifier_reward: u64,
    /// Seconds that a claim holds.
    pub claim_lifetime: u64,
    /// Seconds after which a claimed chunk may be claimed by another too, where no other is left: whoever submits first
    /// has it.
    pub claim_grace: u64,
    /// Miners that may hold one chunk.
    pub claims_per_chunk: u32,
    /// Micro-units that a claim locks: given back with the submission, lost where it runs out.
    pub claim_bond: u64,
    /// Of the chunks of a round, how many miners without the bond may hold at a time, in ten-thousandths.
    pub unbonded_share: u64,
    /// Closed rounds whose submissions and adapters are kept.
    pub retention_rounds: u64,
    /// Submissions of one miner in one block.
    pub submissions_per_block: u32,
    /// Submissions of one miner in any ten blocks.
    pub submissions_per_ten_blocks: u32,
    /// Leading zero bits of a submission's proof of work.
    pub proof_of_work_bits: u32,
    /// Blocks from a submission to the one that draws whether it is recomputed, at least 1; its miner may take it back
    /// before.
    pub draw_blocks: u64,
    /// How many submissions of [`ALL`] are recomputed.
    pub sampling: u32,
    /// Verifiers sampled for each of them.
    pub verifiers: u32,
    /// Blocks that verifiers have to commit, and then again to reveal.
    pub attestation_blocks: u64,
    /// Blocks that validators have to decide where verifiers disagree, and proposers to agree on an aggregate.
    pub decision_blocks: u64,
    /// How many recomputations of [`ALL`] that found a match are done once more, by others: sampled when the first have
    /// spoken.
    pub trap_share: u32,
    /// Blocks in which a gradient that counts may be disputed, and a finding appealed against; so long a full round waits.
    /// 0 is never.
    pub challenge_blocks: u64,
    /// Micro-units that a dispute locks: more than playing its task costs.
    pub dispute_bond: u64,
    /// Micro-units that an answer locks.
    pub answer_bond: u64,
    /// Blocks that each turn of a game has, and answers.
    pub move_blocks: u64,
    /// Disputes that one challenger may have open.
    pub disputes_per_challenger: u32,
    /// Blocks in which a miner that took its work back may claim nothing.
    pub quarantine_blocks: u64,
    /// Micro-units without which a node takes no part.
    pub min_stake: u64,
    /// Blocks until a stake that is withdrawn comes back.
    pub unbonding_blocks: u64,
    /// Of the stake, what a wrong word or gradient costs, in ten-thousandths.
    pub fraud_penalty: u64,
    /// Of the stake, what silence costs, in ten-thousandths.
    pub silence_penalty: u64,
    /// Micro-units that the [fee pool](super::fee_pool) pays for one account, ever.
    pub pool_allowance: u64,
    /// Micro-units that it pays for all in one block.
    pub pool_per_block: u64,
    /// Of a miner without stake, how many first gradients are all recomputed, and how many last rewards are in escrow,
    /// which it loses by a wrong one.
    pub probation: u64,
}

impl LedgerParams {
    /// One process, which is miner, verifier and sequencer at once: everything is recomputed, nothing is at stake.
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

    /// Many processes that do not trust each other.
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

    /// A share in ten-thousandths of an amount.
    pub(super) fn share(amount: u64, of_myriad: u64) -> u64 {
        (u128::from(amount) * u128::from(of_myriad.min(PER_MYRIAD)) / u128::from(PER_MYRIAD)) as u64
    }
}
