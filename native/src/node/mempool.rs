//! The mempool: transactions that were admitted and wait for a block.

use r3mes_wgpu::chain::tx_hash;
use r3mes_wgpu::ledger::{Ledger, Refusal, Tx};
use std::collections::{BTreeSet, VecDeque};

/// Transactions that may wait.
const ROOM: usize = 8192;
/// Most bytes of a block's transactions.
const MAX_BLOCK_BYTES: usize = 1 << 20;

/// What waits, and the ledger as it would be with their fees and sequences taken.
pub(super) struct Mempool {
    after: Ledger,
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
        Self { after: ledger, txs: VecDeque::new(), hashes: BTreeSet::new() }
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
        let mut after = self.after.at(now);
        let signed = after.admit(&tx).map_err(Unfit::Refused)?;
        if signed.fee.amount < min_fee {
            let (paid, denom) = (signed.fee.amount, r3mes_wgpu::chain::DENOM);
            let log = format!("insufficient fee: got {paid}{denom}, required {min_fee}{denom}");
            return Err(Unfit::Refused(Refusal { code: r3mes_wgpu::chain::code::INSUFFICIENT_FEE, log }));
        }
        self.after = after;
        self.hashes.insert(hash.clone());
        self.txs.push_back((hash, tx));
        Ok(())
    }

    /// The transactions of the next block; they stay until [`Self::settle`].
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

    /// Drops the first `count`, which are in a block that made `ledger`, and whatever does not fit it any more.
    pub(super) fn settle(&mut self, ledger: Ledger, count: usize) {
        self.after = ledger;
        let Self { after, txs, hashes } = self;
        for (hash, _) in txs.drain(..count) {
            hashes.remove(&hash);
        }
        txs.retain(|(hash, tx)| {
            let fits = after.admit(tx).is_ok();
            if !fits {
                hashes.remove(hash);
            }
            fits
        });
    }
}
