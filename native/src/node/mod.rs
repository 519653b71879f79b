//! A node: a [`Ledger`] with its chain on disk, its mempool, and the data blocks whose CIDs are in the ledger.
//!
//! A node does not recompute gradients. Verifiers and proposers do this, and use the node over HTTP like every other
//! client. A node either produces blocks of admitted transactions by itself, or appends the blocks that CometBFT
//! delivers through [`crate::consensus`].
//!
//! The chain is in the file `ledger.redb`, and the data blocks are in the file `blocks.redb`.

mod admission;
mod block_record;
pub(crate) mod block_sync;
mod chain;
mod ledger_file;
mod mempool;
mod setup;
#[cfg(test)]
pub(crate) mod tests;
mod tx_index;

pub(crate) use admission::Admission;
pub(crate) use block_record::{BlockRecord, FoundTx};
pub(crate) use chain::difference;
pub(crate) use setup::{GenesisTerms, Setup};
pub(crate) use tx_index::{TxFilter, TxPlace, attributes};

use crate::{
    blocks::{BlockStore, Quota},
    database::{RecoveringDatabase, builder},
};
use anyhow::{Context, Result};
use chain::{AlreadyAdded, Chain};
use mempool::{Mempool, PendingTx};
use r3mes_wgpu::{
    ledger::{Applied, ChainBlock, Event, Genesis, Ledger, Refusal},
    store::Cid,
    tx::{DecodedTx, Signed, TxError, tx_hash},
};
use std::{
    collections::BTreeSet,
    fs::File,
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};
use tokio::sync::broadcast;
use tracing::{debug, warn};

/// The size limits of a node's block store: 1 GiB of unpinned blocks, 64 GiB in total.
const QUOTA: Quota = Quota { unpinned_bytes: 1 << 30, total_bytes: 64 << 30 };
/// The time in seconds after which a block without transactions is produced, if the ledger has pending work that only
/// further blocks can complete.
const IDLE_BLOCK: u64 = 1;
/// The number of blocks that are buffered for each listener (a part of the program that receives every new block). A
/// listener that falls further behind misses blocks.
const LISTENER_BLOCKS: usize = 256;

/// A node's ledger, chain, mempool and data blocks.
pub(crate) struct Node {
    ledger: RwLock<Ledger>,
    mempool: Mutex<Mempool>,
    /// A condition variable that is notified whenever a transaction is submitted to the mempool.
    arrived: Condvar,
    chain: Chain,
    blocks: Arc<BlockStore>,
    /// A lock that is held while the node determines which data blocks the ledger needs, and writes their pins (the
    /// instructions to keep these blocks). Only one thread at a time does this.
    pinning: Mutex<()>,
    added: broadcast::Sender<Arc<AddedBlock>>,
    min_fee: u64,
    /// The lock on the ledger's file, or `None` if the node keeps its data in memory. Dropping the file releases the
    /// lock.
    #[expect(dead_code, reason = "dropping it releases the lock")]
    lock: Option<File>,
}

/// An appended block and the results of executing it.
#[derive(Clone, Debug)]
pub(crate) struct AddedBlock {
    pub(crate) block: ChainBlock,
    pub(crate) applied: Applied,
}

impl Node {
    /// Opens the node's files in `folder`, or creates them from `setup` (a genesis and its data blocks). The mempool
    /// admits only transactions that pay at least `min_fee` micro-units.
    ///
    /// Returns an error if the files belong to another genesis or if another process uses them.
    pub(crate) fn open(folder: &Path, setup: Setup, min_fee: u64) -> Result<Self> {
        let path = folder.join("ledger.redb");
        let open = || -> Result<Self> {
            let lock = ledger_file::lock(&path)?;
            let make = |database| Chain::open(RecoveringDatabase::once(database), &setup.genesis).map(drop);
            ledger_file::create(&path, make)?;
            let file = path.clone();
            let database = RecoveringDatabase::open(move || Ok(builder().open(&file)?))?;
            let blocks = BlockStore::open(&folder.join("blocks.redb"), QUOTA)?;
            Ok(Self { lock: Some(lock), ..Self::with(database, blocks, &setup, min_fee)? })
        };
        open().with_context(|| format!("opening the ledger {}", path.display()))
    }

    fn with(database: RecoveringDatabase, blocks: BlockStore, setup: &Setup, min_fee: u64) -> Result<Self> {
        let (chain, ledger) = Chain::open(database, &setup.genesis)?;
        blocks.put(&setup.blocks)?;
        let mempool = Mutex::new(Mempool::new(ledger.clone()));
        let node = Self {
            ledger: RwLock::new(ledger),
            mempool,
            arrived: Condvar::new(),
            chain,
            blocks: Arc::new(blocks),
            pinning: Mutex::default(),
            added: broadcast::channel(LISTENER_BLOCKS).0,
            min_fee,
            lock: None,
        };
        node.pin_ledger()?;
        Ok(node)
    }

