//! A node is a ledger of accepted gradients: `(state, submission) → state`, kept in one redb file.
//!
//! Small and in-process; a miner needs [`Node::claim`], [`Node::put_blocks`] and [`Node::submit`] only. Nothing in
//! it reads a clock, draws random numbers or speaks to a network: the time comes with each claim.
//!
//! **Crashes.** Every change of state is one write transaction with immediate durability, so after `kill -9` or a
//! power cut the file holds all that was acknowledged and no half of anything. An accepted submission is one
//! transaction, closing a full round is the next; a node that died between them closes the round when it opens. The
//! file itself is made aside and renamed into place.
//!
//! **Disk.** A block stays while something pins it: a chunk of the text, the adapter or an accepted artifact of one
//! of the last `retention_rounds` rounds. Blocks that nothing pins go two rounds after they came, and may not take
//! more than [`blocks::LOOSE_BYTES`] together. redb reuses freed pages, so the file stops growing after the first
//! `retention_rounds` rounds.

mod blocks;
mod claims;
mod fees;
mod file;
mod genesis;
mod grants;
mod round;
mod submission;
mod tables;
#[cfg(test)]
mod tests;
pub(crate) mod transactions;
mod transfers;
mod work;

pub(crate) use blocks::BlockFile;
pub(crate) use genesis::{Genesis, Setup};
#[cfg(test)]
pub(crate) use submission::{Acceptance, Rejection, Verdict};

use anyhow::{Context, Result};
use r3mes_wgpu::store::{Cid, Fetch, StoreError};
use r3mes_wgpu::work::{AdapterState, Aggregate, Artifact, Task};
use redb::{Database, Durability, ReadTransaction, ReadableDatabase, WriteTransaction};
use std::fs::File;
use std::path::Path;
use tables::{BALANCES, FEES, Ledger};

/// The two computations that the ledger rests on. Both must be functions of their arguments alone.
pub(crate) trait Engine {
    /// The artifact of `task`; its adapter and chunk are among `blocks`.
    fn recompute(&self, task: &Task, blocks: Fetch) -> Result<Artifact>;

    /// The state after a round whose gradients add up to `sum`.
    fn step(&self, state: &AdapterState, sum: &Aggregate) -> Result<AdapterState>;
}

/// Where a node stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    /// Rounds closed.
    pub(crate) round: u64,
    /// Root of the adapter that is being improved.
    pub(crate) adapter: Cid,
    /// Accepted in this round.
    pub(crate) accepted_in_round: u32,
    /// Accepted ever.
    pub(crate) accepted_total: u64,
    /// Fees collected ever, in micro-units.
    pub(crate) fees: u64,
}

/// A ledger, its block store, and the engine that settles its tasks.
pub(crate) struct Node<E> {
    database: Database,
    genesis: Genesis,
    engine: E,
    /// Held while the node lives; `None` where the database is no file.
    #[expect(dead_code, reason = "dropping it is its use")]
    lock: Option<File>,
}

impl<E: Engine> Node<E> {
    /// Opens the file at `path`, or creates it. A file that another job made is refused.
    pub(crate) fn open(path: &Path, setup: Setup, engine: E) -> Result<Self> {
        Self::open_locked(path, &setup, engine).with_context(|| format!("the ledger {}", path.display()))
    }

    fn open_locked(path: &Path, setup: &Setup, engine: E) -> Result<Self> {
        let lock = file::lock(path)?;
        let database = file::open(path, setup)?;
        Ok(Self { lock: Some(lock), ..Self::with_database(database, setup, engine)? })
    }

    fn with_database(database: Database, setup: &Setup, engine: E) -> Result<Self> {
        let node = Self { database, genesis: setup.genesis.clone(), engine, lock: None };
        let write = node.write()?;
        setup.install(&write)?;
        write.commit()?;
        node.close_full_round()?;
        Ok(node)
    }

    /// Where the node stands.
    pub(crate) fn status(&self) -> Result<Status> {
        let read = self.read()?;
        let Ledger { round, adapter, accepted_in_round, accepted_total, .. } = Ledger::load(&read)?;
        let fees = read.open_table(FEES)?.get(())?.map_or(0, |fees| fees.value());
        Ok(Status { round, adapter, accepted_in_round, accepted_total, fees })
    }

    /// What `miner` has earned, in micro-units.
    pub(crate) fn balance(&self, miner: &str) -> Result<u64> {
        Ok(self.read()?.open_table(BALANCES)?.get(miner)?.map_or(0, |balance| balance.value()))
    }

    /// The terms that never change.
    pub(crate) fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The adapter that is being improved, with its optimizer's state.
    #[cfg(test)]
    pub(crate) fn adapter(&self) -> Result<AdapterState> {
        let read = self.read()?;
        let adapter = Ledger::load(&read)?.adapter;
        Ok(AdapterState::fetch(&adapter, &|cid| {
            blocks::get(&read.open_table(tables::BLOCKS).map_err(unavailable(cid))?, cid)
        })?)
    }

    fn read(&self) -> Result<ReadTransaction> {
        Ok(self.database.begin_read()?)
    }

    fn write(&self) -> Result<WriteTransaction> {
        let mut write = self.database.begin_write()?;
        write.set_durability(Durability::Immediate)?;
        Ok(write)
    }
}

/// Turns a storage failure into the block store's answer.
fn unavailable<F: std::fmt::Display>(cid: &Cid) -> impl Fn(F) -> StoreError + use<F> {
    let cid = *cid;
    move |error| StoreError::Unavailable { cid, reason: error.to_string().into() }
}
