//! The ledger: a pure function `(ledger, block) → ledger`. It knows accounts, claims, submissions, recomputations, rounds
//! and stakes, and nothing of files, sockets, clocks or gradients: a gradient is a hash to it, and others say whether
//! the hash is right.
//!
//! A block is all that it ever hears, so whoever has the same genesis and the same blocks has the same ledger, down to
//! its [root](Ledger::root). A node drives it from a queue in one process, or behind a consensus engine in many.
//!
//! Its rules, with their reasons, are in docs/LEDGER.md; their numbers are the genesis's [`LedgerParams`].

mod aggregation;
mod block;
mod claims;
mod coins;
mod disputes;
mod events;
mod fees;
mod genesis;
mod grants;
mod grpc;
mod nodes;
mod params;
mod queries;
mod settlement;
mod state;
mod submissions;
#[cfg(test)]
mod tests;
mod transactions;
mod tree;
mod verdicts;
mod verification;

pub use block::{ChainBlock, Tx};
pub use fees::fee_pool;
pub use genesis::{Genesis, GenesisError};
pub use grpc::Unanswered;
pub use nodes::{PROPOSER, VALIDATOR};
pub use params::{ALL, LedgerParams, PER_MYRIAD};
pub use queries::{Aggregation, Assignment, Doubtful, HeldClaim};
pub use state::{
    Account, ChainState, Challenge, ChallengeStage, ChunkSlot, Claim, DisputeCase, FeeAllowance, Finding, InvalidRow,
    Proposal, Registration, Reputation, Round, Sampled, State, StateRow, Submission, SubmissionStatus, Vote,
};
pub use submissions::{global_seed, proves_work, shard};
pub use transactions::{Refusal, TxOutcome};

use crate::{
    protocol::{Task, WorkError},
    tx::Signed,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tree::Tree;

/// A state and its Merkle trie.
#[derive(Clone, Debug)]
pub struct Ledger {
    state: State,
    tree: Tree,
}

/// What a block did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// What came of each transaction, in order.
    pub outcomes: Vec<TxOutcome>,
    /// What happened of itself, before them and after them.
    pub events: Vec<Event>,
}

/// Something that others wait for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
#[non_exhaustive]
pub enum Event {
    /// A miner has a task.
    Claimed {
        /// Whose.
        miner: String,
        /// In which round.
        round: u64,
        /// At which position.
        position: u64,
    },
    /// A gradient came in.
    Submitted {
        /// Its number.
        id: u64,
        /// Whose.
        miner: String,
        /// CID of its artifact's root.
        artifact: String,
    },
    /// Somebody is to recompute a gradient.
    Sampled {
        /// The recomputation's number.
        challenge: u64,
        /// Who.
        verifiers: Vec<String>,
    },
    /// A gradient counts, and is paid.
    Accepted {
        /// Its number.
        id: u64,
        /// Whose.
        miner: String,
        /// CID of its artifact's root.
        artifact: String,
        /// In which round.
        round: u64,
        /// Who is paid.
        payee: String,
        /// What the payee owns now, in micro-units.
        balance: u64,
    },
    /// A gradient does not count.
    Rejected {
        /// Its number.
        id: u64,
        /// Whose.
        miner: String,
        /// Why.
        finding: Finding,
    },
    /// Its miner took a gradient back.
    Withdrawn {
        /// Its number.
        id: u64,
        /// Whose.
        miner: String,
    },
    /// Somebody doubts a gradient.
    Disputed {
        /// The dispute's number.
        dispute: u64,
        /// The gradient's.
        id: u64,
        /// Who.
        challenger: String,
    },
    /// A dispute is over.
    Judged {
        /// The dispute's number.
        dispute: u64,
        /// The gradient's.
        id: u64,
        /// Whether an answer stood.
        stands: bool,
    },
    /// Somebody lost part of a stake.
    Slashed {
        /// Who.
        node: String,
        /// Micro-units.
        amount: u64,
    },
    /// A round has its quota: it waits for its aggregate.
    RoundFull {
        /// Its number.
        round: u64,
    },
    /// A round ended.
    RoundClosed {
        /// Its number.
        round: u64,
        /// CID of the adapter that the next one starts from.
        adapter: String,
    },
}

impl Ledger {
    /// The ledger before its first block.
    pub fn new(genesis: Genesis) -> Result<Self, GenesisError> {
        genesis.validate()?;
        let genesis = Arc::new(genesis);
        let empty = State::empty(genesis.clone());
        let mut state = empty.clone();
        let minted = genesis.supply().ok_or(GenesisError::Coins)?;
        let head = ChainState {
            height: 0,
            time: 0,
            hash: genesis.hash(),
            round: 0,
            accepted_in_round: 0,
            full_since: None,
            accepted_total: 0,
            submissions: 0,
            challenges: 0,
            disputes: 0,
            registrations: 0,
            proposals: 0,
            minted,
            burned: 0,
            fees: 0,
            pooled: 0,
        };
        state.head.insert((), head);
        state
            .rounds
            .insert(0, Round { adapter: genesis.adapter, layout_root: genesis.layout_root, hash: genesis.hash() });
        for (address, balance) in &genesis.accounts {
            state.account_mut(address).balance += balance;
        }
        for (address, stake, roles) in &genesis.nodes {
            nodes::add(&mut state, address, *stake, roles);
        }
        let mut tree = Tree::default();
        // the genesis is part of what the root commits to
        tree.set(b"genesis", Some(&genesis.hash()));
        Ok(Self { tree: grown(tree, &state, &empty), state })
    }

