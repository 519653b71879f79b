//! Decides which transactions the next block can contain.

use r3mes_wgpu::{
    ledger::{Ledger, Refusal},
    tx::{DENOM, code},
};

/// The maximum total size, in bytes, of the transactions in a block.
pub(crate) const MAX_BLOCK_BYTES: usize = 1 << 20;

/// A copy of the ledger for checking new transactions. In this copy, the transactions admitted so far have already paid
/// their fees and used their sequence numbers.
pub(crate) struct Admission(Ledger);

impl Admission {
    /// Copies `ledger`, the ledger after the last block. No transaction is admitted yet.
    pub(crate) fn new(ledger: &Ledger) -> Self {
        Self(ledger.next())
    }

    /// Admits a transaction at the time `now`, in seconds since 1970, if it is valid and pays at least `min_fee`
    /// micro-units. A refused transaction changes nothing.
    pub(crate) fn admit(&mut self, tx: &[u8], min_fee: u64, now: u64) -> Result<(), Refusal> {
        let mut after = self.0.at(now);
        let paid = after.admit(tx)?.fee.amount;
        if paid < min_fee {
            let log = format!("insufficient fee: got {paid}{DENOM}, required {min_fee}{DENOM}");
            return Err(Refusal { code: code::INSUFFICIENT_FEE, log });
        }
        self.0 = after;
        Ok(())
    }
}
