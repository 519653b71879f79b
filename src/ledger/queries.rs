//! Queries that tell miners, verifiers, proposers and challengers what they can do next.

use super::{
    Account, ChainHead, Challenge, ChallengeStage, ChunkSlot, DisputeCase, Ledger, Proposal, Registration, Reputation,
    Round, State, Submission, SubmissionStatus,
    nodes::{PROPOSER, VALIDATOR},
    submissions::{global_seed, shard},
};
use crate::{
    protocol::{ProtocolError, Task},
    store::Cid,
};

/// A miner's claim, and the values that its submission must contain.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldClaim {
    /// The task that the miner has claimed.
    pub task: Task,
    /// Index of the round.
    pub round: u64,
    /// Position of the chunk slot.
    pub position: u64,
    /// The miner's shard in this round.
    pub shard: u64,
    /// Seed of the round.
    pub global_seed: u64,
}

/// What a verifier has to do in a challenge.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// ID of the challenge.
    pub challenge: u64,
    /// Stage of the challenge.
    pub stage: ChallengeStage,
    /// Whether the verifier has already done what the stage requires.
    pub done: bool,
    /// The verifier's commitment, 32 bytes; `None` if it has not committed.
    pub committed: Option<Vec<u8>>,
    /// The number of blocks that are left in which the verifier can do its part.
    pub blocks_left: u64,
    /// Hash of the block that sampled the verifiers. It selects the leaf that they attest.
    pub selector: [u8; 32],
    /// The task of the submission.
    pub task: Task,
    /// ID of the submission.
    pub id: u64,
    /// The submission of the gradient.
    pub submission: Submission,
}

/// A gradient that may be disputed, or whose verifiers' finding may be appealed against.
#[derive(Clone, Debug, PartialEq)]
pub struct ContestableGradient {
    /// ID of the submission.
    pub id: u64,
    /// The submission of the gradient.
    pub submission: Submission,
    /// The task of the submission.
    pub task: Task,
    /// Whether a dispute may be opened.
    pub disputable: bool,
    /// ID of the challenge in which verifiers found a mismatch, if the finding can still be appealed against and nobody
    /// has done so yet.
    pub appealable: Option<u64>,
}

/// What a proposer has to do in a full round.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregation {
    /// Index of the round.
    pub round: u64,
    /// CID of the adapter from which the round started.
    pub adapter: Cid,
    /// The accepted gradients: ID, task and submission of each.
    pub gradients: Vec<(u64, Task, Submission)>,
    /// Whether proposers should now leave out gradients whose bytes they cannot fetch.
    pub waited: bool,
    /// ID of this proposer's commitment, and the proposal; `None` if the proposer has not committed yet.
    pub own: Option<(u64, Proposal)>,
}

impl State {
    /// Returns the account of an address.
    pub fn account_of(&self, address: &str) -> Account {
        self.account(address)
    }

    /// Returns a submission by its ID; `None` if it does not exist or is no longer stored.
    pub fn submission(&self, id: u64) -> Option<&Submission> {
        self.submissions.get(&id)
    }

    /// Returns an open dispute by its ID.
    pub fn dispute(&self, id: u64) -> Option<&DisputeCase> {
        self.disputes.get(&id)
    }

    /// Returns a miner's reputation.
    pub fn reputation(&self, miner: &str) -> Reputation {
        self.reputations.get(miner).cloned().unwrap_or(Reputation::NEW)
    }

    /// Returns a node's roles and stake.
    pub fn node(&self, address: &str) -> Option<&Registration> {
        self.nodes.get(address)
    }

    /// Returns a round by its index, if the round is still stored.
    pub fn round_of(&self, round: u64) -> Option<&Round> {
        self.rounds.get(&round)
    }

    /// Returns the CID of the adapter of the current round.
    pub fn adapter(&self) -> Cid {
        self.round().adapter
    }

    /// Returns the roots that a node's block store must keep: the text, the adapters and artifacts of the stored
    /// rounds, and the proposed adapters.
    pub fn roots(&self) -> impl Iterator<Item = Cid> {
        let kept = |submission: &&Submission| {
            !matches!(submission.status, SubmissionStatus::Withdrawn | SubmissionStatus::Rejected(_))
        };
        let chunks = self.genesis.chunks.iter().copied();
        let rounds = self.rounds.values().map(|round| round.adapter);
        let artifacts = self.submissions.values().filter(kept).map(|submission| submission.artifact);
        let proposed = self.proposals.values().filter_map(|proposal| proposal.adapter);
        chunks.chain(rounds).chain(artifacts).chain(proposed)
    }

