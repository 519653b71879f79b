//! Queries that tell miners, verifiers, proposers and challengers what they can do next.

use super::{
    Account, Author, Challenge, ChallengeStage, ChunkSlot, DisputeCase, Ledger, Proposal, Registration, Reputation,
    Round, State, Submission, SubmissionStatus,
    nodes::{PROPOSER, VALIDATOR},
    submissions::{global_seed, shard},
};
use crate::{
    protocol::{ProtocolError, Task},
    store::Cid,
};
use serde::{Deserialize, Serialize};

/// A claim that a miner holds, with the values that the miner's submission must contain.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldClaim {
    /// The task that the miner has claimed.
    pub task: Task,
    /// Index of the current round, in which the miner holds the claim.
    pub round: u64,
    /// Position of the claimed chunk slot: its number, counted over all rounds.
    pub position: u64,
    /// The shard (one of 100 groups of miners) to which the miner is assigned in this round: a number from 0 to 99.
    pub shard: u64,
    /// The seed of the round: a number that is the same for all miners.
    pub global_seed: u64,
    /// The number of leading zero bits that the proof of work of the submission must have; 0 if none is required.
    pub proof_of_work_bits: u32,
}

/// What one verifier must do in a challenge. In a challenge, sampled verifiers recompute one gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// ID of the challenge.
    pub challenge: u64,
    /// Stage of the challenge. It determines whether the verifier must commit, reveal or vote.
    pub stage: ChallengeStage,
    /// Whether the verifier has already done what the stage requires.
    pub done: bool,
    /// The commitment that the verifier has made to its finding, 32 bytes; `None` if it has not committed.
    pub committed: Option<Vec<u8>>,
    /// The number of blocks until the stage of the challenge ends.
    pub blocks_left: u64,
    /// The random value by which the verifiers were sampled. It also selects the tile (a part of the gradient) whose
    /// digest each verifier must state.
    pub selector: [u8; 32],
    /// ID of the submission whose gradient is recomputed.
    pub id: u64,
    /// The submission whose gradient is recomputed.
    pub submission: Submission,
}

/// What a validator must do in the current epoch for the beacon, the network's source of random values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeaconDuty {
    /// Index of the current epoch.
    pub epoch: u64,
    /// Whether the validator must reveal the secret number to which it committed for this epoch. If not, it only
    /// commits to its number for the next epoch.
    pub reveals: bool,
}

/// A gradient that can be contested now: by a dispute, or by an appeal against the finding that it is wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ContestableGradient<'a> {
    /// ID of the submission that contains the gradient.
    pub id: u64,
    /// The submission that contains the gradient.
    pub submission: &'a Submission,
    /// Whether a dispute about the gradient can be opened now.
    pub disputable: bool,
    /// ID of the challenge in which verifiers recomputed the gradient and found that it is wrong; `None` if there is no
    /// such challenge, or if an appeal against the finding is no longer possible.
    pub appealable: Option<u64>,
}

/// The data from which a proposer computes the aggregate of a full round.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregation {
    /// Index of the full round.
    pub round: u64,
    /// CID of the adapter from which the round started.
    pub adapter: Cid,
    /// The accepted gradients of the round, each as (ID of the submission, submission).
    pub gradients: Vec<(u64, Submission)>,
    /// Whether the time for fetching the gradients is over. If so, proposers should leave out the gradients whose bytes
    /// they cannot fetch; if not, they should try again.
    pub may_leave_out: bool,
    /// The aggregate to which the querying proposer has committed in the round, as (ID of the proposal, proposal);
    /// `None` if the proposer has not committed yet.
    pub own: Option<(u64, Proposal)>,
}

impl State {
    /// Returns the account of an address. If the address has no account yet, returns an empty one.
    pub fn account_of(&self, address: &str) -> Account {
        self.account(address)
    }

    /// Returns the number of all micro-units that exist: those of the accounts, and those that are locked.
    pub fn supply(&self) -> u64 {
        self.head().minted - self.head().burned
    }

    /// Returns a submission by its ID; `None` if it does not exist or is no longer stored.
    pub fn submission(&self, id: u64) -> Option<&Submission> {
        self.submissions.get(&id)
    }

    /// Returns an open dispute by its ID; `None` if there is no open dispute with this ID.
    pub fn dispute(&self, id: u64) -> Option<&DisputeCase> {
        self.disputes.get(&id)
    }

    /// Returns a miner's reputation. Its escrow and its numbers of accepted and rejected gradients include those of the
    /// session keys that have mined for the miner. If the miner has no reputation yet, returns the initial one.
    pub fn reputation(&self, miner: &str) -> Reputation {
        let own = self.reputations.get(&Author::own(miner)).cloned().unwrap_or(Reputation::NEW);
        let sessions = self.reputations_of(miner).filter(|(author, _)| author.session.is_some());
        sessions.fold(own, |sum, (_, of_session)| Reputation {
            escrow: sum.escrow + of_session.escrow,
            accepted: sum.accepted + of_session.accepted,
            rejected: sum.rejected + of_session.rejected,
            ..sum
        })
    }

