//! Transaction fees. Each transaction states its fee. The fee is taken from the signer's balance, or from the balance
//! of an account that has given the signer a fee allowance. Fees are burned.
//!
//! The fee pool pays the fees of accounts that have no coins yet, up to a limit for each account and a limit for each
//! block. An attacker who creates many addresses can empty the pool only slowly, and gains nothing, because fees are
//! burned.

use super::{FeeAllowance, LedgerParams, State, coins, context::Refusal};
use crate::tx::{ADDRESS_PREFIX, DENOM, Message, Signed, code};
use cosmrs::AccountId;
use sha2::{Digest, Sha256};

/// Returns the address of the fee pool, an account whose coins pay the fees of newcomers. Nobody has the key of this
/// account.
pub fn fee_pool() -> String {
    let name = Sha256::digest("r3mes fee pool");
    AccountId::new(ADDRESS_PREFIX, &name[..20]).expect("20 bytes under a prefix of letters").to_string()
}

/// Burns the fee of a transaction. The payer is the signer, or the account that the transaction names as the granter of
/// the fee. Fails if the payer has too few coins, or if a granter does not cover this fee.
pub(super) fn charge(state: &mut State, signed: &Signed) -> Result<(), Refusal> {
    let fee = signed.fee.amount;
    let payer = match &signed.fee.granter {
        Some(granter) if *granter == fee_pool() => {
            charge_pool(state, signed)?;
            granter
        }
        Some(granter) => {
            charge_allowance(state, signed, granter)?;
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

/// Counts the fee of a transaction against the limits of the fee pool. Fails if the fee exceeds a limit, if the signer
/// can pay the fee itself, or if the transaction contains a message for which the fee pool does not pay.
fn charge_pool(state: &mut State, signed: &Signed) -> Result<(), Refusal> {
    let LedgerParams { pool_allowance, pool_per_block, .. } = state.genesis.params;
    let (fee, signer) = (signed.fee.amount, &signed.signer);
    let refused = |log: String| Err(Refusal::new(code::INSUFFICIENT_FUNDS, log));
    if !signed.messages.iter().all(is_mining) {
        return Err(Refusal::new(code::UNAUTHORIZED, "the fee pool pays only for mining messages"));
    }
    if state.account(signer).balance >= fee {
        return refused(format!("the fee pool does not pay for {signer}, which can pay {fee}{DENOM} itself"));
    }
    let paid = state.paid_by_pool.get(signer).copied().unwrap_or_default();
    let Some(paid) = paid.checked_add(fee).filter(|paid| *paid <= pool_allowance) else {
        return refused(format!(
            "the fee pool pays at most {pool_allowance}{DENOM} for an account, and has paid {paid}{DENOM} for {signer}"
        ));
    };
    let Some(in_block) = state.head().paid_by_pool.checked_add(fee).filter(|all| *all <= pool_per_block) else {
        let log = format!("the fee pool pays at most {pool_per_block}{DENOM} per block: try again in the next block");
        return Err(Refusal::new(code::MEMPOOL_FULL, log));
    };
    state.head_mut().paid_by_pool = in_block;
    state.paid_by_pool.insert(signer.clone(), paid);
    Ok(())
}

/// Returns whether the fee pool pays for a message. It pays for the messages that newcomers send to earn their first
/// coins.
fn is_mining(message: &Message) -> bool {
    match message {
        Message::ClaimTask(_) | Message::SubmitGradient(_) | Message::CompleteTask(_) => true,
        Message::SetPayout(_) | Message::OpenSession(_) => true,
        Message::Exec(_, messages) => messages.iter().all(is_mining),
        _ => false,
    }
}

/// Deducts the fee of a transaction from the fee allowance that `granter` has given to the signer. Fails if there is no
/// such allowance, or if it has expired, is smaller than the fee, or is not meant for a message of the transaction.
fn charge_allowance(state: &mut State, signed: &Signed, granter: &str) -> Result<(), Refusal> {
    let (fee, now) = (signed.fee.amount, state.head().time);
    let refused = |log: String| Err(Refusal::new(code::INSUFFICIENT_FUNDS, log));
    let opened = opened(signed, granter);
    if opened.is_none() && !signed.messages.iter().all(|message| is_covered(message, granter)) {
        let log = format!("the fee allowance of {granter} pays only for MsgExec and MsgCloseSession");
        return Err(Refusal::new(code::UNAUTHORIZED, log));
    }
    let key = (granter.to_owned(), signed.signer.clone());
    let Some(FeeAllowance { remaining, expires }) = opened.or_else(|| state.allowances.get(&key).copied()) else {
        return refused(format!("{granter} has not granted a fee allowance to {}", signed.signer));
    };
    if expires <= now {
        return refused(format!("the fee allowance of {granter} has expired"));
    }
    let Some(remaining) = remaining.checked_sub(fee) else {
        return refused(format!("the fee is {fee}{DENOM}, but the allowance of {granter} has {remaining}{DENOM} left"));
    };
    // an allowance that the transaction itself grants is not in the state yet
    if opened.is_none() {
        state.allowances.insert(key, FeeAllowance { remaining, expires });
    }
    Ok(())
}

/// Returns the fee allowance that a transaction itself grants by opening a session. Such a transaction consists of one
/// `MsgOpenSession`, whose session statement (a text that opens a session) was signed by `granter`. Returns `None` for
/// all other transactions.
fn opened(signed: &Signed, granter: &str) -> Option<FeeAllowance> {
    let [Message::OpenSession(opening)] = &signed.messages[..] else { return None };
    let session = opening.session().ok()?;
    (session.pair.granter == granter).then_some(FeeAllowance { remaining: session.cap, expires: session.expires })
}

/// Returns whether a fee allowance of `granter` pays for a message. It pays for each `MsgExec`, and for each
/// `MsgCloseSession` whose session statement (a text that closes a session) was signed by `granter`.
fn is_covered(message: &Message, granter: &str) -> bool {
    match message {
        Message::Exec(..) => true,
        Message::CloseSession(closing) => closing.pair().is_ok_and(|pair| pair.granter == granter),
        _ => false,
    }
}
