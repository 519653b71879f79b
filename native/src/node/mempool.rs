//! The mempool: transactions that were admitted and wait for a block.

use super::Admission;
use r3mes_wgpu::{
    ledger::{Ledger, Refusal, Tx},
    tx::tx_hash,
};
use std::collections::{BTreeSet, VecDeque};

/// Transactions that may wait.
const ROOM: usize = 8192;

/// What waits.
pub(super) struct Mempool {
    admission: Admission,
    txs: VecDeque<(String, Vec<u8>)>,
    hashes: BTreeSet<String>,
}

/// Why a transaction does not wait.
pub(super) enum Unfit {
    /// Nothing is wrong with it: too many wait.
    Full,
    Refused(Refusal),
}

impl Mempool {
    pub(super) fn new(ledger: Ledger) -> Self {
        Self { admission: Admission::new(&ledger), txs: VecDeque::new(), hashes: BTreeSet::new() }
    }

    /// Admits a transaction at the time `now`; one that waits already is well.
    pub(super) fn add(&mut self, tx: Vec<u8>, min_fee: u64, now: u64) -> Result<(), Unfit> {
        let hash = tx_hash(&tx);
        if self.hashes.contains(&hash) {
            return Ok(());
        }
        if self.txs.len() >= ROOM {
            return Err(Unfit::Full);
        }
        self.admission.admit(&tx, min_fee, now).map_err(Unfit::Refused)?;
        self.hashes.insert(hash.clone());
        self.txs.push_back((hash, tx));
        Ok(())
    }

    /// The transactions of the next block; they stay until [`Self::settle`].
    pub(super) fn next(&self) -> Vec<Tx> {
        let mut bytes = 0;
        let fits = |(_, tx): &&(String, Vec<u8>)| {
            bytes += tx.len();
            bytes <= super::MAX_BLOCK_BYTES
        };
        self.txs.iter().take_while(fits).map(|(_, tx)| Tx(tx.clone())).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.txs.is_empty()
    }

    /// Drops the first `count`, which are in a block that made `ledger`, and whatever does not fit it any more.
    pub(super) fn settle(&mut self, ledger: Ledger, count: usize) {
        let now = ledger.state().scalars().time;
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
