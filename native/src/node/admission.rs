//! Who may be in the next block.

use r3mes_wgpu::{
    ledger::{Ledger, Refusal},
    tx::{DENOM, code},
};

/// Most bytes of a block's transactions.
pub(crate) const MAX_BLOCK_BYTES: usize = 1 << 20;

/// The ledger as it would be with the fees and sequences of what was admitted taken.
pub(crate) struct Admission(Ledger);

impl Admission {
    /// Nothing is admitted yet.
    pub(crate) fn new(ledger: &Ledger) -> Self {
        Self(ledger.next())
    }

    /// Admits a transaction that pays `min_fee` micro-units at least, at the time `now`; one that is refused changes
    /// nothing.
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
