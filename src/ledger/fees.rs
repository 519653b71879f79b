//! Transaction fees. Each transaction states its fee. The fee is taken from the signer's balance, or from the balance
//! of an account that has given the signer a fee allowance. Fees are burned. The minimum fee depends on the size of the
//! transaction, and on the rows that it may add to the state.
//!
//! Two kinds of transactions pay no fee, and are admitted only if their messages succeed:
//!
//! - *duties*, the messages that the ledger expects from verifiers, proposers and the parties of disputes. Nobody can
//!   send many of them at no cost, because each duty is limited in number or needs a bond;
//! - the mining messages of accounts that have no coins yet. Their fees are waived up to a limit for each account and a
//!   limit for each block.

use super::{FeeAllowance, LedgerParams, State, coins, context::Refusal};
use crate::tx::{ADDRESS_PREFIX, DENOM, Message, MinimumFee, Signed, code};
use cosmrs::AccountId;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

/// Returns whether a transaction is a free duty: it consists of messages of verifiers, proposers and the parties of
/// disputes, and states no fee. Such a transaction is admitted only if its messages succeed, and should come before all
/// other transactions in a block.
pub fn is_free_duty(signed: &Signed) -> bool {
    signed.fee.amount == 0 && Message::all_are_duties(&signed.messages)
}

/// Returns whether nobody pays a fee for a transaction. This is the case if its fee is waived, or if it states no fee
/// and contains only duties: messages that the ledger expects from verifiers, proposers and the parties of disputes.
pub(super) fn is_free(signed: &Signed) -> bool {
    is_free_duty(signed) || signed.fee.granter.as_ref() == Some(&*FEE_WAIVER)
}

impl State {
    fn minimum_fee(&self, signed: &Signed) -> u64 {
        self.fee_of(signed, &self.fees(0))
    }

    /// Returns the minimum fees of transactions on a node that requires at least `floor` micro-units for each
    /// transaction.
    pub fn fees(&self, floor: u64) -> MinimumFee {
        let LedgerParams { fee_per_byte, fee_per_row, .. } = self.genesis.params;
        MinimumFee { floor, per_byte: fee_per_byte, per_row: fee_per_row }
    }

    /// Returns the minimum fee of a transaction in micro-units. `fees` states the fee for each byte of the transaction,
    /// the fee for each row that the transaction may add to the state, and the smallest fee of any transaction.
    pub(super) fn fee_of(&self, signed: &Signed, fees: &MinimumFee) -> u64 {
        fees.of(signed.bytes, &signed.messages, !self.accounts.contains_key(&signed.signer))
    }
}

static FEE_WAIVER: LazyLock<String> = LazyLock::new(|| {
    let name = Sha256::digest("r3mes fee waiver");
    AccountId::new(ADDRESS_PREFIX, &name[..20]).expect("20 bytes under a prefix of letters").to_string()
});

/// Returns a fixed address for which nobody has a key. A transaction that states this address as the granter of its fee
/// asks that the fee be waived.
pub fn fee_waiver() -> String {
    FEE_WAIVER.clone()
}

/// Returns the address of the account that pays the fee of a transaction, or `None` if the fee is waived.
pub(super) fn payer(signed: &Signed) -> Option<&str> {
    match &signed.fee.granter {
        Some(granter) if *granter == *FEE_WAIVER => None,
        Some(granter) => Some(granter),
        None => Some(&signed.signer),
    }
}

/// Fails if the fee of a transaction is lower than the minimum fee, unless the transaction states no fee and contains
/// only duties: messages that the ledger expects from verifiers, proposers and the parties of disputes.
pub(super) fn check_minimum(state: &State, signed: &Signed) -> Result<(), Refusal> {
    let (fee, minimum) = (signed.fee.amount, state.minimum_fee(signed));
    if fee < minimum && !is_free_duty(signed) {
        let log = format!("insufficient fee: got {fee}{DENOM}, required {minimum}{DENOM}");
        return Err(Refusal::new(code::INSUFFICIENT_FEE, log));
    }
    Ok(())
}

/// Burns the fee of a transaction. The payer is the signer, or the account that the transaction names as the granter of
/// the fee. Fails if the payer has too few coins, or if the granter has given the signer no fee allowance that covers
/// this fee. If the transaction asks that its fee be waived, the fee is waived instead (see [`waive`]).
pub(super) fn charge(state: &mut State, signed: &Signed) -> Result<(), Refusal> {
    let fee = signed.fee.amount;
    let Some(payer) = payer(signed) else { return waive(state, signed) };
    if payer != signed.signer {
        charge_allowance(state, signed, payer)?;
    }
    coins::take(state, payer, fee, "the fee")?;
    if fee > 0 {
        let head = state.head_mut();
        head.fees += fee;
        head.burned += fee;
    }
    Ok(())
}

