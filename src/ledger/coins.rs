//! Coins: what leaves one place is what another gets. They are made by the genesis and by rewards alone.

use super::{Event, LedgerParams, Refusal, State, nodes};
use crate::tx::{DENOM, MsgSetPayout, Transfer, check_address, code};

/// Moves coins.
pub(super) fn transfer(state: &mut State, transfer: &Transfer) -> Result<(), Refusal> {
    let Transfer { from, to, amount } = transfer;
    let owned = state.account(from).balance;
    let Some(left) = owned.checked_sub(*amount) else {
        let log = format!("spendable balance {owned}{DENOM} is smaller than {amount}{DENOM}: insufficient funds");
        return Err(Refusal::new(code::INSUFFICIENT_FUNDS, log));
    };
    state.account_mut(from).balance = left;
    // all coins together are fewer than 2^64
    state.account_mut(to).balance += amount;
    Ok(())
}

/// Takes coins from an account for some purpose, or says that it has too few.
pub(super) fn take(state: &mut State, from: &str, amount: u64, purpose: &str) -> Result<(), Refusal> {
    let owned = state.account(from).balance;
    let Some(left) = owned.checked_sub(amount) else {
        let log = format!("{purpose} is {amount}{DENOM}, {from} owns {owned}{DENOM}");
        return Err(Refusal::new(code::INSUFFICIENT_FUNDS, log));
    };
    if amount > 0 {
        state.account_mut(from).balance = left;
    }
    Ok(())
}

/// Gives coins that were locked back.
pub(super) fn give_back(state: &mut State, to: &str, amount: u64) {
    if amount > 0 {
        state.account_mut(to).balance += amount;
    }
}

/// Makes coins, as many as there is room for.
pub(super) fn mint(state: &mut State, amount: u64) -> u64 {
    let head = state.head_mut();
    let amount = amount.min(u64::MAX - head.minted);
    head.minted += amount;
    amount
}

/// Pays a miner; one without stake gets what it earned some gradients ago. Returns who is paid and what that account owns.
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

/// Burns what a miner was paid for bytes that nobody can get, and a little more: of its stake, or of what it has in escrow
/// as much again. Returns what it lost.
pub(super) fn take_back(state: &mut State, miner: &str, paid: u64, events: &mut Vec<Event>) -> u64 {
    if state.has_stake(miner) {
        let penalty = state.genesis.params.silence_penalty;
        return nodes::take(state, miner, paid, events) + nodes::slash(state, miner, penalty, events);
    }
    let escrow = &mut state.reputation_mut(miner).escrow;
    let lost = paid.saturating_mul(2).min(*escrow);
    *escrow -= lost;
    state.head_mut().burned += lost;
    lost
}

/// Gives stakes back whose time has come.
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

/// Names who is paid for what a miner does.
pub(super) fn set_payout(state: &mut State, message: &MsgSetPayout) -> Result<(), Refusal> {
    check_address(&message.payout)?;
    state.account_mut(&message.miner).payout = Some(message.payout.clone());
    Ok(())
}
