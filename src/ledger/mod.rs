//! The ledger: a pure function `(ledger, block) → ledger` over accounts, claims, submissions, challenges, rounds and
//! stakes.
//!
//! It has no files, sockets or clocks, and computes no gradients: it stores their hashes, and verifiers attest whether
//! they are right. Blocks are its only input, so two ledgers with the same genesis and the same blocks have the same
//! state, which they compare by one hash, the [root](Ledger::root). A single node applies blocks that it makes from its
//! own queue of transactions; replicas apply those of a consensus engine.
//!
//! docs/LEDGER.md describes the rules and their reasons. The genesis states the parameters of the rules as
//! [`LedgerParams`].

mod aggregation;
mod block;
mod claims;
mod coins;
mod context;
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
pub use context::Refusal;
pub use events::Event;
pub use fees::fee_pool;
pub use genesis::{Genesis, GenesisError};
pub use grpc::QueryError;
pub use nodes::{PROPOSER, VALIDATOR};
pub use params::{ALL, LedgerParams, PER_MYRIAD};
pub use queries::{Aggregation, Assignment, ContestableGradient, HeldClaim};
pub use state::{
    Account, ChainHead, Challenge, ChallengeStage, ChunkSlot, Claim, DisputeCase, FeeAllowance, Finding, InvalidRow,
    Proposal, Registration, Reputation, Round, SampledVerifier, State, StateRow, Submission, SubmissionStatus, Vote,
};
pub use submissions::{global_seed, proves_work, shard};
pub use transactions::TxOutcome;

use crate::{
    protocol::{ProtocolError, Task},
    tx::Signed,
};
use std::sync::Arc;
use tree::Tree;

/// A ledger: a state, and the Merkle trie over the state's rows. Copying it is cheap.
#[derive(Clone, Debug)]
pub struct Ledger {
    state: State,
    tree: Tree,
}

/// The results of applying a block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Results of the block's transactions, in order.
    pub outcomes: Vec<TxOutcome>,
    /// Events that no transaction caused, both from before and from after the transactions.
    pub events: Vec<Event>,
}

impl Ledger {
    /// Returns the ledger before its first block. Fails if the genesis is invalid.
    pub fn new(genesis: Genesis) -> Result<Self, GenesisError> {
        genesis.validate()?;
        let genesis = Arc::new(genesis);
        let empty = State::empty(genesis.clone());
        let mut state = empty.clone();
        let minted = genesis.supply().ok_or(GenesisError::Coins)?;
        let head = ChainHead {
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
        // the root covers the genesis too
        tree.set(b"genesis", Some(&genesis.hash()));
        Ok(Self { tree: updated(tree, &state, &empty), state })
    }

    /// Returns the ledger that has these rows, in any order. Fails if they are not a state of this genesis.
    pub fn restore<'a>(genesis: Genesis, rows: impl IntoIterator<Item = &'a StateRow>) -> Result<Self, InvalidRow> {
        let bad = |error: GenesisError| InvalidRow(error.to_string());
        let fresh = Self::new(genesis).map_err(bad)?;
        let empty = State::empty(fresh.state.genesis.clone());
        let mut state = empty.clone();
        rows.into_iter().try_for_each(|row| state.insert(row))?;
        if state.head.get(&()).is_none_or(|head| !state.rounds.contains_key(&head.round)) {
            return Err(InvalidRow("the head or the current round is missing".to_owned()));
        }
        let mut tree = Tree::default();
        tree.set(b"genesis", Some(&state.genesis.hash()));
        Ok(Self { tree: updated(tree, &state, &empty), state })
    }

    /// Returns all rows of the state.
    pub fn rows(&self) -> Vec<StateRow> {
        self.state.changes(&State::empty(self.state.genesis.clone()))
    }

    /// Returns the row changes that turn `before` into this ledger.
    pub fn changes(&self, before: &Self) -> Vec<StateRow> {
        self.state.changes(&before.state)
    }

    /// Returns the ledger root: one hash over the genesis and all rows.
    pub fn root(&self) -> [u8; 32] {
        self.tree.root()
    }

    /// Returns the state after the last block.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Returns the genesis from which the ledger started.
    pub fn genesis(&self) -> &Genesis {
        &self.state.genesis
    }

    /// Returns the ledger after a block, and the block's results. The caller must apply blocks in order: every block is
    /// treated as the next one, and gets the previous block's time if its own is earlier.
    pub fn apply(&self, block: &ChainBlock) -> (Self, Applied) {
        let mut state = self.state.clone();
        let mut applied = Applied::default();
        let head = state.head_mut();
        head.height += 1;
        head.time = head.time.max(block.time);
        head.hash = block.hash;
        head.pooled = 0;
        coins::unbond(&mut state);
        grants::remove_expired(&mut state);
        claims::expire(&mut state);
        verification::sample(&mut state, &mut applied.events);
        for tx in &block.txs {
            applied.outcomes.push(transactions::deliver(&mut state, &tx.0));
        }
        verdicts::end(&mut state, &mut applied.events);
        verification::end(&mut state, &mut applied.events);
        aggregation::end(&mut state, &mut applied.events);
        let tree = updated(self.tree.clone(), &state, &self.state);
        (Self { state, tree }, applied)
    }

    /// Checks that a transaction may be in the next block, after those that were admitted to this copy of the ledger
    /// before. Takes its fee and increments the signer's sequence in this copy.
    pub fn admit(&mut self, tx: &[u8]) -> Result<Signed, Refusal> {
        transactions::admit(&mut self.state, tx)
    }

    /// Returns the ledger as it would be at a later time if no block came in between: more claims have expired.
    pub fn at(&self, time: u64) -> Self {
        let mut later = self.clone();
        if time > self.state.head().time {
            later.state.head_mut().time = time;
            claims::expire(&mut later.state);
        }
        later
    }

    /// Returns a copy of the ledger in which the limits per block are reset, for admitting transactions to the next
    /// block.
    pub fn next(&self) -> Self {
        let mut next = self.clone();
        next.state.head_mut().pooled = 0;
        next
    }

    /// Returns whether the next block should be made immediately, even without transactions, because it samples
    /// submissions.
    pub fn wants_block(&self) -> bool {
        let next = self.state.head().height + 1;
        let due = |slot: &ChunkSlot| match slot {
            ChunkSlot::Submitted(id) => self.state.submission(*id).is_some_and(|submission| {
                submission.status == SubmissionStatus::Pending && self.state.sampling_height(submission) <= next
            }),
            _ => false,
        };
        self.state.chunk_slots.values().any(due)
    }

    /// Returns whether the state needs further blocks, even without transactions, to settle something.
    pub fn has_pending(&self) -> bool {
        let state = &self.state;
        let pending = |slot: &ChunkSlot| matches!(slot, ChunkSlot::Submitted(_));
        let games = !state.challenges.is_empty() || !state.disputes.is_empty();
        let full = state.head().full_since.is_some();
        full || games || state.chunk_slots.values().any(pending) || !state.unbonding.is_empty()
    }

    /// Returns a miner's task at a position of the current round.
    pub fn task(&self, position: u64, miner: &str) -> Result<Task, ProtocolError> {
        self.state.task(position, miner)
    }
}

/// Returns the trie with the changes from `before` to `state`.
fn updated(mut tree: Tree, state: &State, before: &State) -> Tree {
    for row in state.changes(before) {
        tree.set(&row.key, row.value.as_deref());
    }
    tree
}
