//! The mempool: the transactions that the node has admitted and that no block contains yet.

use super::admission::{Admission, MAX_BLOCK_BYTES};
use r3mes_wgpu::{
    ledger::{Ledger, Refusal, Tx},
    tx::tx_hash,
};
use std::collections::{BTreeSet, VecDeque};

/// The maximum number of pending transactions.
const CAPACITY: usize = 8192;

/// The pending transactions, in the order in which they arrived.
pub(super) struct Mempool {
    admission: Admission,
    txs: VecDeque<(String, Vec<u8>)>,
    hashes: BTreeSet<String>,
}

/// The reason why a transaction was not added to the mempool.
pub(super) enum MempoolError {
    /// The mempool already contains the maximum number of transactions.
    Full,
    /// The ledger would refuse the transaction, or its fee is below the node's minimum.
    Refused(Refusal),
}

impl Mempool {
    pub(super) fn new(ledger: Ledger) -> Self {
        Self { admission: Admission::new(&ledger), txs: VecDeque::new(), hashes: BTreeSet::new() }
    }

    /// Adds a transaction that arrives at the time `now`, in seconds since 1970. If the transaction is already pending,
    /// returns `Ok` and changes nothing.
    pub(super) fn add(&mut self, tx: Vec<u8>, min_fee: u64, now: u64) -> Result<(), MempoolError> {
        let hash = tx_hash(&tx);
        if self.hashes.contains(&hash) {
            return Ok(());
        }
        if self.txs.len() >= CAPACITY {
            return Err(MempoolError::Full);
        }
        self.admission.admit(&tx, min_fee, now).map_err(MempoolError::Refused)?;
        self.hashes.insert(hash.clone());
        self.txs.push_back((hash, tx));
        Ok(())
    }

    /// Returns the oldest pending transactions, as many as fit into the next block. They stay pending until
    /// [`Self::settle`] is called.
    pub(super) fn next(&self) -> Vec<Tx> {
        let mut bytes = 0;
        let fits = |(_, tx): &&(String, Vec<u8>)| {
            bytes += tx.len();
            bytes <= MAX_BLOCK_BYTES
        };
        self.txs.iter().take_while(fits).map(|(_, tx)| Tx(tx.clone())).collect()
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
        for (hash, _) in txs.drain(..count) {
            hashes.remove(&hash);
        }
        txs.retain(|(hash, tx)| {
            let fits = admission.admit(tx, 0, now).is_ok();
            if !fits {
                hashes.remove(hash);
            }
            fits
        });
    }
}
