//! Nodes take on roles and answer for them with a stake.

use super::{Event, LedgerParams, Refusal, Registration, State, coins};
use crate::tx::{DENOM, MsgRegisterNode, MsgRegisterNodeResponse, MsgUnregisterNode, code};
use prost::Message;

/// The role that recomputes what it is sampled for.
pub const VALIDATOR: u32 = 3;
/// The role that adds up rounds.
pub const PROPOSER: u32 = 4;

pub(super) fn register(state: &mut State, message: &MsgRegisterNode) -> Result<Vec<u8>, Refusal> {
    let malformed = |log: String| Err(Refusal::new(code::MALFORMED, log));
    let digits = message.stake.strip_suffix(DENOM).unwrap_or(&message.stake);
    let Ok(stake) = digits.parse::<u64>() else {
        return malformed(format!("the stake {:?} is no amount like 1000{DENOM}", message.stake));
    };
    let mut roles = Vec::new();
    for role in std::iter::once(message.node_type).chain(message.roles.iter().copied()) {
        match u32::try_from(role) {
            Ok(role @ 1..=4) => roles.push(role),
            _ => return malformed(format!("role {role} is none of 1 to 4")),
        }
    }
    let (node, least) = (&message.node_address, state.genesis.params.min_stake);
    let present = state.nodes.get(node).map_or(0, |node| node.stake);
    // all coins together are fewer than 2^64
    if present.saturating_add(stake) < least {
        return Err(Refusal::new(code::INSUFFICIENT_FUNDS, format!("a node's stake is at least {least}{DENOM}")));
    }
    coins::take(state, node, stake, "the stake")?;
    let registration_id = add(state, node, stake, &roles);
    Ok(MsgRegisterNodeResponse { registration_id }.encode_to_vec())
}

/// Adds to a node's stake and replaces its roles; returns its number.
pub(super) fn add(state: &mut State, node: &str, stake: u64, roles: &[u32]) -> u64 {
    let mut roles = roles.to_vec();
    roles.sort_unstable();
    roles.dedup();
    if let Some(present) = state.nodes.get_mut(node) {
        present.stake += stake;
        present.roles = roles;
        return present.id;
    }
    let head = state.head_mut();
    head.registrations += 1;
    let id = head.registrations;
    state.nodes.insert(node.to_owned(), Registration { id, roles, stake });
    id
}

/// Ends a node's roles, or a miner's probation; its stake, or what it waits for, answers for it a while longer.
pub(super) fn unregister(state: &mut State, message: &MsgUnregisterNode) -> Result<(), Refusal> {
    let node = &message.node_address;
    let sampled = |challenge: &super::Challenge| {
        challenge.sampled.iter().chain(&challenge.first).any(|sampled| sampled.verifier == *node)
    };
    if state.challenges.values().any(sampled) {
        return Err(Refusal::new(code::REJECTED, "the node was sampled to recompute: it says what it finds first"));
    }
    if state.held.contains_key(node) || state.submissions_of(node).any(|(_, own)| state.is_unsettled(own)) {
        return Err(Refusal::new(code::REJECTED, "what the miner claimed or submitted is not settled yet"));
    }
    let stake = state.nodes.remove(node).map_or(0, |node| node.stake);
    let escrow = state.reputations.get_mut(node).map_or(0, |reputation| std::mem::take(&mut reputation.escrow));
    let stake = stake + escrow;
    if stake == 0 {
        return Err(Refusal::new(code::NOT_FOUND, format!("{node} has no stake, and nothing in escrow")));
    }
    let due = state.head().height.saturating_add(state.genesis.params.unbonding_blocks);
    *state.unbonding.entry((due, node.clone())).or_insert(0) += stake;
    Ok(())
}

/// Takes a share of what answers for a node; returns it.
pub(super) fn slash(state: &mut State, who: &str, of_myriad: u64, events: &mut Vec<Event>) -> u64 {
    let mut amount = 0;
    let mut take = |stake: &mut u64| {
        let share = LedgerParams::share(*stake, of_myriad);
        *stake -= share;
        amount += share;
    };
    if let Some(node) = state.nodes.get_mut(who) {
        take(&mut node.stake);
    }
    let leaving: Vec<_> = state.unbonding.keys().filter(|(_, node)| node == who).cloned().collect();
    leaving.iter().filter_map(|key| state.unbonding.get_mut(key).map(&mut take)).count();
    if amount > 0 {
        state.head_mut().burned += amount;
        events.push(Event::Slashed { node: who.to_owned(), amount });
    }
    amount
}

/// Takes micro-units of a node's stake, as far as there are any; returns them.
pub(super) fn take(state: &mut State, who: &str, amount: u64, events: &mut Vec<Event>) -> u64 {
    let Some(node) = state.nodes.get_mut(who) else { return 0 };
    let amount = amount.min(node.stake);
    node.stake -= amount;
    if amount > 0 {
        state.head_mut().burned += amount;
        events.push(Event::Slashed { node: who.to_owned(), amount });
    }
    amount
}

impl State {
    /// Whether an account answers for what it does with a stake.
    pub(super) fn has_stake(&self, address: &str) -> bool {
        self.nodes.get(address).is_some_and(|node| node.stake >= self.genesis.params.min_stake)
    }

    /// Nodes of a role with stake enough, in the order of their addresses.
    pub(super) fn nodes_of(&self, role: u32) -> impl Iterator<Item = (&String, &Registration)> {
        let least = self.genesis.params.min_stake;
        self.nodes.iter().filter(move |(_, node)| node.stake >= least && node.roles.contains(&role))
    }
}
