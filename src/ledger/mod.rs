//! The ledger: the state of a network (accounts, claims, submissions, challenges, rounds and stakes), and a pure
//! function `(ledger, block) → ledger` that computes the state after a block.
//!
//! The ledger uses no files, sockets or clocks. It does not compute gradients: it stores a hash of each, and verifiers
//! attest whether the gradient is correct. Blocks are its only input, so two ledgers with the same genesis and the same
//! blocks have the same state. To compare the states, it is enough to compare one hash, the [root](Ledger::root). A
//! single node makes blocks from its own queue of transactions; replicas execute the blocks of a consensus engine.
//!
//! docs/LEDGER.md describes the rules and the reasons for them. The parameters of the rules, [`LedgerParams`], are part
//! of the genesis.

mod aggregation;
mod beacon;
mod block;
mod claims;
mod coins;
mod context;
mod cosmos_events;
mod decisions;
mod disputes;
mod events;
mod fees;
mod genesis;
mod grants;
mod grpc;
mod nodes;
mod params;
mod queries;
mod rewards;
mod rows;
mod simulation;
mod state;
mod submissions;
#[cfg(test)]
mod tests;
mod transactions;
mod tree;
mod verdicts;
mod verification;
mod voting_power;

pub use block::{ChainBlock, MAX_BLOCK_BYTES, Tx};
pub use context::Refusal;
pub use cosmos_events::CosmosEvent;
pub use events::Event;
pub use fees::{fee_waiver, is_free_duty};
pub use genesis::{ConsensusKey, Genesis, GenesisError};
pub use grpc::QueryError;
pub use nodes::{PROPOSER, VALIDATOR};
pub use params::{ALL, LedgerParams, PER_MYRIAD};
pub use queries::{Aggregation, Assignment, BeaconDuty, ContestableGradient, HeldClaim};
pub use rows::{
    Account, Author, Beacon, BeaconShare, ChainHead, Challenge, ChallengeStage, ChunkSlot, Claim, DisputeCase,
    FeeAllowance, Finding, Proposal, Registration, Reputation, Round, SampledVerifier, Submission, SubmissionStatus,
    Vote,
};
pub use simulation::SimulatedTx;
pub use state::{InvalidRow, State, StateRow};
pub use submissions::{global_seed, shard};
pub use transactions::TxOutcome;

use crate::{
    protocol::{ProtocolError, Task},
    tx::Signed,
};
use std::sync::Arc;
use tree::Tree;

/// A ledger: its state, and a Merkle trie over the rows of the state. Copies are cheap, because they share their data.
#[derive(Clone, Debug)]
pub struct Ledger {
    state: State,
    tree: Tree,
}

/// The results of applying a block to a ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The results of the block's transactions, in the order of the transactions.
    pub outcomes: Vec<TxOutcome>,
    /// The events that no transaction caused, such as the sampling of verifiers. Some occurred before the transactions,
    /// and some after them.
    pub events: Vec<Event>,
}

impl Ledger {
    /// Returns the ledger before its first block. Fails if the genesis is invalid.
    pub fn new(genesis: Genesis) -> Result<Self, GenesisError> {
        genesis.validate()?;
        Self::unchecked(genesis)
    }

    /// Returns the ledger before its first block, without checking that the genesis is valid. Simulations need this
    /// function, because they use plain names as addresses.
    pub(crate) fn unchecked(genesis: Genesis) -> Result<Self, GenesisError> {
        let genesis = Arc::new(genesis);
        let empty = State::empty(genesis.clone());
        let mut state = empty.clone();
        let minted = genesis.supply().ok_or(GenesisError::Coins)?;
        let head = ChainHead {
            height: 0,
            time: 0,
            hash: genesis.hash(),
            clock: 0,
            paused_seconds: 0,
            beacon: Beacon { epoch: 0, since: 0, values: 0, value: genesis.hash() },
            round: 0,
            accepted_in_round: 0,
            full_since: None,
            accepted_total: 0,
            settled_total: 0,
            unbonded_in_round: 0,
            unbonded_in_block: 0,
            submissions: 0,
            challenges: 0,
            disputes: 0,
            registrations: 0,
            proposals: 0,
            minted,
            minted_for_verifiers: 0,
            burned: 0,
            fees: 0,
            waived_in_block: 0,
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
        state.consensus_keys = genesis.consensus_keys.clone().into();
        voting_power::end(&mut state);
        let mut tree = Tree::default();
        // the ledger root also covers the genesis
        tree.set(b"genesis", Some(&genesis.hash()));
        Ok(Self { tree: updated(tree, &state, &empty), state })
    }

    /// Returns the ledger whose state has the given rows, which may be in any order. Fails if these rows do not form a
    /// valid state of a ledger with this genesis.
    pub fn restore<'a>(genesis: Genesis, rows: impl IntoIterator<Item = &'a StateRow>) -> Result<Self, InvalidRow> {
        let bad = |error: GenesisError| InvalidRow(error.to_string());
        let fresh = Self::new(genesis).map_err(bad)?;
        let empty = State::empty(fresh.state.genesis.clone());
        let mut state = empty.clone();
        rows.into_iter().try_for_each(|row| state.insert(row))?;
        if state.head.get(&()).is_none_or(|head| !state.rounds.contains_key(&head.round)) {
            return Err(InvalidRow("the row of the head or of the current round is missing".to_owned()));
        }
        let mut tree = Tree::default();
        tree.set(b"genesis", Some(&state.genesis.hash()));
        Ok(Self { tree: updated(tree, &state, &empty), state })
    }