/// Waives the fee of a transaction. There is a limit on the fees that are ever waived for one account, and a limit on
/// the fees that are waived in one block. Fails if the fee would exceed one of these limits, if the signer can pay the
/// fee itself, or if the transaction contains a message whose fee cannot be waived.
fn waive(state: &mut State, signed: &Signed) -> Result<(), Refusal> {
    let LedgerParams { waiver_per_account, waiver_per_block, .. } = state.genesis.params;
    let (fee, signer) = (signed.fee.amount, &signed.signer);
    let refused = |log: String| Err(Refusal::new(code::INSUFFICIENT_FUNDS, log));
    if !signed.messages.iter().all(is_mining) {
        return Err(Refusal::new(code::UNAUTHORIZED, "only the fees of mining messages are waived"));
    }
    if state.account(signer).balance >= fee {
        return refused(format!("the fee is not waived: {signer} can pay {fee}{DENOM} itself"));
    }
    let waived = state.waived.get(signer).copied().unwrap_or_default();
    let Some(total) = waived.checked_add(fee).filter(|total| *total <= waiver_per_account) else {
        return refused(format!(
            "fees of at most {waiver_per_account}{DENOM} are waived for an account, and {waived}{DENOM} have been \
             waived for {signer}"
        ));
    };
    let Some(in_block) = state.head().waived_in_block.checked_add(fee).filter(|all| *all <= waiver_per_block) else {
        let log =
            format!("a block waives fees of at most {waiver_per_block}{DENOM} in total: try again in the next block");
        return Err(Refusal::new(code::MEMPOOL_FULL, log));
    };
    state.head_mut().waived_in_block = in_block;
    state.waived.insert(signer.clone(), total);
    Ok(())
}

/// Returns whether the fee of a message can be waived. This is the case for the messages that newcomers send to earn
/// their first coins.
fn is_mining(message: &Message) -> bool {
    match message {
        Message::ClaimTask(_) | Message::SubmitGradient(_) | Message::CompleteTask(_) => true,
        Message::SetPayout(_) | Message::OpenSession(_) => true,
        Message::Exec(_, messages) => messages.iter().all(is_mining),
        _ => false,
    }
}

/// Deducts the fee of a transaction from the fee allowance that `granter` has given to the signer. Fails if there is no
/// such allowance, if it has expired or is smaller than the fee, or if the transaction contains a message that fee
/// allowances do not cover.
fn charge_allowance(state: &mut State, signed: &Signed, granter: &str) -> Result<(), Refusal> {
    let (fee, now) = (signed.fee.amount, state.head().time);
    let refused = |log: String| Err(Refusal::new(code::INSUFFICIENT_FUNDS, log));
    let opened = opened(signed, granter);
    if opened.is_none() && !signed.messages.iter().all(|message| is_covered(message, granter)) {
        let log = format!("the fee allowance from {granter} pays only for MsgExec and MsgCloseSession");
        return Err(Refusal::new(code::UNAUTHORIZED, log));
    }
    let key = (granter.to_owned(), signed.signer.clone());
    let Some(FeeAllowance { remaining, expires }) = opened.or_else(|| state.allowances.get(&key).copied()) else {
        return refused(format!("{granter} has not granted a fee allowance to {}", signed.signer));
    };
    if expires <= now {
        return refused(format!("the fee allowance from {granter} has expired"));
    }
    let Some(remaining) = remaining.checked_sub(fee) else {
        return refused(format!(
            "the fee is {fee}{DENOM}, but the fee allowance from {granter} has {remaining}{DENOM} left"
        ));
    };
    // an allowance that the transaction itself grants is not in the state yet
    if opened.is_none() {
        state.allowances.insert(key, FeeAllowance { remaining, expires });
    }
    Ok(())
}

/// If a transaction opens a session of `granter`, returns the fee allowance that the session receives. The transaction
/// must consist of one `MsgOpenSession`, and `granter` must have signed its session statement (a text that opens a
/// session). Returns `None` for all other transactions.
fn opened(signed: &Signed, granter: &str) -> Option<FeeAllowance> {
    let [Message::OpenSession(opening)] = &signed.messages[..] else { return None };
    let session = opening.session().ok()?;
    (session.pair.granter == granter).then_some(FeeAllowance { remaining: session.cap, expires: session.expires })
}

/// Returns whether a fee allowance of `granter` pays for a message. It pays for each `MsgExec` (which sends messages in
/// the name of another account), and for each `MsgCloseSession` whose session statement (a text that closes a session)
/// was signed by `granter`.
fn is_covered(message: &Message, granter: &str) -> bool {
    match message {
        Message::Exec(..) => true,
        Message::CloseSession(closing) => closing.pair().is_ok_and(|pair| pair.granter == granter),
        _ => false,
    }
}
