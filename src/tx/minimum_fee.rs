//! The minimum fee of a transaction.

use super::Message;

/// The gas of a transfer. The gas of any other transaction is proportional to its minimum fee. This program writes the
/// gas into each of its transactions as the gas limit, but the ledger does not count gas.
pub const TRANSFER_GAS: u64 = 200_000;
/// The largest size of a transfer in bytes.
const TRANSFER_BYTES: u64 = 512;
/// The largest number of rows that a transfer adds to the ledger's state. A row is a value under a key.
const TRANSFER_ROWS: u64 = 2;
/// The number of digits after the decimal point of a gas price in the Cosmos SDK.
const PRICE_DIGITS: usize = 18;

/// The minimum fee of transactions. It does not apply to [duties](Message::all_are_duties): messages that the ledger
/// expects from verifiers, proposers and the parties of disputes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MinimumFee {
    /// The smallest fee of any transaction, in micro-units. Each node chooses this value for its own mempool; the
    /// ledger itself uses 0.
    pub floor: u64,
    /// Fee for each byte of the transaction, in micro-units.
    pub per_byte: u64,
    /// Fee, in micro-units, for each long-lived row that the transaction may add to the ledger's state. A row is a
    /// value under a key.
    pub per_row: u64,
}

impl MinimumFee {
    /// Returns the minimum fee, in micro-units, of a transaction of `bytes` bytes with these messages. `is_new` states
    /// whether the transaction is the first one of its signer, and therefore adds an account.
    pub fn of(&self, bytes: usize, messages: &[Message], is_new: bool) -> u64 {
        let rows = u64::from(is_new) + messages.iter().map(rows).sum::<u64>();
        let size = self.per_byte.saturating_mul(bytes as u64);
        size.saturating_add(self.per_row.saturating_mul(rows)).max(self.floor)
    }

    /// Returns the gas of a transaction whose minimum fee is `fee`: the smallest amount whose product with the [gas
    /// price](Self::gas_price) is at least the fee. Returns [`TRANSFER_GAS`] if transactions cost nothing.
    pub fn gas(&self, fee: u64) -> u64 {
        match self.of_transfer() {
            0 => TRANSFER_GAS,
            transfer => {
                let gas = (u128::from(fee) * u128::from(TRANSFER_GAS)).div_ceil(transfer.into());
                u64::try_from(gas).unwrap_or(u64::MAX)
            }
        }
    }

    /// Returns the price of one unit of gas, in micro-units: the fee of a transfer divided by [`TRANSFER_GAS`]. The
    /// price is a decimal number with 18 digits after the decimal point.
    pub fn gas_price(&self) -> String {
        const ONE: u128 = 10_u128.pow(PRICE_DIGITS as u32);
        // no digit is lost, because `TRANSFER_GAS` divides `ONE`
        let price = u128::from(self.of_transfer()) * (ONE / u128::from(TRANSFER_GAS));
        format!("{}.{:0PRICE_DIGITS$}", price / ONE, price % ONE)
    }

    fn of_transfer(&self) -> u64 {
        let size = self.per_byte.saturating_mul(TRANSFER_BYTES);
        size.saturating_add(self.per_row.saturating_mul(TRANSFER_ROWS)).max(self.floor)
    }
}

/// Returns the largest number of long-lived rows that a message adds to the ledger's state. A row is a value under a
/// key. Rows that are removed after a few rounds do not count, and neither do rows for which the sender must lock
/// coins.
fn rows(message: &Message) -> u64 {
    match message {
        Message::Send(_) | Message::SetPayout(_) => 1,
        // each grant and each fee allowance has a second row, which schedules its removal
        Message::Grant(_) | Message::GrantAllowance(_) => 2,
        Message::OpenSession(opening) => opening.session().map_or(0, |session| 2 * session.grants().count() as u64 + 3),
        Message::Exec(_, messages) => messages.iter().map(rows).sum(),
        _ => 0,
    }
}

impl Message {
    /// Returns whether all of these messages are duties: messages of verifiers, proposers and the parties of disputes.
    /// Duties cost no fee, because the ledger expects them, and because they are limited in number or need a bond.
    pub fn all_are_duties(messages: &[Self]) -> bool {
        use Message::{
            AnswerDispute, Appeal, Arbitrate, CommitAggregation, CommitAttestation, MoveDispute, OpenDispute,
            RevealAggregation, RevealAttestation, RevealBeacon,
        };
        let is_duty = |message: &Self| {
            matches!(
                message,
                RevealBeacon(_)
                    | CommitAttestation(_)
                    | RevealAttestation(_)
                    | Arbitrate(_)
                    | CommitAggregation(_)
                    | RevealAggregation(_)
                    | OpenDispute(_)
                    | Appeal(_)
                    | AnswerDispute(_)
                    | MoveDispute(_)
            )
        };
        messages.iter().all(is_duty)
    }
}