    /// Returns all rows of the state.
    pub fn rows(&self) -> Vec<StateRow> {
        self.state.changes(&State::empty(self.state.genesis.clone()))
    }

    /// Returns the row changes that turn the state of the ledger `before` into the state of this ledger.
    pub fn changes(&self, before: &Self) -> Vec<StateRow> {
        self.state.changes(&before.state)
    }

    /// Returns the ledger root: a hash that covers the genesis and all rows of the state.
    pub fn root(&self) -> [u8; 32] {
        self.tree.root()
    }

    /// Returns the state of the ledger after the last block.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Returns the genesis from which the ledger started.
    pub fn genesis(&self) -> &Genesis {
        &self.state.genesis
    }

    /// Applies a block. Returns a pair: the ledger after the block, and the results of the block. The caller must apply
    /// blocks in order, because every block is treated as the next one. If the time of the block is earlier than that
    /// of the previous block, the previous time is used instead.
    pub fn apply(&self, block: &ChainBlock) -> (Self, Applied) {
        let deliver = |state: &mut State, tx: &Tx| transactions::deliver(state, &tx.0);
        let bytes = block.txs.iter().map(|tx| tx.0.len()).sum();
        let (state, applied) = self.execute((block.time, block.hash, bytes), &block.txs, deliver);
        let tree = updated(self.tree.clone(), &state, &self.state);
        (Self { state, tree }, applied)
    }

    /// Applies a block. Returns a pair: the ledger after the block, and the results of the block. To save time in
    /// simulations that apply millions of blocks, this function assumes that the signatures of the transactions have
    /// been checked, and does not update the ledger root.
    #[cfg(feature = "compute")]
    pub(crate) fn apply_opened(&self, time: u64, hash: [u8; 32], txs: &[Signed]) -> (Self, Applied) {
        let bytes = txs.iter().map(|tx| tx.bytes).sum();
        let (state, applied) = self.execute((time, hash, bytes), txs, transactions::deliver_opened);
        (Self { state, tree: self.tree.clone() }, applied)
    }

    /// Returns the state after a block, and the results of the block. The block is given by its time, its hash, the
    /// total size of its transactions in bytes, and its transactions. `deliver` executes one transaction.
    fn execute<T>(
        &self,
        (time, hash, bytes): (u64, [u8; 32], usize),
        txs: &[T],
        deliver: impl Fn(&mut State, &T) -> TxOutcome,
    ) -> (State, Applied) {
        let mut state = self.state.clone();
        let mut applied = Applied::default();
        let head = state.head_mut();
        let seconds = time.saturating_sub(head.time);
        head.height += 1;
        head.time += seconds;
        head.hash = hash;
        match block::has_room(bytes) {
            true => head.clock += u64::from(seconds > 0),
            false => head.paused_seconds += seconds,
        }
        (head.waived_in_block, head.unbonded_in_block) = (0, 0);
        beacon::begin_block(&mut state);
        coins::unbond(&mut state);
        grants::remove_expired(&mut state);
        claims::expire(&mut state);
        verification::sample(&mut state, &mut applied.events);
        for tx in txs {
            applied.outcomes.push(deliver(&mut state, tx));
        }
        beacon::end(&mut state, &mut applied.events);
        verdicts::end(&mut state, &mut applied.events);
        rewards::settle_due(&mut state, &mut applied.events);
        verification::end(&mut state, &mut applied.events);
        aggregation::end(&mut state, &mut applied.events);
        voting_power::end(&mut state);
        (state, applied)
    }