    /// Returns the ledger after the last block.
    pub(crate) fn ledger(&self) -> Ledger {
        self.ledger.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns a copy of the genesis. If the training text is long, copying is slow, because the genesis contains the
    /// CID of every chunk.
    pub(crate) fn genesis(&self) -> Genesis {
        self.ledger().genesis().clone()
    }

    /// Returns the minimum fee, in micro-units, that this node requires for a transaction.
    pub(crate) fn min_fee(&self) -> u64 {
        self.min_fee
    }

    /// Returns the store of this node's data blocks.
    pub(crate) fn blocks(&self) -> &Arc<BlockStore> {
        &self.blocks
    }

    /// Returns the block at a height. Returns `None` if the block has been deleted, does not exist yet, or is not yet
    /// included in the ledger that [`Self::ledger`] returns.
    pub(crate) fn block(&self, height: u64) -> Result<Option<BlockRecord>> {
        if self.is_future(height) { Ok(None) } else { self.chain.block(height) }
    }

    fn is_future(&self, height: u64) -> bool {
        height > self.ledger().state().head().height
    }

    /// Returns the transaction with a hash, or `None` if no kept block contains it.
    pub(crate) fn transaction(&self, hash: &str) -> Result<Option<FoundTx>> {
        Ok(self.chain.transaction(hash)?.filter(|found| !self.is_future(found.height)))
    }

    /// Returns the places (block height, index in the block) of all transactions that satisfy a filter, in ascending
    /// order. Returns `None` if the search would take too long.
    pub(crate) fn search(&self, mut filter: TxFilter) -> Result<Option<Vec<TxPlace>>> {
        let last = self.ledger().state().head().height;
        filter.heights = *filter.heights.start()..=last.min(*filter.heights.end());
        self.chain.search(&filter)
    }

    /// Returns the transactions at these places. A place consists of a block's height and an index in the block. Places
    /// in deleted blocks are skipped.
    pub(crate) fn transactions(&self, places: &[TxPlace]) -> Result<Vec<FoundTx>> {
        self.chain.transactions(places)
    }

    /// Admits a transaction to the mempool. `now` is the time at which it arrives, in seconds since 1970.
    pub(crate) fn admit(&self, tx: Vec<u8>, now: u64) -> Result<(), Refusal> {
        self.admit_verified_by(DecodedTx::verify, tx, now)
    }

    /// Admits a transaction to the mempool, and checks its signatures with the function `verify`. Checking signatures
    /// takes much longer than all other checks. Therefore `verify` is called only if the transaction has passed the
    /// other checks, and the mempool is not locked during the call.
    fn admit_verified_by(
        &self,
        verify: impl FnOnce(DecodedTx, &str) -> Result<Signed, TxError>,
        tx: Vec<u8>,
        now: u64,
    ) -> Result<(), Refusal> {
        let hash = tx_hash(&tx);
        let Some(admission) = self.mempool().admission(&hash) else { return Ok(()) };
        let decoded = admission.check(&tx, self.min_fee, now)?;
        let signed = verify(decoded, admission.chain_id())?;
        self.mempool().add(PendingTx { hash, bytes: tx, signed }, now)?;
        self.arrived.notify_all();
        Ok(())
    }

    /// Waits until a transaction is pending or the timeout has passed.
    pub(crate) fn wait(&self, timeout: Duration) {
        let mempool = self.mempool();
        if mempool.is_empty() {
            drop(self.arrived.wait_timeout(mempool, timeout));
        }
    }

    /// Returns a receiver of all blocks that are appended after this call.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Arc<AddedBlock>> {
        self.added.subscribe()
    }

    /// Produces a block at the time `now`, in seconds since 1970, if transactions are pending or the ledger needs a
    /// block without transactions. Returns the block, or `None` if none was produced.
    pub(crate) fn produce(&self, now: u64) -> Result<Option<Arc<AddedBlock>>> {
        let before = self.ledger();
        let head = before.state().head();
        let txs = self.mempool().next();
        let due = before.wants_block() || before.has_pending() && now >= head.time + IDLE_BLOCK;
        if txs.is_empty() && !due {
            return Ok(None);
        }
        let block = ChainBlock::new(head.height + 1, now.max(head.time), before.root(), txs);
        let (after, applied) = before.apply(&block);
        self.store_tasks(&after, &applied)?;
        let added = self.add(after.clone(), AddedBlock { block, applied })?;
        self.mempool().settle(after, &added.block.txs);
        Ok(Some(added))
    }

