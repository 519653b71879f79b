//! The mempool: the transactions that the node has admitted and that no block contains yet.

use super::admission::{Admission, MAX_BLOCK_BYTES};
use r3mes_wgpu::{
    ledger::{Ledger, Refusal, Tx},
    tx::{Signed, code},
};
use std::collections::{BTreeSet, VecDeque};

/// The maximum number of pending transactions.
const CAPACITY: usize = 8192;

/// The pending transactions, in the order in which they arrived.
pub(super) struct Mempool {
    admission: Admission,
    txs: VecDeque<PendingTx>,
    hashes: BTreeSet<String>,
}

/// A transaction whose signatures have been checked.
pub(super) struct PendingTx {
    pub(super) hash: String,
    pub(super) bytes: Vec<u8>,
    pub(super) signed: Signed,
}

impl Mempool {
    pub(super) fn new(ledger: Ledger) -> Self {
        Self { admission: Admission::new(&ledger), txs: VecDeque::new(), hashes: BTreeSet::new() }
    }

    /// Returns a copy of the admission against which a new transaction has to be checked, or `None` if the transaction
    /// with this hash is already pending. Fails if the mempool is full.
    pub(super) fn admission(&self, hash: &str) -> Result<Option<Admission>, Refusal> {
        if self.hashes.contains(hash) {
            return Ok(None);
        }
        match self.txs.len() < CAPACITY {
            true => Ok(Some(self.admission.clone())),
            false => Err(Refusal { code: code::MEMPOOL_FULL, log: "mempool is full".to_owned() }),
        }
    }

    /// Adds a transaction whose signatures have been checked, and that arrives at the time `now`, in seconds since
    /// 1970. If the transaction is already pending, returns `Ok` and changes nothing.
    pub(super) fn add(&mut self, tx: PendingTx, now: u64) -> Result<(), Refusal> {
        if self.admission(&tx.hash)?.is_none() {
            return Ok(());
        }
        self.admission.add(&tx.signed, now)?;
        self.hashes.insert(tx.hash.clone());
        self.txs.push_back(tx);
        Ok(())
    }

    /// Returns the oldest pending transactions, as many as fit into the next block. They stay pending until
    /// [`Self::settle`] is called.
    pub(super) fn next(&self) -> Vec<Tx> {
        let mut bytes = 0;
        let fits = |tx: &&PendingTx| {
            bytes += tx.bytes.len();
            bytes <= MAX_BLOCK_BYTES
        };
        self.txs.iter().take_while(fits).map(|tx| Tx(tx.bytes.clone())).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.txs.is_empty()
    }

    /// Removes the first `count` transactions, which are now in the last block, and all transactions that are no longer
    /// valid on `ledger`, the ledger after that block.
    pub(super) fn settle(&mut self, ledger: Ledger, count: usize) {
        let now = ledger.state().head().time;
        self.admission = Admission::new(&ledger);
        let Self { admission, txs, hashes } = self;
        for tx in txs.drain(..count) {
            hashes.remove(&tx.hash);
        }
        txs.retain(|tx| {
            let fits = admission.add(&tx.signed, now).is_ok();
            if !fits {
                hashes.remove(&tx.hash);
            }
            fits
        });
    }
}
