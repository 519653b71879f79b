//! Questions that miners, verifiers and proposers ask.

use super::{
    Account, Challenge, ChallengeStage, ChunkSlot, DisputeCase, Ledger, Proposal, State, Submission, SubmissionStatus,
    nodes::PROPOSER,
    submissions::{global_seed, shard},
};
use crate::{
    protocol::{Task, WorkError},
    store::Cid,
};

/// A claim, and what its submission must say.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldClaim {
    /// What is to be computed.
    pub task: Task,
    /// Of which round.
    pub round: u64,
    /// At which position.
    pub position: u64,
    /// The miner's shard in this round.
    pub shard: u64,
    /// The round's seed.
    pub global_seed: u64,
}

/// What a verifier is to do in a challenge.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// Number of the challenge.
    pub challenge: u64,
    /// At which stage it is.
    pub stage: ChallengeStage,
    /// Whether the verifier has done its part of this stage.
    pub done: bool,
    /// What it committed.
    pub committed: Option<Vec<u8>>,
    /// Blocks to come that may hold its part.
    pub blocks_left: u64,
    /// What chooses the leaf of the trace.
    pub selector: [u8; 32],
    /// The task that was claimed.
    pub task: Task,
    /// The submission's number.
    pub id: u64,
    /// What the miner says to have computed.
    pub submission: Submission,
}

/// A gradient that may be doubted, or whose verifiers' words may.
#[derive(Clone, Debug, PartialEq)]
pub struct Doubtful {
    /// The submission's number.
    pub id: u64,
    /// What is claimed.
    pub submission: Submission,
    /// Of what.
    pub task: Task,
    /// Whether a dispute may be opened.
    pub disputable: bool,
    /// The challenge in which verifiers found a mismatch that nobody appealed against yet.
    pub appealable: Option<u64>,
}

/// What a proposer is to do in a round that is full.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregation {
    /// The round.
    pub round: u64,
    /// The adapter that it started from.
    pub adapter: Cid,
    /// Gradients that count, with their tasks.
    pub gradients: Vec<(u64, Task, Submission)>,
    /// Whether what can not be had by now is left out.
    pub waited: bool,
    /// What this proposer committed to: number and proposal.
    pub own: Option<(u64, Proposal)>,
}

impl State {
    /// The account of an address.
    pub fn account_of(&self, address: &str) -> Account {
        self.account(address)
    }

    /// The scalars.
    pub fn scalars(&self) -> &super::ChainState {
        self.head()
    }

    /// A submission by its number; `None` where it never was, or is forgotten.
    pub fn submission(&self, id: u64) -> Option<&Submission> {
        self.submissions.get(&id)
    }

    /// A dispute that is open.
    pub fn contest(&self, id: u64) -> Option<&DisputeCase> {
        self.disputes.get(&id)
    }

    /// A miner's standing.
    pub fn reputation(&self, miner: &str) -> super::Reputation {
        self.reputations.get(miner).cloned().unwrap_or(super::Reputation::NEW)
    }

    /// A node's roles and stake.
    pub fn node(&self, address: &str) -> Option<&super::Registration> {
        self.nodes.get(address)
    }

    /// A round that is kept.
    pub fn round_of(&self, round: u64) -> Option<&super::Round> {
        self.rounds.get(&round)
    }

    /// The present round's adapter.
    pub fn adapter(&self) -> Cid {
        self.round().adapter
    }

    /// Roots of everything that a node's block store keeps: the text, the adapters and artifacts of the rounds that are
    /// kept, and what is submitted or proposed.
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

    /// Coins wherever they are; what was minted less what was burned, always.
    pub fn coins(&self) -> u128 {
        let bonds = self.chunk_slots.values().flat_map(|place| match place {
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
    /// The claim that a miner holds.
    pub fn held(&self, miner: &str) -> Result<Option<HeldClaim>, WorkError> {
        let state = self.state();
        let Some(position) = state.held.get(miner).copied() else { return Ok(None) };
        let (round, began) = (state.head().round, &state.round().hash);
        let (shard, global_seed) = (shard(miner, began, round), global_seed(began, round));
        Ok(Some(HeldClaim { task: state.task(position, miner)?, round, position, shard, global_seed }))
    }

    /// The tasks that are claimed, and those of all submissions that are kept.
    pub fn tasks(&self) -> Result<Vec<Task>, WorkError> {
        let state = self.state();
        let mut tasks = Vec::new();
        for (position, place) in &state.chunk_slots {
            let ChunkSlot::Claimed(claims) = place else { continue };
            for claim in claims {
                tasks.push(state.task(*position, &claim.miner)?);
            }
        }
        // of a round whose adapter is forgotten nothing can be computed
        let kept = state.submissions.values().filter(|submission| state.rounds.contains_key(&submission.round));
        for submission in kept {
            tasks.push(state.task_of(submission)?);
        }
        Ok(tasks)
    }

    /// What a verifier was sampled for, in order.
    pub fn assignments(&self, verifier: &str) -> Result<Vec<Assignment>, WorkError> {
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
                    let validator = state.nodes_of(super::nodes::VALIDATOR).any(|(address, _)| address == verifier);
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

    /// The gradients that may be disputed or appealed for, in order.
    pub fn doubtful(&self) -> Result<Vec<Doubtful>, WorkError> {
        let state = self.state();
        let mut doubtful = Vec::new();
        for (id, submission) in &state.submissions {
            let disputable = state.is_disputable(submission) && state.has_room_for_dispute(*id);
            let appealable = state.appealable(*id, submission);
            if disputable || appealable.is_some() {
                let (task, submission) = (state.task_of(submission)?, submission.clone());
                doubtful.push(Doubtful { id: *id, submission, task, disputable, appealable });
            }
        }
        Ok(doubtful)
    }

    /// The open disputes, with what they are about.
    pub fn disputes(&self) -> Result<Vec<(u64, &DisputeCase, &Submission, Task)>, WorkError> {
        let state = self.state();
        let mut open = Vec::new();
        for (id, contest) in &state.disputes {
            let Some(submission) = state.submission(contest.submission) else { continue };
            open.push((*id, contest, submission, state.task_of(submission)?));
        }
        Ok(open)
    }

    /// What a proposer is to add up; `None` while the round is not full, or where it is no proposer.
    pub fn aggregation(&self, proposer: &str) -> Result<Option<Aggregation>, WorkError> {
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