    /// Returns whether a miner holds a claim.
    pub fn holds_claim(&self, miner: &str) -> bool {
        self.claim_of(miner).is_some()
    }

    /// Returns the registration of a node: its roles and its stake; `None` if the node is not registered.
    pub fn node(&self, address: &str) -> Option<&Registration> {
        self.nodes.get(address)
    }

    /// Returns a round by its index; `None` if it has not begun or is no longer stored.
    pub fn round_of(&self, round: u64) -> Option<&Round> {
        self.rounds.get(&round)
    }

    /// Returns the CID of the adapter from which the current round started.
    pub fn adapter(&self) -> Cid {
        self.round().adapter
    }

    /// Returns the CIDs of the root blocks of everything that a node must store: the chunks of the text, the adapters
    /// of the stored rounds, the artifacts of the stored submissions, and the adapters that proposers have revealed.
    /// Artifacts of withdrawn, voided and rejected submissions are not included.
    pub fn roots(&self) -> impl Iterator<Item = Cid> {
        let kept = |submission: &&Submission| {
            use SubmissionStatus::{Rejected, Voided, Withdrawn};
            !matches!(submission.status, Withdrawn | Voided | Rejected(_))
        };
        let chunks = self.genesis.chunks.iter().copied();
        let rounds = self.rounds.values().map(|round| round.adapter);
        let artifacts = self.submissions.values().filter(kept).map(|submission| submission.artifact);
        let proposed = self.proposals.values().filter_map(|proposal| proposal.adapter);
        chunks.chain(rounds).chain(artifacts).chain(proposed)
    }

    /// Returns all coins of an account in micro-units: its balance, its stake, its unbonding stake, its escrow, and the
    /// bonds that it has locked.
    pub fn wealth(&self, address: &str) -> u64 {
        let bond = self.claim_of(address).map_or(0, |claim| claim.bond);
        let bonds: u64 = self.submissions_of(address).map(|(_, submission)| submission.bond).sum();
        let locked = |case: &DisputeCase| {
            let own = if case.challenger == address { case.bond.unwrap_or_default() } else { 0 };
            own + case.answers.iter().filter(|(sender, _)| sender == address).map(|(_, bond)| bond).sum::<u64>()
        };
        self.account(address).balance
            + self.nodes.get(address).map_or(0, |node| node.stake)
            + self.unbonding.iter().filter(|((_, owner), _)| owner == address).map(|(_, stake)| stake).sum::<u64>()
            + self.reputation(address).escrow
            + bond
            + bonds
            + self.disputes.values().map(locked).sum::<u64>()
    }

    /// Returns the sum of all coins in the state, in micro-units. It always equals the minted coins minus the burned
    /// coins.
    pub fn coins(&self) -> u128 {
        let bonds = self.chunk_slots.values().flat_map(|slot| match slot {
            ChunkSlot::Claimed(claims) => claims.as_slice(),
            ChunkSlot::Submitted(_) | ChunkSlot::Accepted(_) => &[],
        });
        let (accounts, nodes) = (self.accounts.values(), self.nodes.values());
        accounts.map(|account| account.balance).chain(nodes.map(|node| node.stake)).map(u128::from).sum::<u128>()
            + bonds.map(|claim| u128::from(claim.bond)).sum::<u128>()
            + self.disputes.values().map(DisputeCase::locked).sum::<u128>()
            + self.unbonding.values().map(|stake| u128::from(*stake)).sum::<u128>()
            + self.reputations.values().map(|reputation| u128::from(reputation.escrow)).sum::<u128>()
            + self.submissions.values().map(|submission| u128::from(submission.bond)).sum::<u128>()
    }
}

impl Ledger {
    /// Returns the claim that a miner holds, or `None` if it holds no claim.
    pub fn held(&self, miner: &str) -> Result<Option<HeldClaim>, ProtocolError> {
        let state = self.state();
        let Some(position) = state.claimed_positions.get(miner).copied() else { return Ok(None) };
        let (round, began) = (state.head().round, &state.round().hash);
        let (shard, global_seed) = (shard(miner, began, round), global_seed(began, round));
        let proof_of_work_bits = state.claim_of(miner).map_or(0, |claim| state.proof_of_work_bits(claim));
        let task = state.task(position, miner)?;
        Ok(Some(HeldClaim { task, round, position, shard, global_seed, proof_of_work_bits }))
    }

    /// Returns the tasks of all claims and of all stored submissions.
    pub fn tasks(&self) -> Result<Vec<Task>, ProtocolError> {
        let state = self.state();
        let mut tasks = Vec::new();
        for (position, slot) in &state.chunk_slots {
            let ChunkSlot::Claimed(claims) = slot else { continue };
            for claim in claims {
                tasks.push(state.task(*position, &claim.author.miner)?);
            }
        }
        // without the adapter of its round, a task cannot be computed
        let kept = state.submissions.values().filter(|submission| state.rounds.contains_key(&submission.round));
        for submission in kept {
            tasks.push(state.task_of(submission)?);
        }
        Ok(tasks)
    }