    /// Returns the sum of all coins in the state, which always equals the minted coins minus the burned ones.
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
    }
}

impl Ledger {
    /// Returns the claim that a miner holds.
    pub fn held(&self, miner: &str) -> Result<Option<HeldClaim>, ProtocolError> {
        let state = self.state();
        let Some(position) = state.held.get(miner).copied() else { return Ok(None) };
        let (round, began) = (state.head().round, &state.round().hash);
        let (shard, global_seed) = (shard(miner, began, round), global_seed(began, round));
        Ok(Some(HeldClaim { task: state.task(position, miner)?, round, position, shard, global_seed }))
    }

    /// Returns the tasks of all claims and of all stored submissions.
    pub fn tasks(&self) -> Result<Vec<Task>, ProtocolError> {
        let state = self.state();
        let mut tasks = Vec::new();
        for (position, slot) in &state.chunk_slots {
            let ChunkSlot::Claimed(claims) = slot else { continue };
            for claim in claims {
                tasks.push(state.task(*position, &claim.miner)?);
            }
        }
        // a task cannot be computed without the adapter of its round
        let kept = state.submissions.values().filter(|submission| state.rounds.contains_key(&submission.round));
        for submission in kept {
            tasks.push(state.task_of(submission)?);
        }
        Ok(tasks)
    }

    /// Returns what a verifier has to do in each open challenge, ordered by ID.
    pub fn assignments(&self, verifier: &str) -> Result<Vec<Assignment>, ProtocolError> {
        let state = self.state();
        let sampled =
            |challenge: &Challenge| challenge.sampled.iter().find(|sampled| sampled.verifier == verifier).cloned();
        let mine = |challenge: &Challenge| {
            let sampled = sampled(challenge);
            match challenge.stage {
                ChallengeStage::Commit => sampled.map(|sampled| sampled.committed.is_some()),
                ChallengeStage::Reveal => sampled.map(|sampled| sampled.finding.is_some()),
                ChallengeStage::Appeal | ChallengeStage::Contested => None,
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
            let blocks_left = challenge.until.saturating_sub(state.head().height);
            let task = state.task_of(submission)?;
            let (challenge, id, submission) = (*id, challenge.submission, submission.clone());
            all.push(Assignment { challenge, stage, done, committed, blocks_left, selector, task, id, submission });
        }
        Ok(all)
    }

    /// Returns the gradients that may be disputed or whose finding may be appealed against, ordered by ID.
    pub fn contestable(&self) -> Result<Vec<ContestableGradient>, ProtocolError> {
        let state = self.state();
        let mut contestable = Vec::new();
        for (id, submission) in &state.submissions {
            let disputable = state.is_disputable(submission) && state.has_room_for_dispute(*id);
            let appealable = state.appealable(*id, submission);
            if disputable || appealable.is_some() {
                let (task, submission) = (state.task_of(submission)?, submission.clone());
                contestable.push(ContestableGradient { id: *id, submission, task, disputable, appealable });
            }
        }
        Ok(contestable)
    }

    /// Returns the open disputes: ID, case, submission and task of each.
    pub fn disputes(&self) -> Result<Vec<(u64, &DisputeCase, &Submission, Task)>, ProtocolError> {
        let state = self.state();
        let mut open = Vec::new();
        for (id, case) in &state.disputes {
            let Some(submission) = state.submission(case.submission) else { continue };
            open.push((*id, case, submission, state.task_of(submission)?));
        }
        Ok(open)
    }

    /// Returns the gradients that a proposer must add up; `None` if the round is not full and settled, or if the
    /// address is not a proposer.
    pub fn aggregation(&self, proposer: &str) -> Result<Option<Aggregation>, ProtocolError> {
        let state = self.state();
        if state.settled_since().is_none() || !state.nodes_of(PROPOSER).any(|(address, _)| address == proposer) {
            return Ok(None);
        }
        let mut gradients = Vec::new();
        for id in state.accepted_ids() {
            let Some(submission) = state.submission(id).cloned() else { continue };
            gradients.push((id, state.task(submission.position, &submission.miner)?, submission));
        }
        let own = state.proposals.iter().find(|(_, proposal)| proposal.proposer == proposer);
        let own = own.map(|(id, proposal)| (*id, proposal.clone()));
        let (round, adapter, waited) = (state.head().round, state.round().adapter, state.waited());
        Ok(Some(Aggregation { round, adapter, gradients, waited, own }))
    }
}
