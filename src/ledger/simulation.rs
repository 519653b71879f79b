//! Simulates transactions: executes them on a copy of the ledger, without checking their signatures. Clients do this to
//! find out whether a transaction would succeed, and how much gas it needs.

use super::{CosmosEvent, Ledger, Refusal, TxOutcome, transactions};
use crate::tx::Signed;

/// The result of a simulated transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulatedTx {
    /// The gas of the transaction, computed from its minimum fee; see [`MinimumFee::gas`](crate::tx::MinimumFee::gas).
    pub gas: u64,
    /// The outcome that the transaction would have in the next block. The outcome's field `hash` is empty.
    pub outcome: TxOutcome,
    /// The events that the transaction would cause.
    pub events: Vec<CosmosEvent>,
}

impl Ledger {
    /// Executes a transaction on a copy of this ledger. `tx` is an encoded `TxRaw`, which need not be signed and need
    /// not state a fee. `min_fee` is the fee in micro-units that the node requires for every transaction. Fails if the
    /// transaction cannot be decoded.
    pub fn simulate(&self, tx: &[u8], min_fee: u64) -> Result<SimulatedTx, Refusal> {
        let signed = Signed::unsigned(tx)?;
        let fees = self.state.fees(min_fee);
        let gas = fees.gas(self.state.fee_of(&signed, &fees));
        let outcome = transactions::simulate(&mut self.next().state, &signed);
        let events = outcome.events_of(&signed, &[]);
        Ok(SimulatedTx { gas, outcome, events })
    }
}