    /// Returns what a verifier must do in each open challenge, ordered by the ID of the challenge.
    pub fn assignments(&self, verifier: &str) -> Vec<Assignment> {
        let state = self.state();
        let sampled =
            |challenge: &Challenge| challenge.sampled.iter().find(|sampled| sampled.verifier == verifier).cloned();
        let mine = |challenge: &Challenge| {
            let sampled = sampled(challenge);
            match challenge.stage {
                ChallengeStage::Commit => sampled.map(|sampled| sampled.committed.is_some()),
                ChallengeStage::Reveal => sampled.map(|sampled| sampled.finding.is_some()),
                ChallengeStage::Draw(_) | ChallengeStage::Appeal | ChallengeStage::Contested => None,
                ChallengeStage::Panel => {
                    let validator = state.nodes_of(VALIDATOR).any(|(address, _)| address == verifier);
                    validator.then(|| challenge.votes.iter().any(|vote| vote.validator == verifier))
                }
            }
        };
        let mut all = Vec::new();
        for (id, challenge) in &state.challenges {
            let (Some(done), Some(submission)) = (mine(challenge), state.submission(challenge.submission)) else {
                continue;
            };
            let (stage, selector) = (challenge.stage, challenge.selector);
            let committed =
                sampled(challenge).and_then(|sampled| sampled.committed).map(|committed| committed.into_vec());
            let blocks_left = challenge.stage_ends.saturating_sub(state.head().clock);
            let (challenge, id, submission) = (*id, challenge.submission, submission.clone());
            all.push(Assignment { challenge, stage, done, committed, blocks_left, selector, id, submission });
        }
        all
    }

    /// Returns what a validator must do in the current epoch for the beacon, the network's source of random values.
    /// Returns `None` if the network has no beacon, if the address is not a validator, or if the validator has already
    /// sent its message of this epoch.
    pub fn beacon_duty(&self, validator: &str) -> Option<BeaconDuty> {
        let state = self.state();
        let epoch = state.head().beacon.epoch;
        let share = state.beacon_shares.get(validator);
        let is_due = state.has_beacon()
            && state.nodes_of(VALIDATOR).any(|(address, _)| address == validator)
            && share.is_none_or(|share| !share.has_acted_in(epoch));
        is_due.then_some(BeaconDuty { epoch, reveals: share.is_some() })
    }

    /// Returns the gradients that can be contested now, by a dispute or by an appeal, ordered by the ID of their
    /// submission.
    pub fn contestable(&self) -> impl Iterator<Item = ContestableGradient<'_>> {
        let state = self.state();
        let contestable = |(id, submission): (&u64, _)| {
            let disputable = state.is_disputable(submission) && state.has_room_for_dispute(*id);
            let appealable = state.appealable(*id, submission);
            let found = ContestableGradient { id: *id, submission, disputable, appealable };
            (disputable || appealable.is_some()).then_some(found)
        };
        state.submissions.iter().filter_map(contestable)
    }

    /// Returns the open disputes in the order of their IDs, each as its ID, the dispute, and the disputed submission.
    pub fn disputes(&self) -> impl Iterator<Item = (u64, &DisputeCase, &Submission)> {
        let state = self.state();
        state.disputes.iter().filter_map(|(id, case)| Some((*id, case, state.submission(case.submission)?)))
    }

    /// Returns the task for which a gradient was submitted.
    ///
    /// Creating a task takes time that grows with the number of matrices in the job, because the task is encoded to
    /// check its size. The task of a submission never changes, so the caller can keep the result.
    pub fn task_of(&self, submission: &Submission) -> Result<Task, ProtocolError> {
        self.state().task_of(submission)
    }

    /// Returns the data from which a proposer computes the aggregate of the current round. Returns `None` if the
    /// address is not a proposer, if the round is not full, or if its gradients can still be disputed.
    pub fn aggregation(&self, proposer: &str) -> Option<Aggregation> {
        let state = self.state();
        if state.ready_since().is_none() || !state.nodes_of(PROPOSER).any(|(address, _)| address == proposer) {
            return None;
        }
        let ids = state.accepted_ids().into_iter();
        let gradients = ids.filter_map(|id| Some((id, state.submission(id)?.clone()))).collect();
        let own = state.proposals.iter().find(|(_, proposal)| proposal.proposer == proposer);
        let own = own.map(|(id, proposal)| (*id, proposal.clone()));
        let (round, adapter, may_leave_out) = (state.head().round, state.round().adapter, state.may_leave_out());
        Some(Aggregation { round, adapter, gradients, may_leave_out, own })
    }
}
