//! Transfers: what leaves one balance is what another gets.

use super::tables::*;
use super::transactions::Refusal;
use anyhow::Result;
use r3mes_wgpu::chain::{DENOM, Transfer, code};
use redb::{ReadableTable, WriteTransaction};

/// Moves coins, or says why not; then nothing is changed.
pub(super) fn apply(write: &WriteTransaction, transfer: &Transfer) -> Result<Result<(), Refusal>> {
    let Transfer { from, to, amount } = transfer;
    let mut balances = write.open_table(BALANCES)?;
    let owned = balances.get(from.as_str())?.map_or(0, |balance| balance.value());
    let Some(left) = owned.checked_sub(*amount) else {
        let log = format!("spendable balance {owned}{DENOM} is smaller than {amount}{DENOM}: insufficient funds");
        return Ok(Err(Refusal::new(code::INSUFFICIENT_FUNDS, log)));
    };
    // to oneself nothing moves
    if from == to {
        return Ok(Ok(()));
    }
    let had = balances.get(to.as_str())?.map_or(0, |balance| balance.value());
    let Some(has) = had.checked_add(*amount) else {
        return Ok(Err(Refusal::new(code::MALFORMED, format!("{to} would own 2^64{DENOM} or more"))));
    };
    balances.insert(from.as_str(), left)?;
    balances.insert(to.as_str(), has)?;
    Ok(Ok(()))
}
