//! Nodes: their roles, and their stakes. A part of a stake is burned (slashed) for wrong or missing work.

use super::{Challenge, Event, LedgerParams, Registration, State, beacon, coins, context::Refusal};
use crate::tx::{DENOM, MsgRegisterNode, MsgRegisterNodeResponse, MsgUnregisterNode, code};
use prost::Message;

/// ID of the validator role. Validators recompute the gradients for which they are sampled. If sampled verifiers
/// disagree, all validators vote.
pub const VALIDATOR: u32 = 3;
/// ID of the proposer role. At the end of each round, proposers compute the adapter of the next round.
pub const PROPOSER: u32 = 4;

/// Registers the roles of a node, and locks the coins that the message adds to the node's stake. Returns the response
/// to the message as protobuf bytes.
pub(super) fn register(state: &mut State, message: &MsgRegisterNode) -> Result<Vec<u8>, Refusal> {
    let malformed = |log: String| Err(Refusal::new(code::MALFORMED, log));
    let digits = message.stake.strip_suffix(DENOM).unwrap_or(&message.stake);
    let Ok(stake) = digits.parse::<u64>() else {
        return malformed(format!(
            "stake {:?} is not a valid amount; expected something like 1000{DENOM}",
            message.stake
        ));
    };
    let mut roles = Vec::new();
    for role in std::iter::once(message.node_type).chain(message.roles.iter().copied()) {
        match u32::try_from(role) {
            Ok(role @ 1..=4) => roles.push(role),
            _ => return malformed(format!("role {role} does not exist; a role is a number from 1 to 4")),
        }
    }
    let (node, least) = (&message.node_address, state.genesis.params.min_stake);
    let present = state.nodes.get(node).map_or(0, |node| node.stake);
    // the sum cannot overflow, because all coins together are fewer than 2^64 micro-units
    if present.saturating_add(stake) < least {
        return Err(Refusal::new(
            code::INSUFFICIENT_FUNDS,
            format!("the stake of a node must be at least {least}{DENOM}"),
        ));
    }
    if !roles.contains(&VALIDATOR) {
        beacon::leave(state, node)?;
        state.consensus_keys.remove(node);
    }
    coins::take(state, node, stake, "the stake")?;
    let registration_id = add(state, node, stake, &roles);
    Ok(MsgRegisterNodeResponse { registration_id }.encode_to_vec())
}

/// Adds coins to the stake of a node and replaces its roles. Registers the node if it is not registered yet. Returns
/// the ID of the registration.
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

/// Removes the registration of a node. Its stake, and any rewards that it has in escrow as a miner, are returned after
/// `unbonding_blocks` blocks. Until then, they can still be slashed.
pub(super) fn unregister(state: &mut State, message: &MsgUnregisterNode) -> Result<(), Refusal> {
    let node = &message.node_address;
    let is_sampled = |challenge: &Challenge| {
        challenge.sampled.iter().chain(&challenge.first_recomputation).any(|sampled| sampled.verifier == *node)
    };
    if state.challenges.values().any(is_sampled) {
        return Err(Refusal::rejected(
            "the node has been sampled to recompute a gradient, and must attest its finding first",
        ));
    }
    if state.claimed_positions.contains_key(node) || state.submissions_of(node).any(|(_, own)| state.is_unsettled(own))
    {
        return Err(Refusal::rejected("a claim or a submission of the miner is not settled yet"));
    }
    beacon::leave(state, node)?;
    state.consensus_keys.remove(node);
    let stake = state.nodes.remove(node).map_or(0, |node| node.stake);
    // without the escrow, the miner has no collateral, so its probation begins anew
    let authors: Vec<_> = state.reputations_of(node).map(|(author, _)| author.clone()).collect();
    let escrow: u64 = authors.iter().map(|author| std::mem::take(&mut state.reputation_mut(author).escrow)).sum();
    let stake = stake + escrow;
    if stake == 0 {
        return Err(Refusal::not_found(format!("{node} has neither a stake nor coins in escrow")));
    }
    let due = state.head().clock.saturating_add(state.genesis.params.unbonding_blocks);
    *state.unbonding.entry((due, node.clone())).or_insert(0) += stake;
    Ok(())
}

/// Burns a share of a node's stake, including the part of the stake that is unbonding. `of_myriad` is the share in
/// ten-thousandths. Returns the burned amount in micro-units.
pub(super) fn slash(state: &mut State, node: &str, of_myriad: u64, events: &mut Vec<Event>) -> u64 {
    let mut amount = 0;
    let mut take = |stake: &mut u64| {
        let share = LedgerParams::share(*stake, of_myriad);
        *stake -= share;
        amount += share;
    };
    if let Some(registration) = state.nodes.get_mut(node) {
        take(&mut registration.stake);
    }
    let unbonding: Vec<_> = state.unbonding.keys().filter(|(_, owner)| owner == node).cloned().collect();
    unbonding.iter().filter_map(|key| state.unbonding.get_mut(key).map(&mut take)).count();
    if amount > 0 {
        state.head_mut().burned += amount;
        events.push(Event::Slashed { node: node.to_owned(), amount });
    }
    amount
}

impl State {
    /// Returns the nodes that have the role with the ID `role` and at least the minimum stake, ordered by address.
    pub(super) fn nodes_of(&self, role: u32) -> impl Iterator<Item = (&String, &Registration)> {
        let least = self.genesis.params.min_stake;
        self.nodes.iter().filter(move |(_, node)| node.stake >= least && node.roles.contains(&role))
    }

    /// Returns whether an account is a validator with at least the minimum stake.
    pub fn is_validator(&self, address: &str) -> bool {
        self.nodes_of(VALIDATOR).any(|(node, _)| node == address)
    }
}
