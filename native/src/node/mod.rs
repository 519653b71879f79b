//! A node keeps a [`Ledger`], its chain, and the blocks of bytes that the ledger names. It recomputes nothing; verifiers
//! and proposers do, over the same wire as everybody.
//!
//! It admits transactions and cuts blocks of them itself, or adds those that a [consensus engine](crate::consensus) cuts.
//!
//! `ledger.redb` holds the chain, `blocks.redb` the bytes. Both are made aside and renamed into place.

mod admission;
pub(crate) mod block_sync;
pub(crate) mod blocks;
mod chain;
pub(crate) mod embedded;
mod file;
mod mempool;
pub(crate) mod operator;
mod setup;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use admission::{Admission, MAX_BLOCK_BYTES};
pub(crate) use chain::{Record, difference};
pub(crate) use setup::{Setup, Terms};

use crate::node::blocks::{BlockStore, Quota};
use anyhow::{Context, Result};
use chain::Chain;
use mempool::{Mempool, Unfit};
use r3mes_wgpu::{
    ledger::{Applied, ChainBlock, Event, Genesis, Ledger, Refusal, TxOutcome},
    store::Cid,
    tx::code,
};
use redb::Database;
use std::{
    collections::BTreeSet,
    fs::File,
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};
use tokio::sync::broadcast;

/// Room for blocks of bytes.
const QUOTA: Quota = Quota { loose_bytes: 1 << 30, total_bytes: 64 << 30 };
/// Seconds between blocks without transactions, while something waits for blocks.
const IDLE_BLOCK: u64 = 1;
/// Blocks that a slow listener may lag behind.
const EVENTS: usize = 256;

/// A ledger with its chain, its mempool and its blocks.
pub(crate) struct Node {
    ledger: RwLock<Ledger>,
    mempool: Mutex<Mempool>,
    /// Told of every transaction that comes in.
    came: Condvar,
    chain: Chain,
    blocks: Arc<BlockStore>,
    /// Held while pins are set: by the ledger of then.
    keeping: Mutex<()>,
    added: broadcast::Sender<Arc<Added>>,
    min_fee: u64,
    /// Held while the node lives; `None` where there is no file.
    #[expect(dead_code, reason = "dropping it is its use")]
    lock: Option<File>,
}

/// A block that was added.
#[derive(Clone, Debug)]
pub(crate) struct Added {
    pub(crate) block: ChainBlock,
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
            ledger: RwLock::new(ledger),
            mempool,
            came: Condvar::new(),
            chain,
            blocks: Arc::new(blocks),
            keeping: Mutex::default(),
            added: broadcast::channel(EVENTS).0,
            min_fee,
            lock: None,
        };
        node.keep()?;
        Ok(node)
    }

    /// The ledger as of the last block.
    pub(crate) fn ledger(&self) -> Ledger {
        self.ledger.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What it started from: a copy, as long as its text.
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

    /// A block of the chain that is kept. It is on disk a little before the ledger is of it, and not shown until then.
    pub(crate) fn block(&self, height: u64) -> Result<Option<Record>> {
        if self.is_to_come(height) { Ok(None) } else { self.chain.block(height) }
    }

    fn is_to_come(&self, height: u64) -> bool {
        height > self.ledger().state().scalars().height
    }

    /// What became of a transaction: its height, place and outcome; `None` while it has no block, and long after.
    pub(crate) fn outcome(&self, hash: &str) -> Result<Option<(u64, u32, TxOutcome)>> {
        Ok(self.chain.outcome(hash)?.filter(|(height, ..)| !self.is_to_come(*height)))
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

    /// Hears of every block from now on.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Arc<Added>> {
        self.added.subscribe()
    }

    /// Adds a block at the time `now`, if there is anything to put into one or something waits for one.
    pub(crate) fn produce(&self, now: u64) -> Result<Option<Arc<Added>>> {
        let before = self.ledger();
        let head = before.state().scalars();
        let txs = self.mempool().next();
        let due = before.wants_block() || before.has_pending() && now >= head.time + IDLE_BLOCK;
        if txs.is_empty() && !due {
            return Ok(None);
        }
        let count = txs.len();
        let block = ChainBlock::new(head.height + 1, now.max(head.time), before.root(), txs);
        let (after, applied) = before.apply(&block);
        self.keep_tasks(&after, &applied)?;
        let added = self.add(after.clone(), Added { block, applied })?;
        self.mempool().settle(after, count);
        Ok(Some(added))
    }

    /// Adds the next block, which makes `after` of the ledger, and tells those who listen; it is on disk when this returns.
    pub(crate) fn add(&self, after: Ledger, added: Added) -> Result<Arc<Added>> {
        let Added { block, applied } = &added;
        self.chain.add(&self.ledger(), &after, block, applied)?;
        self.set(after);
        if let Err(error) = self.keep_settled(applied) {
            eprintln!("node: keeping blocks: {error:#}");
        }
        let added = Arc::new(added);
        // nobody listening is no error
        let _ = self.added.send(added.clone());
        Ok(added)
    }

    /// Takes another's ledger of the same genesis for its own; it is on disk when this returns.
    pub(crate) fn replace(&self, ledger: Ledger) -> Result<()> {
        let tasks = ledger.tasks()?;
        self.blocks.put(&tasks.iter().map(|task| task.block()).collect::<Vec<_>>())?;
        self.chain.replace(&ledger)?;
        self.set(ledger);
        Ok(())
    }

    fn set(&self, ledger: Ledger) {
        *self.ledger.write().unwrap_or_else(PoisonError::into_inner) = ledger;
    }

    /// Stores the tasks that were claimed, for their miners and verifiers.
    pub(crate) fn keep_tasks(&self, ledger: &Ledger, applied: &Applied) -> Result<()> {
        let mut tasks = Vec::new();
        for event in applied.outcomes.iter().flat_map(|outcome| &outcome.events) {
            if let Event::Claimed { miner, position, .. } = event {
                tasks.push(ledger.task(*position, miner)?.block());
            }
        }
        match tasks.is_empty() {
            true => Ok(()),
            false => self.blocks.put(&tasks),
        }
    }

    /// Keeps what was accepted; where a round ended, lets go of what the ledger names no more.
    fn keep_settled(&self, applied: &Applied) -> Result<()> {
        if applied.events.iter().any(|event| matches!(event, Event::RoundClosed { .. })) {
            return self.keep().map(drop);
        }
        let artifact = |event: &Event| match event {
            Event::Accepted { artifact, .. } => Cid::try_from(artifact.as_str()).ok(),
            _ => None,
        };
        let _alone = self.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        let accepted = applied.events.iter().filter_map(artifact).filter(|root| self.blocks.whole(root).is_ok());
        self.blocks.keep_too(accepted)
    }

    /// Keeps the bytes that the ledger names and that are here whole, and lets go of what it names no more; returns the
    /// roots of those that are not.
    pub(crate) fn keep(&self) -> Result<BTreeSet<Cid>> {
        let _alone = self.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        let kept: BTreeSet<Cid> = self.blocks.kept()?.into_iter().collect();
        let here = |root: &Cid| kept.contains(root) || self.blocks.whole(root).is_ok();
        let (here, lacking): (BTreeSet<_>, BTreeSet<_>) = self.ledger().state().roots().partition(here);
        if here != kept {
            self.blocks.keep_only(here)?;
        }
        Ok(lacking)
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