    /// Appends the next block and sends it to all listeners. `after` is the ledger after this block. The block is on
    /// disk when this function returns.
    pub(crate) fn add(&self, after: Ledger, added: AddedBlock) -> Result<Arc<AddedBlock>> {
        let AddedBlock { block, applied } = &added;
        if let Err(error) = self.chain.add(&self.ledger(), &after, block, applied) {
            if error.is::<AlreadyAdded>() {
                self.read_again(block.height)?;
            }
            return Err(error);
        }
        self.set(after);
        if let Err(error) = self.pin_results(applied) {
            warn!(height = block.height, error = %format_args!("{error:#}"), "cannot pin the data of a block");
        }
        debug!(height = block.height, txs = block.txs.len(), "block added");
        let added = Arc::new(added);
        // sending fails only if there are no listeners
        let _ = self.added.send(added.clone());
        Ok(added)
    }

    /// Replaces the ledger in memory by the ledger on disk. This is necessary if an attempt to add the block at
    /// `height` returned an error, although the block was written to the disk.
    fn read_again(&self, height: u64) -> Result<()> {
        let (ledger, record) = (self.chain.ledger()?, self.chain.block(height)?);
        self.set(ledger.clone());
        self.mempool().settle(ledger, &record.map_or(Vec::new(), |record| record.block.txs));
        Ok(())
    }

    /// Returns the disk error that currently prevents the node from adding blocks or storing data, or `None` if there
    /// is no such error.
    pub(crate) fn fault(&self) -> Option<String> {
        self.chain.fault().or_else(|| self.blocks.fault())
    }

    /// Replaces the ledger with another ledger of the same genesis, such as a restored snapshot. The new ledger is on
    /// disk when this function returns.
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

    /// Stores the tasks that miners have claimed in the newly executed block. Each task is stored as one data block,
    /// which miners and verifiers can fetch.
    pub(crate) fn store_tasks(&self, ledger: &Ledger, applied: &Applied) -> Result<()> {
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

    /// Pins the artifacts of the gradients that the newly executed block has received or accepted, so that they are not
    /// deleted to make space for other uploads. If the block ended a round, also removes the pins of data that the
    /// ledger no longer needs.
    fn pin_results(&self, applied: &Applied) -> Result<()> {
        if applied.events.iter().any(|event| matches!(event, Event::RoundClosed { .. })) {
            return self.pin_ledger().map(drop);
        }
        let artifact = |event: &Event| match event {
            Event::Submitted { artifact, .. } | Event::Accepted { artifact, .. } => {
                Cid::try_from(artifact.as_str()).ok()
            }
            _ => None,
        };
        let of_txs = applied.outcomes.iter().flat_map(|outcome| &outcome.events);
        let artifacts = applied.events.iter().chain(of_txs).filter_map(artifact);
        let _guard = self.pinning.lock().unwrap_or_else(PoisonError::into_inner);
        self.blocks.add_system_pins(artifacts.filter(|root| self.blocks.dag(root).is_ok()))
    }

    /// Pins each DAG that the ledger needs (chunks, adapters, and the artifacts that were not rejected), if all blocks
    /// of the DAG are stored on this node. Removes the pins of DAGs that the ledger no longer needs. Returns the root
    /// CIDs of the needed DAGs that have missing blocks.
    pub(crate) fn pin_ledger(&self) -> Result<BTreeSet<Cid>> {
        let _guard = self.pinning.lock().unwrap_or_else(PoisonError::into_inner);
        let kept: BTreeSet<Cid> = self.blocks.system_pins()?.into_iter().collect();
        let here = |root: &Cid| kept.contains(root) || self.blocks.dag(root).is_ok();
        let (here, missing): (BTreeSet<_>, BTreeSet<_>) = self.ledger().state().roots().partition(here);
        if here != kept {
            self.blocks.replace_system_pins(here)?;
        }
        Ok(missing)
    }

    fn mempool(&self) -> MutexGuard<'_, Mempool> {
        self.mempool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The ledger and the data blocks of a node that is not running.
pub(crate) struct StoppedNode {
    pub(crate) ledger: Ledger,
    pub(crate) blocks: BlockStore,
}

impl StoppedNode {
    /// Opens the files of a stopped node in `folder`. Returns an error if a running node uses them.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let path = folder.join("ledger.redb");
        let open = || -> Result<Self> {
            let _lock = ledger_file::lock(&path)?;
            let ledger = chain::read_only(&builder().open(&path)?)?;
            Ok(Self { ledger, blocks: BlockStore::open(&folder.join("blocks.redb"), QUOTA)? })
        };
        open().with_context(|| format!("opening the ledger {}", path.display()))
    }
}