    /// A ledger from all its rows, in any order.
    pub fn restore<'a>(genesis: Genesis, rows: impl IntoIterator<Item = &'a StateRow>) -> Result<Self, InvalidRow> {
        let bad = |error: GenesisError| InvalidRow(error.to_string());
        let fresh = Self::new(genesis).map_err(bad)?;
        let empty = State::empty(fresh.state.genesis.clone());
        let mut state = empty.clone();
        rows.into_iter().try_for_each(|row| state.insert(row))?;
        if state.head.get(&()).is_none_or(|head| !state.rounds.contains_key(&head.round)) {
            return Err(InvalidRow("no head, or no present round".to_owned()));
        }
        let mut tree = Tree::default();
        tree.set(b"genesis", Some(&state.genesis.hash()));
        Ok(Self { tree: grown(tree, &state, &empty), state })
    }

    /// All rows.
    pub fn rows(&self) -> Vec<StateRow> {
        self.state.changes(&State::empty(self.state.genesis.clone()))
    }

    /// The rows that make `before` this ledger.
    pub fn changes(&self, before: &Self) -> Vec<StateRow> {
        self.state.changes(&before.state)
    }

    /// One hash of the genesis and of all rows.
    pub fn root(&self) -> [u8; 32] {
        self.tree.root()
    }

    /// What it knows.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What it started from.
    pub fn genesis(&self) -> &Genesis {
        &self.state.genesis
    }

    /// The ledger after a block. A block of a wrong height or an earlier time is taken for the next one at no earlier
    /// time: who drives the ledger keeps their order.
    pub fn apply(&self, block: &ChainBlock) -> (Self, Applied) {
        let mut state = self.state.clone();
        let mut applied = Applied::default();
        let head = state.head_mut();
        head.height += 1;
        head.time = head.time.max(block.time);
        head.hash = block.hash;
        head.pooled = 0;
        coins::unbond(&mut state);
        grants::forget(&mut state);
        claims::expire(&mut state);
        verification::begin(&mut state, &mut applied.events);
        for tx in &block.txs {
            applied.outcomes.push(transactions::deliver(&mut state, &tx.0));
        }
        verdicts::end(&mut state, &mut applied.events);
        verification::end(&mut state, &mut applied.events);
        aggregation::end(&mut state, &mut applied.events);
        let tree = grown(self.tree.clone(), &state, &self.state);
        (Self { state, tree }, applied)
    }

    /// Whether a transaction may stand in the next block, behind those that were admitted since `self` was copied from
    /// the ledger: it takes the fee and the place of its sequence in `self`.
    pub fn admit(&mut self, tx: &[u8]) -> Result<Signed, Refusal> {
        transactions::admit(&mut self.state, tx)
    }

    /// The ledger as it would be at a later time without a block: what has run out by then is out.
    pub fn at(&self, time: u64) -> Self {
        let mut later = self.clone();
        if time > self.state.head().time {
            later.state.head_mut().time = time;
            claims::expire(&mut later.state);
        }
        later
    }

    /// The ledger as the next block's first transaction finds it, but for the time: nothing is counted for that block yet.
    pub fn next(&self) -> Self {
        let mut next = self.clone();
        next.state.head_mut().pooled = 0;
        next
    }

    /// Whether the next block, with or without transactions, should come at once: it draws for submissions.
    pub fn wants_block(&self) -> bool {
        let next = self.state.head().height + 1;
        let due = |place: &ChunkSlot| match place {
            ChunkSlot::Submitted(id) => self.state.submission(*id).is_some_and(|submission| {
                submission.status == SubmissionStatus::Pending && self.state.draws_at(submission) <= next
            }),
            _ => false,
        };
        self.state.chunk_slots.values().any(due)
    }

    /// Whether something waits for blocks to come, with transactions or without.
    pub fn has_pending(&self) -> bool {
        let state = &self.state;
        let pending = |place: &ChunkSlot| matches!(place, ChunkSlot::Submitted(_));
        let games = !state.challenges.is_empty() || !state.disputes.is_empty();
        let full = state.head().full_since.is_some();
        full || games || state.chunk_slots.values().any(pending) || !state.unbonding.is_empty()
    }

    /// The task at a position of the present round, for one miner.
    pub fn task(&self, position: u64, miner: &str) -> Result<Task, WorkError> {
        self.state.task(position, miner)
    }
}

impl State {
    fn task(&self, position: u64, miner: &str) -> Result<Task, WorkError> {
        self.genesis.task(self.head().round, self.round().adapter, position, miner)
    }

    /// What a submission is of; its round is kept as long as it is not settled.
    fn task_of(&self, submission: &Submission) -> Result<Task, WorkError> {
        let Submission { round, position, miner, .. } = submission;
        let adapter = self.rounds.get(round).unwrap_or(self.round()).adapter;
        self.genesis.task(*round, adapter, *position, miner)
    }
}

fn grown(mut tree: Tree, state: &State, before: &State) -> Tree {
    for row in state.changes(before) {
        tree.set(&row.key, row.value.as_deref());
    }
    tree
}

/// A number that nobody can choose, from a block's hash and what it is for.
fn draw(hash: &[u8; 32], domain: &str, numbers: [u64; 2]) -> u64 {
    let digest = Sha256::new().chain_update(domain).chain_update(hash);
    let digest = numbers.iter().fold(digest, |digest, number| digest.chain_update(number.to_le_bytes())).finalize();
    u64::from_be_bytes(digest[..8].try_into().expect("8 of 32 bytes"))
}
