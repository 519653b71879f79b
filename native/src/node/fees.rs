//! A fee is what a transaction declares: it leaves the balance of who pays, and the allowance where another pays.

use super::tables::*;
use super::transactions::Refusal;
use anyhow::{Context, Result};
use r3mes_wgpu::chain::{DENOM, Message, Signed, code};
use redb::{ReadableTable, WriteTransaction};

/// Who pays, and what stays.
pub(super) struct Bill<'a> {
    payer: &'a str,
    balance: u64,
    /// What stays of the allowance that pays, and until when.
    allowance: Option<(u64, u64)>,
}

/// What a transaction's fee leaves, or why it can not be paid.
pub(super) fn bill<'a>(
    balances: &impl ReadableTable<&'static str, u64>,
    allowances: &impl ReadableTable<(&'static str, &'static str), (u64, u64)>,
    signed: &'a Signed,
    now: u64,
) -> Result<Result<Bill<'a>, Refusal>> {
    let fee = signed.fee.amount;
    let refused = |log: String| Ok(Err(Refusal::new(code::INSUFFICIENT_FUNDS, log)));
    let (mut payer, mut allowance) = (signed.signer.as_str(), None);
    if let Some(granter) = &signed.fee.granter {
        payer = granter;
        let granted = match opened(signed, granter) {
            Some(granted) => Some(granted),
            None if !signed.messages.iter().all(|message| covered(message, granter)) => {
                let log = format!("the fee allowance of {granter} is for MsgExec alone");
                return Ok(Err(Refusal::new(code::UNAUTHORIZED, log)));
            }
            None => allowances.get((granter.as_str(), signed.signer.as_str()))?.map(|allowance| allowance.value()),
        };
        let Some((left, expires)) = granted else {
            return refused(format!("{granter} grants {} no fee allowance", signed.signer));
        };
        if expires <= now {
            return refused(format!("the fee allowance of {granter} is expired"));
        }
        let Some(left) = left.checked_sub(fee) else {
            return refused(format!("the fee is {fee}{DENOM}, of the allowance of {granter} {left}{DENOM} are left"));
        };
        allowance = Some((left, expires));
    }
    let owned = balances.get(payer)?.map_or(0, |balance| balance.value());
    match owned.checked_sub(fee) {
        Some(balance) => Ok(Ok(Bill { payer, balance, allowance })),
        None => refused(format!("the fee is {fee}{DENOM}, {payer} owns {owned}{DENOM}")),
    }
}

/// Takes the fee.
pub(super) fn charge(write: &WriteTransaction, signed: &Signed, now: u64) -> Result<Result<(), Refusal>> {
    let fee = signed.fee.amount;
    if fee == 0 && signed.fee.granter.is_none() {
        return Ok(Ok(()));
    }
    let (mut balances, mut allowances) = (write.open_table(BALANCES)?, write.open_table(ALLOWANCES)?);
    let Bill { payer, balance, allowance } = match bill(&balances, &allowances, signed, now)? {
        Ok(bill) => bill,
        Err(refusal) => return Ok(Err(refusal)),
    };
    balances.insert(payer, balance)?;
    if let Some(allowance) = allowance {
        allowances.insert((payer, signed.signer.as_str()), allowance)?;
    }
    let mut fees = write.open_table(FEES)?;
    let before = fees.get(())?.map_or(0, |fees| fees.value());
    fees.insert((), before.checked_add(fee).context("fees beyond 2^64 micro-units")?)?;
    Ok(Ok(()))
}

/// The allowance that a statement in the transaction itself gives: the granter has signed it.
fn opened(signed: &Signed, granter: &str) -> Option<(u64, u64)> {
    let [Message::OpenSession(opening)] = &signed.messages[..] else { return None };
    let session = opening.session().ok()?;
    (session.between.granter == granter).then_some((session.cap, session.expires))
}

/// Whether an allowance pays for a message: mining, and the end of a session by its granter's word.
fn covered(message: &Message, granter: &str) -> bool {
    match message {
        Message::Exec(..) => true,
        Message::CloseSession(closing) => closing.between().is_ok_and(|between| between.granter == granter),
        _ => false,
    }
}