    /// Checks that a transaction can be added to the next block, in addition to the transactions that this copy of the
    /// ledger has already admitted. Takes the fee of the transaction and increments the signer's sequence, in this copy
    /// only. A transaction that is refused changes nothing. Signatures are checked only if there is no other reason to
    /// refuse the transaction.
    pub fn admit(&mut self, tx: &[u8]) -> Result<Signed, Refusal> {
        let mut state = self.state.clone();
        let signed = transactions::admit(&mut state, tx)?;
        self.state = state;
        Ok(signed)
    }

    /// Admits a transaction to the next block, in this copy of the ledger only, as [`admit`](Self::admit) does, but
    /// does not check its signatures: the caller must have checked them.
    pub fn reserve(&mut self, signed: &Signed) -> Result<(), Refusal> {
        let mut state = self.state.clone();
        transactions::reserve(&mut state, signed)?;
        self.state = state;
        Ok(())
    }

    /// Returns an error if the transaction cannot be admitted to the next block (see [`reserve`](Self::reserve)). The
    /// messages of the transaction are not executed, and its signatures are not checked. The caller runs this function
    /// before it checks the signatures, because checking signatures takes much longer.
    pub fn precheck(&self, signed: &Signed) -> Result<(), Refusal> {
        transactions::precheck(&mut self.state.clone(), signed)
    }

    /// Returns the ledger as it will be at `time`, in seconds since 1970, if no block is applied before: the claims
    /// that have expired by then are removed. If `time` is not later than the last block, returns an unchanged copy.
    pub fn at(&self, time: u64) -> Self {
        let mut later = self.clone();
        if time > self.state.head().time {
            later.state.head_mut().time = time;
            claims::expire(&mut later.state);
        }
        later
    }

    /// Returns a copy of the ledger that is used to admit transactions to the next block. Its height and its clock (see
    /// [`ChainHead::clock`]) are those of the next block, if this block has room and a later time. Its counts of waived
    /// fees and of claims without a bond are 0, because the limits on these counts apply to each block separately.
    pub fn next(&self) -> Self {
        let mut next = self.clone();
        let head = next.state.head_mut();
        head.height += 1;
        head.clock += 1;
        (head.waived_in_block, head.unbonded_in_block) = (0, 0);
        next
    }

    /// Returns whether the next block should be made immediately, even if it contains no transactions. This is the case
    /// if the hash of that block decides whether a submitted gradient is recomputed.
    pub fn wants_block(&self) -> bool {
        let next = self.state.head().beacon.values + 1;
        let due = |slot: &ChunkSlot| match slot {
            ChunkSlot::Submitted(id) => self
                .state
                .submission(*id)
                .is_some_and(|submission| submission.status == SubmissionStatus::Pending && submission.draw <= next),
            _ => false,
        };
        self.state.genesis.params.epoch_blocks == 0 && self.state.chunk_slots.values().any(due)
    }

    /// Returns whether the ledger needs further blocks, even without transactions. This is the case while something is
    /// not settled: a submission, a challenge, a dispute, a full round, or a stake or a reward that will be paid.
    pub fn has_pending(&self) -> bool {
        let state = &self.state;
        let pending = |slot: &ChunkSlot| matches!(slot, ChunkSlot::Submitted(_));
        let games = !state.challenges.is_empty() || !state.disputes.is_empty();
        let full = state.head().full_since.is_some();
        let locked = !state.unbonding.is_empty() || !state.maturing.is_empty();
        full || games || locked || state.chunk_slots.values().any(pending)
    }

    /// Returns the task that a miner must compute after it has claimed the chunk slot at `position` of the current
    /// round.
    pub fn task(&self, position: u64, miner: &str) -> Result<Task, ProtocolError> {
        self.state.task(position, miner)
    }
}

/// Returns the Merkle trie over the rows of `state`. `tree` is the trie over the rows of an earlier state, `before`;
/// only the rows that have changed since are updated.
fn updated(mut tree: Tree, state: &State, before: &State) -> Tree {
    for row in state.changes(before) {
        tree.set(&row.key, row.value.as_deref());
    }
    tree
}
