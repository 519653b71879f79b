//! A fee is what a transaction declares: it leaves the balance of who pays, and the allowance where another pays.

use super::{Allowed, Refusal, State, coins};
use crate::chain::{DENOM, Message, Signed, code};

/// Takes the fee, or says why it can not be paid.
pub(super) fn charge(state: &mut State, signed: &Signed) -> Result<(), Refusal> {
    let fee = signed.fee.amount;
    let payer = match &signed.fee.granter {
        Some(granter) => {
            allowance(state, signed, granter)?;
            granter
        }
        None => &signed.signer,
    };
    coins::take(state, payer, fee, "the fee")?;
    if fee > 0 {
        let head = state.head_mut();
        head.fees += fee;
        head.burned += fee;
    }
    Ok(())
}

/// Takes the fee from the allowance that pays.
fn allowance(state: &mut State, signed: &Signed, granter: &str) -> Result<(), Refusal> {
    let (fee, now) = (signed.fee.amount, state.head().time);
    let refused = |log: String| Err(Refusal::new(code::INSUFFICIENT_FUNDS, log));
    let opened = opened(signed, granter);
    if opened.is_none() && !signed.messages.iter().all(|message| covered(message, granter)) {
        let log = format!("the fee allowance of {granter} is for MsgExec alone");
        return Err(Refusal::new(code::UNAUTHORIZED, log));
    }
    let key = (granter.to_owned(), signed.signer.clone());
    let Some(Allowed { left, expires }) = opened.or_else(|| state.allowances.get(&key).copied()) else {
        return refused(format!("{granter} grants {} no fee allowance", signed.signer));
    };
    if expires <= now {
        return refused(format!("the fee allowance of {granter} is expired"));
    }
    let Some(left) = left.checked_sub(fee) else {
        return refused(format!("the fee is {fee}{DENOM}, of the allowance of {granter} {left}{DENOM} are left"));
    };
    // what a statement in the transaction itself gives is not on the ledger yet
    if opened.is_none() {
        state.allowances.insert(key, Allowed { left, expires });
    }
    Ok(())
}

/// The allowance that a statement in the transaction itself gives: the granter has signed it.
fn opened(signed: &Signed, granter: &str) -> Option<Allowed> {
    let [Message::OpenSession(opening)] = &signed.messages[..] else { return None };
    let session = opening.session().ok()?;
    (session.between.granter == granter).then_some(Allowed { left: session.cap, expires: session.expires })
}

/// Whether an allowance pays for a message: mining, and the end of a session by its granter's word.
fn covered(message: &Message, granter: &str) -> bool {
    match message {
        Message::Exec(..) => true,
        Message::CloseSession(closing) => closing.between().is_ok_and(|between| between.granter == granter),
        _ => false,
    }
}
