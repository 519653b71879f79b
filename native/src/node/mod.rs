//! A node drives a [`Ledger`]: it admits transactions, cuts blocks, keeps the chain and the blocks of bytes that the
//! ledger names. It recomputes nothing; verifiers and proposers do, over the same wire as everybody.
//!
//! `ledger.redb` holds the chain, `blocks.redb` the bytes. Both are made aside and renamed into place.

mod chain;
mod file;
mod mempool;
mod setup;
#[cfg(test)]
mod tests;

pub(crate) use chain::{Record, difference};
pub(crate) use setup::{Setup, Terms};

use crate::blocks::{BlockStore, Quota};
use anyhow::{Context, Result};
use chain::Chain;
use mempool::{Mempool, Unfit};
use r3mes_wgpu::chain::code;
use r3mes_wgpu::ledger::{Applied, Block, Event, Genesis, Ledger, Outcome, Refusal};
use r3mes_wgpu::store::Cid;
use redb::Database;
use std::{
    collections::BTreeSet,
    fs::File,
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

/// Room for blocks of bytes.
const QUOTA: Quota = Quota { loose_bytes: 1 << 30, total_bytes: 64 << 30 };
/// Seconds between blocks without transactions, while something waits for blocks.
const IDLE_BLOCK: u64 = 1;

/// A ledger with its chain, its mempool and its blocks.
pub(crate) struct Node {
    ledger: RwLock<Ledger>,
    mempool: Mutex<Mempool>,
    /// Told of every transaction that comes in.
    came: Condvar,
    chain: Chain,
    blocks: Arc<BlockStore>,
    min_fee: u64,
    /// Held while the node lives; `None` where there is no file.
    #[expect(dead_code, reason = "dropping it is its use")]
    lock: Option<File>,
}

/// A block that was added.
#[derive(Clone, Debug)]
pub(crate) struct Added {
    pub(crate) block: Block,
    pub(crate) applied: Applied,
}

impl Node {
    /// Opens the files in `folder`, or creates them. Those of another genesis are refused. A transaction must pay
    /// `min_fee` micro-units to be admitted here.
    pub(crate) fn open(folder: &Path, setup: Setup, min_fee: u64) -> Result<Self> {
        let path = folder.join("ledger.redb");
        let open = || -> Result<Self> {
            let lock = file::lock(&path)?;
            let database = file::open(&path, |database| Chain::open(database, &setup.genesis).map(drop))?;
            let blocks = BlockStore::open(&folder.join("blocks.redb"), QUOTA)?;
            Ok(Self { lock: Some(lock), ..Self::with(database, blocks, &setup, min_fee)? })
        };
        open().with_context(|| format!("the ledger {}", path.display()))
    }

    fn with(database: Database, blocks: BlockStore, setup: &Setup, min_fee: u64) -> Result<Self> {
        let (chain, ledger) = Chain::open(database, &setup.genesis)?;
        blocks.put(&setup.blocks)?;
        let mempool = Mutex::new(Mempool::new(ledger.clone()));
        let node = Self {
            ledger: RwLock::new(ledger.clone()),
            mempool,
            came: Condvar::new(),
            chain,
            blocks: Arc::new(blocks),
            min_fee,
            lock: None,
        };
        node.keep(&ledger)?;
        Ok(node)
    }

    /// The ledger as of the last block.
    pub(crate) fn ledger(&self) -> Ledger {
        self.ledger.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What it started from.
    pub(crate) fn genesis(&self) -> Genesis {
        self.ledger().genesis().clone()
    }

    /// Micro-units that a transaction must pay here.
    pub(crate) fn min_fee(&self) -> u64 {
        self.min_fee
    }

    /// The bytes that the ledger names.
    pub(crate) fn blocks(&self) -> &Arc<BlockStore> {
        &self.blocks
    }

    /// A block of the chain that is kept.
    pub(crate) fn block(&self, height: u64) -> Result<Option<Record>> {
        self.chain.block(height)
    }

    /// What became of a transaction: its height, place and outcome; `None` while it has no block, and long after.
    pub(crate) fn outcome(&self, hash: &str) -> Result<Option<(u64, u32, Outcome)>> {
        self.chain.outcome(hash)
    }

    /// Admits a transaction, which came at the time `now`, to a block to come.
    pub(crate) fn admit(&self, tx: Vec<u8>, now: u64) -> Result<(), Refusal> {
        let added = self.mempool().add(tx, self.min_fee, now);
        self.came.notify_all();
        added.map_err(|unfit| match unfit {
            Unfit::Full => Refusal { code: code::MEMPOOL_FULL, log: "mempool is full".to_owned() },
            Unfit::Refused(refusal) => refusal,
        })
    }

    /// Waits for a transaction, but not longer than this.
    pub(crate) fn wait(&self, longest: Duration) {
        let mempool = self.mempool();
        if mempool.is_empty() {
            drop(self.came.wait_timeout(mempool, longest));
        }
    }

    /// Adds a block at the time `now`, if there is anything to put into one or something waits for one.
    pub(crate) fn produce(&self, now: u64) -> Result<Option<Added>> {
        let before = self.ledger();
        let head = before.state().scalars();
        let txs = self.mempool().next();
        let due = before.hurries() || before.waits() && now >= head.time + IDLE_BLOCK;
        if txs.is_empty() && !due {
            return Ok(None);
        }
        let count = txs.len();
        let block = Block::sealed(head.height + 1, now.max(head.time), before.root(), txs);
        let (after, applied) = before.apply(&block);
        self.keep_tasks(&after, &applied)?;
        self.chain.add(&before, &after, &block, &applied)?;
        *self.ledger.write().unwrap_or_else(PoisonError::into_inner) = after.clone();
        self.mempool().settle(after.clone(), count);
        let settled = |event: &Event| matches!(event, Event::Accepted { .. } | Event::RoundClosed { .. });
        if applied.events.iter().any(settled) {
            self.keep(&after)?;
        }
        Ok(Some(Added { block, applied }))
    }

    /// Stores the tasks that were claimed, for their miners and verifiers.
    fn keep_tasks(&self, ledger: &Ledger, applied: &Applied) -> Result<()> {
        let claimed = applied.outcomes.iter().flat_map(|outcome| &outcome.events);
        for event in claimed {
            if let Event::Claimed { miner, position, .. } = event {
                self.blocks.put(&[ledger.task(*position, miner)?.block()])?;
            }
        }
        Ok(())
    }

    /// Keeps the bytes that the ledger names and that are here whole, and lets go of what it names no more.
    fn keep(&self, ledger: &Ledger) -> Result<()> {
        let kept: BTreeSet<Cid> = self.blocks.kept()?.into_iter().collect();
        let here = |root: &Cid| kept.contains(root) || self.blocks.whole(root).is_ok();
        self.blocks.keep_only(ledger.state().roots().filter(here))
    }

    fn mempool(&self) -> MutexGuard<'_, Mempool> {
        self.mempool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The chain and the blocks of a node that does not run.
pub(crate) struct Stopped {
    pub(crate) ledger: Ledger,
    pub(crate) blocks: BlockStore,
}

impl Stopped {
    /// Opens the files in `folder`.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let path = folder.join("ledger.redb");
        let open = || -> Result<Self> {
            let _lock = file::lock(&path)?;
            let ledger = chain::read_only(&Database::open(&path)?)?;
            Ok(Self { ledger, blocks: BlockStore::open(&folder.join("blocks.redb"), QUOTA)? })
        };
        open().with_context(|| format!("opening the ledger {}", path.display()))
    }
}
