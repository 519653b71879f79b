//! Coins. New coins come only from the genesis and from rewards. All other operations move coins or burn them.

use super::{State, context::Refusal};
use crate::tx::{DENOM, MsgSetPayout, Transfer, code};

/// Transfers coins from one account to another. Fails if the sender has too few coins.
pub(super) fn transfer(state: &mut State, transfer: &Transfer) -> Result<(), Refusal> {
    let Transfer { from, to, amount } = transfer;
    let owned = state.account(from).balance;
    let Some(left) = owned.checked_sub(*amount) else {
        let log = format!("spendable balance {owned}{DENOM} is smaller than {amount}{DENOM}: insufficient funds");
        return Err(Refusal::new(code::INSUFFICIENT_FUNDS, log));
    };
    state.account_mut(from).balance = left;
    // the sum cannot overflow, because all coins together are fewer than 2^64 micro-units
    state.account_mut(to).balance += amount;
    Ok(())
}

/// Removes coins from an account. Fails if the account has too few coins; the message of the error then begins with
/// `purpose`, which states what the coins are for.
pub(super) fn take(state: &mut State, from: &str, amount: u64, purpose: &str) -> Result<(), Refusal> {
    let owned = state.account(from).balance;
    let Some(left) = owned.checked_sub(amount) else {
        let log = format!("{purpose} is {amount}{DENOM}, but {from} has only {owned}{DENOM}");
        return Err(Refusal::new(code::INSUFFICIENT_FUNDS, log));
    };
    if amount > 0 {
        state.account_mut(from).balance = left;
    }
    Ok(())
}

/// Adds coins to the balance of an account, and does nothing else. So that the sum of all coins stays right, the caller
/// must have taken the same amount from locked coins, have taken back that it was burned, or have just minted it.
pub(super) fn give_back(state: &mut State, to: &str, amount: u64) {
    if amount > 0 {
        state.account_mut(to).balance += amount;
    }
}

/// Mints up to `amount` micro-units, and returns how many were minted: fewer than `amount` only if the total of all
/// coins ever minted would otherwise exceed 2^64 − 1 micro-units. The caller must add the new coins to a balance or to
/// an escrow.
pub(super) fn mint(state: &mut State, amount: u64) -> u64 {
    let head = state.head_mut();
    let amount = amount.min(u64::MAX - head.minted);
    head.minted += amount;
    amount
}

/// Pays the winner of a dispute a bounty: half of the `lost` micro-units that the loser has just lost, but at most the
/// bond of a dispute (`dispute_bond`). All other lost coins stay burned, so that an account that disputes with itself
/// loses money.
pub(super) fn pay_bounty(state: &mut State, winner: &str, lost: u64) {
    let bounty = (lost / 2).min(state.genesis.params.dispute_bond);
    state.head_mut().burned -= bounty;
    give_back(state, winner, bounty);
}

/// Pays back to its owner every stake whose unbonding time has ended.
pub(super) fn unbond(state: &mut State) {
    let clock = state.head().clock;
    while let Some(((due, _), _)) = state.unbonding.get_min() {
        if *due > clock {
            return;
        }
        let (least, rest) = state.unbonding.without_min_with_key();
        state.unbonding = rest;
        let Some(((_, node), stake)) = least else { return };
        give_back(state, &node, stake);
    }
}

/// Sets the payout address of a miner: the account that receives the miner's rewards.
pub(super) fn set_payout(state: &mut State, message: &MsgSetPayout) {
    state.account_mut(&message.miner).payout = Some(message.payout.clone());
}
