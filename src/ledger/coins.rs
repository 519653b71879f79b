//! Coins. Only the genesis and rewards mint coins; every other operation moves or burns them.

use super::{LedgerParams, State, context::Refusal};
use crate::tx::{DENOM, MsgSetPayout, Transfer, check_address, code};

/// Executes a transfer.
pub(super) fn transfer(state: &mut State, transfer: &Transfer) -> Result<(), Refusal> {
    let Transfer { from, to, amount } = transfer;
    let owned = state.account(from).balance;
    let Some(left) = owned.checked_sub(*amount) else {
        let log = format!("spendable balance {owned}{DENOM} is smaller than {amount}{DENOM}: insufficient funds");
        return Err(Refusal::new(code::INSUFFICIENT_FUNDS, log));
    };
    state.account_mut(from).balance = left;
    // no overflow: all coins together are fewer than 2^64
    state.account_mut(to).balance += amount;
    Ok(())
}

/// Takes coins from an account. Fails if the account has too few; the error's log then names `purpose`.
pub(super) fn take(state: &mut State, from: &str, amount: u64, purpose: &str) -> Result<(), Refusal> {
    let owned = state.account(from).balance;
    let Some(left) = owned.checked_sub(amount) else {
        let log = format!("{purpose} is {amount}{DENOM}, but {from} has {owned}{DENOM}");
        return Err(Refusal::new(code::INSUFFICIENT_FUNDS, log));
    };
    if amount > 0 {
        state.account_mut(from).balance = left;
    }
    Ok(())
}

/// Adds coins, which were locked or minted before, to an account.
pub(super) fn give_back(state: &mut State, to: &str, amount: u64) {
    if amount > 0 {
        state.account_mut(to).balance += amount;
    }
}

/// Mints `amount` micro-units, or fewer if the total ever minted would exceed 2^64 − 1, and returns how many. The
/// caller must give them to an account.
pub(super) fn mint(state: &mut State, amount: u64) -> u64 {
    let head = state.head_mut();
    let amount = amount.min(u64::MAX - head.minted);
    head.minted += amount;
    amount
}

/// Pays the reward for a gradient. For a miner without a stake, the latest `probation` rewards stay in escrow. Returns
/// the address of the account that is paid, and its new balance.
pub(super) fn reward(state: &mut State, miner: &str) -> (String, u64) {
    let LedgerParams { reward, probation, .. } = state.genesis.params;
    let minted = mint(state, reward);
    let kept = if state.has_stake(miner) { 0 } else { reward.saturating_mul(probation) };
    let reputation = state.reputation_mut(miner);
    let earned = reputation.escrow + minted;
    reputation.escrow = earned.min(kept);
    let paid = earned - reputation.escrow;
    let payee = state.account(miner).payout.unwrap_or_else(|| miner.to_owned());
    give_back(state, &payee, paid);
    let balance = state.account(&payee).balance;
    (payee, balance)
}

/// Pays the winner of a dispute half of what the loser just lost, at most `dispute_bond`. The rest stays burned, so
/// that disputing with oneself loses money.
pub(super) fn pay_bounty(state: &mut State, winner: &str, lost: u64) {
    let bounty = (lost / 2).min(state.genesis.params.dispute_bond);
    state.head_mut().burned -= bounty;
    give_back(state, winner, bounty);
}

/// Pays the stakes whose unbonding time is over back to their owners.
pub(super) fn unbond(state: &mut State) {
    let height = state.head().height;
    while let Some(((due, _), _)) = state.unbonding.get_min() {
        if *due > height {
            return;
        }
        let (least, rest) = state.unbonding.without_min_with_key();
        state.unbonding = rest;
        let Some(((_, node), stake)) = least else { return };
        give_back(state, &node, stake);
    }
}

/// Sets the account that receives a miner's rewards.
pub(super) fn set_payout(state: &mut State, message: &MsgSetPayout) -> Result<(), Refusal> {
    check_address(&message.payout)?;
    state.account_mut(&message.miner).payout = Some(message.payout.clone());
    Ok(())
}
