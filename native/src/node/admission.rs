//! Decides which transactions the next block can contain.

use r3mes_wgpu::{
    ledger::{Ledger, Refusal, is_free_duty},
    tx::{DENOM, DecodedTx, Signed, code},
};

/// A copy of the ledger for checking new transactions. In this copy, the transactions admitted so far have already paid
/// their fees and used their sequence numbers.
///
/// Checking signatures takes much longer than all other checks. Threads that share an `Admission` under a lock should
/// therefore not hold the lock during this check. They clone the `Admission`, which is cheap, call [`Self::check`] on
/// the clone, check the signatures, and then lock the shared `Admission` to call [`Self::add`].
#[derive(Clone)]
pub(crate) struct Admission(Ledger);

impl Admission {
    /// Copies `ledger`, the ledger after the last block. No transaction is admitted yet.
    pub(crate) fn new(ledger: &Ledger) -> Self {
        Self(ledger.next())
    }

    /// Returns the ID of the chain, which all signatures cover.
    pub(crate) fn chain_id(&self) -> &str {
        &self.0.genesis().chain_id
    }

    /// Decodes a transaction and checks everything about it except its signatures. If the transaction pays no fee, also
    /// checks that its messages succeed. `now` is the time at which the transaction arrives, in seconds since 1970. The
    /// transaction must pay at least `min_fee` micro-units, unless it is a [duty](is_free_duty): a free transaction of
    /// a verifier, a proposer or a party of a dispute.
    pub(crate) fn check(&self, tx: &[u8], min_fee: u64, now: u64) -> Result<DecodedTx, Refusal> {
        let decoded = DecodedTx::decode(tx)?;
        let content = decoded.content();
        self.0.at(now).precheck(content)?;
        let paid = content.fee.amount;
        if paid < min_fee && !is_free_duty(content) {
            let log = format!("insufficient fee: got {paid}{DENOM}, required {min_fee}{DENOM}");
            return Err(Refusal { code: code::INSUFFICIENT_FEE, log });
        }
        Ok(decoded)
    }

    /// Admits a transaction whose signatures have been checked. Checks everything else again, because other
    /// transactions may have been admitted in the meantime. Returns whether the transaction is a [duty](is_free_duty):
    /// a free transaction of a verifier, a proposer or a party of a dispute. A refused transaction changes nothing.
    ///
    /// In a block, duties come before other transactions, with one exception. If the mempool already contains another
    /// transaction of the same signer that is not a duty, the duty comes after this transaction.
    pub(crate) fn add(&mut self, signed: &Signed, now: u64) -> Result<bool, Refusal> {
        let mut after = self.0.at(now);
        after.reserve(signed)?;
        self.0 = after;
        Ok(is_free_duty(signed))
    }

    /// Checks a transaction and its signatures, and admits it at the time `now`, in seconds since 1970. Returns whether
    /// it is a [duty](is_free_duty): a free transaction of a verifier, a proposer or a party of a dispute. A refused
    /// transaction changes nothing.
    pub(crate) fn admit(&mut self, tx: &[u8], now: u64) -> Result<bool, Refusal> {
        let signed = self.check(tx, 0, now)?.verify(self.chain_id())?;
        self.add(&signed, now)
    }
}
