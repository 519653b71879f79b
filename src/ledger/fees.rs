//! A fee is what a transaction declares: it leaves the balance of who pays, and the allowance where another pays.
//!
//! The fee pool pays for those who own nothing yet: so much for each, and so much in a block, so that whoever makes
//! addresses to empty it is slowed down and gains nothing, since fees are burned.

use super::{FeeAllowance, LedgerParams, Refusal, State, coins};
use crate::tx::{ADDRESS_PREFIX, DENOM, Message, Signed, code};
use cosmrs::AccountId;
use sha2::{Digest, Sha256};

/// The account whose coins pay newcomers' fees; nobody has its key.
pub fn fee_pool() -> String {
    let name = Sha256::digest("r3mes fee pool");
    AccountId::new(ADDRESS_PREFIX, &name[..20]).expect("20 bytes under a prefix of letters").to_string()
}

/// Takes the fee, or says why it can not be paid.
pub(super) fn charge(state: &mut State, signed: &Signed) -> Result<(), Refusal> {
    let fee = signed.fee.amount;
    let payer = match &signed.fee.granter {
        Some(granter) if *granter == fee_pool() => {
            pooled(state, signed)?;
            granter
        }
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

/// Counts a fee that the pool pays, or says why it does not.
fn pooled(state: &mut State, signed: &Signed) -> Result<(), Refusal> {
    let LedgerParams { pool_allowance, pool_per_block, .. } = state.genesis.params;
    let (fee, signer) = (signed.fee.amount, &signed.signer);
    let refused = |log: String| Err(Refusal::new(code::INSUFFICIENT_FUNDS, log));
    if !signed.messages.iter().all(mines) {
        return Err(Refusal::new(code::UNAUTHORIZED, "the fee pool pays for mining alone"));
    }
    if state.account(signer).balance >= fee {
        return refused(format!("{signer} can pay {fee}{DENOM} itself"));
    }
    let paid = state.pooled.get(signer).copied().unwrap_or_default();
    let Some(paid) = paid.checked_add(fee).filter(|paid| *paid <= pool_allowance) else {
        return refused(format!("the fee pool pays {pool_allowance}{DENOM} for an account, and paid {paid}{DENOM}"));
    };
    let Some(in_block) = state.head().pooled.checked_add(fee).filter(|all| *all <= pool_per_block) else {
        let log = format!("the fee pool pays {pool_per_block}{DENOM} a block: ask again in the next");
        return Err(Refusal::new(code::MEMPOOL_FULL, log));
    };
    state.head_mut().pooled = in_block;
    state.pooled.insert(signer.clone(), paid);
    Ok(())
}

/// What a newcomer has to send to earn coins.
fn mines(message: &Message) -> bool {
    match message {
        Message::ClaimTask(_) | Message::SubmitGradient(_) | Message::CompleteTask(_) => true,
        Message::SetPayout(_) | Message::OpenSession(_) => true,
        Message::Exec(_, messages) => messages.iter().all(mines),
        _ => false,
    }
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
    let Some(FeeAllowance { left, expires }) = opened.or_else(|| state.allowances.get(&key).copied()) else {
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
        state.allowances.insert(key, FeeAllowance { left, expires });
    }
    Ok(())
}

/// The allowance that a statement in the transaction itself gives: the granter has signed it.
fn opened(signed: &Signed, granter: &str) -> Option<FeeAllowance> {
    let [Message::OpenSession(opening)] = &signed.messages[..] else { return None };
    let session = opening.session().ok()?;
    (session.pair.granter == granter).then_some(FeeAllowance { left: session.cap, expires: session.expires })
}

/// Whether an allowance pays for a message: mining, and the end of a session by its granter's word.
fn covered(message: &Message, granter: &str) -> bool {
    match message {
        Message::Exec(..) => true,
        Message::CloseSession(closing) => closing.pair().is_ok_and(|pair| pair.granter == granter),
        _ => false,
    }
}
