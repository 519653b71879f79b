//! The mempool: the transactions that the node has admitted and that no block contains yet. *Duties* are the free
//! transactions of verifiers, proposers and the parties of disputes. They come before all transactions that are not
//! duties, so nobody can delay duties by filling the mempool.

use super::admission::Admission;
use r3mes_wgpu::{
    ledger::{Ledger, MAX_BLOCK_BYTES, Refusal, Tx},
    tx::{Signed, code, tx_hash},
};
use std::collections::{BTreeSet, VecDeque};

/// The maximum number of pending duties (free transactions of verifiers, proposers and the parties of disputes), and
/// also the maximum number of other pending transactions.
const CAPACITY: usize = 8192;

/// The pending transactions.
pub(super) struct Mempool {
    admission: Admission,
    /// The duties (free transactions of verifiers, proposers and the parties of disputes), in the order in which they
    /// arrived.
    duties: VecDeque<PendingTx>,
    /// The transactions that are not duties, in the order in which they arrived. If the signer of such a transaction
    /// sends a duty afterwards, the duty is also stored here, so that it comes after the transaction.
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
        Self {
            admission: Admission::new(&ledger),
            duties: VecDeque::new(),
            txs: VecDeque::new(),
            hashes: BTreeSet::new(),
        }
    }

    /// Returns a copy of the ledger on which the caller can check a new transaction. `hash` is the hash of this
    /// transaction. Returns `None` if the transaction is already pending.
    pub(super) fn admission(&self, hash: &str) -> Option<Admission> {
        (!self.hashes.contains(hash)).then(|| self.admission.clone())
    }

    /// Adds a transaction whose signatures have been checked. `now` is the time at which it arrives, in seconds since
    /// 1970. If the transaction is already pending, returns `Ok` and changes nothing. Fails if the mempool is full.
    pub(super) fn add(&mut self, tx: PendingTx, now: u64) -> Result<(), Refusal> {
        let Some(mut admission) = self.admission(&tx.hash) else { return Ok(()) };
        let is_duty = admission.add(&tx.signed, now)?;
        // a transaction must come after the earlier ones of its signer
        let is_duty = is_duty && !self.txs.iter().any(|other| other.signed.signer == tx.signed.signer);
        let queue = if is_duty { &mut self.duties } else { &mut self.txs };
        if queue.len() >= CAPACITY {
            return Err(Refusal { code: code::MEMPOOL_FULL, log: "mempool is full".to_owned() });
        }
        self.admission = admission;
        self.hashes.insert(tx.hash.clone());
        queue.push_back(tx);
        Ok(())
    }

    /// Returns the pending transactions for the next block, as many as a block may contain. The duties (free
    /// transactions of verifiers, proposers and the parties of disputes) come first, and then the other transactions,
    /// each in the order in which they arrived. All of them stay pending until [`Self::settle`] is called.
    pub(super) fn next(&self) -> Vec<Tx> {
        let mut bytes = 0;
        let fits = |tx: &&PendingTx| {
            bytes += tx.bytes.len();
            bytes <= MAX_BLOCK_BYTES
        };
        self.duties.iter().chain(&self.txs).take_while(fits).map(|tx| Tx(tx.bytes.clone())).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.duties.is_empty() && self.txs.is_empty()
    }

    /// Removes the transactions of `block`, the last block, and all transactions that are no longer valid on `ledger`,
    /// the ledger after that block.
    pub(super) fn settle(&mut self, ledger: Ledger, block: &[Tx]) {
        let now = ledger.state().head().time;
        self.admission = Admission::new(&ledger);
        for tx in block {
            self.hashes.remove(&tx_hash(&tx.0));
        }
        let Self { admission, duties, txs, hashes } = self;
        duties.retain(|tx| hashes.contains(&tx.hash));
        txs.retain(|tx| hashes.contains(&tx.hash));
        let mut is_valid = |tx: &PendingTx| {
            let fits = admission.add(&tx.signed, now).is_ok();
            if !fits {
                hashes.remove(&tx.hash);
            }
            fits
        };
        duties.retain(&mut is_valid);
        txs.retain(&mut is_valid);
    }
}
