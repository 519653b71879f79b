//! The beacon: a source of random values that no single party can predict or choose. The random values decide which
//! gradients are recomputed, and by which verifiers.
//!
//! Time is divided into epochs. In each epoch, every validator sends one message. It reveals the secret number to which
//! it committed in the epoch before, and commits to its number for the next epoch. The random value of the epoch is the
//! hash of the previous value and of all revealed numbers. A validator that does not reveal its number is slashed, and
//! must commit to a new number.
//!
//! One attack remains possible: the last validators to reveal can compute the random value first, and may choose not to
//! reveal. A coalition that can withhold `n` numbers chooses among 2^n values, and loses the share `beacon_penalty` of
//! a stake for each number that it withholds.

use super::{
    Beacon, BeaconShare, Event, State,
    context::Refusal,
    nodes::{self, VALIDATOR},
};
use crate::tx::{MsgRevealBeacon, code};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// Makes the hash of the new block the next random value if the network has no beacon. Does nothing if it has one.
pub(super) fn begin_block(state: &mut State) {
    let has_beacon = state.has_beacon();
    let head = state.head_mut();
    if !has_beacon {
        (head.beacon.values, head.beacon.value) = (head.height, head.hash);
    }
}

/// Stores the secret number that a validator reveals for the beacon, and its commitment to its number for the next
/// epoch. A validator that has not committed to a number for this epoch reveals nothing, and only commits to its number
/// for the next epoch. Fails if the number is not the one to which the validator committed, or if the message is not
/// due.
pub(super) fn reveal(state: &mut State, message: &MsgRevealBeacon) -> Result<(), Refusal> {
    let MsgRevealBeacon { validator, epoch, number, next } = message;
    let refused = |log: &str| Err(Refusal::rejected(log));
    let current = state.head().beacon.epoch;
    if !state.has_beacon() {
        return refused("this network has no beacon");
    }
    if *epoch != current {
        return refused(&format!("the message is for epoch {epoch} of the beacon, but the current epoch is {current}"));
    }
    if !state.is_validator(validator) {
        return Err(Refusal::new(code::UNAUTHORIZED, format!("{validator} is not a validator")));
    }
    if next.len() != 32 {
        return refused("the commitment to the next number is not 32 bytes long");
    }
    let next: serde_bytes::ByteBuf = next.clone().into();
    let share = match state.beacon_shares.get(validator) {
        Some(share) if share.has_acted_in(current) => {
            return refused("the validator has already sent its message of this epoch");
        }
        Some(share) => {
            if number.len() != 32 || *share.committed != MsgRevealBeacon::commitment(validator, number) {
                return refused("the number is not the one to which the validator committed");
            }
            BeaconShare { revealed: Some(number.clone().into()), next: Some(next), ..share.clone() }
        }
        None if number.is_empty() => BeaconShare { epoch: epoch + 1, committed: next, revealed: None, next: None },
        None => return refused("the validator has not committed to a number of this epoch"),
    };
    state.beacon_shares.insert(validator.clone(), share);
    Ok(())
}

/// Removes a node from the beacon when the node stops being a validator. Deletes the node's commitment to its secret
/// number for a later epoch. Fails if the node has not yet revealed its number for the current epoch.
pub(super) fn leave(state: &mut State, node: &str) -> Result<(), Refusal> {
    let current = state.head().beacon.epoch;
    match state.beacon_shares.get_mut(node) {
        None => {}
        Some(share) if !share.has_acted_in(current) => {
            return Err(Refusal::rejected("the validator must reveal its number for the beacon first"));
        }
        Some(share) if share.revealed.is_some() => share.next = None,
        Some(_) => drop(state.beacon_shares.remove(node)),
    }
    Ok(())
}

/// Ends the current epoch if two conditions are met. The epoch must have lasted for `epoch_blocks` blocks, and the
/// validators that have sent their messages must hold more than half of the stake of all validators. Some of these
/// messages may reveal no number, because a new validator only commits to its first number. The epoch yields a random
/// value only if the validators that have revealed numbers also hold more than half of the stake. Slashes the
/// validators that have committed to a number for this epoch but have not revealed it.
pub(super) fn end(state: &mut State, events: &mut Vec<Event>) {
    let (clock, Beacon { epoch, since, value, .. }) = (state.head().clock, state.head().beacon.clone());
    if !state.has_beacon() || clock < since.saturating_add(state.genesis.params.epoch_blocks) {
        return;
    }
    let all: u128 = state.nodes_of(VALIDATOR).map(|(_, node)| u128::from(node.stake)).sum();
    let is_majority = |acted: &dyn Fn(&BeaconShare) -> bool| {
        let nodes =
            state.nodes_of(VALIDATOR).filter(|(address, _)| state.beacon_shares.get(*address).is_some_and(acted));
        nodes.map(|(_, node)| u128::from(node.stake)).sum::<u128>() * 2 > all
    };
    if !is_majority(&|share| share.has_acted_in(epoch)) {
        return;
    }
    let has_value = is_majority(&|share| share.revealed.is_some());
    let mut hash = Sha256::new().chain_update("r3mes/beacon/1").chain_update(value).chain_update(epoch.to_le_bytes());
    let mut silent = BTreeSet::new();
    for (validator, share) in std::mem::take(&mut state.beacon_shares) {
        match share {
            BeaconShare { revealed: Some(number), next, .. } => {
                hash.update(number);
                if let Some(committed) = next {
                    let share = BeaconShare { epoch: epoch + 1, committed, revealed: None, next: None };
                    state.beacon_shares.insert(validator, share);
                }
            }
            share if share.epoch > epoch => drop(state.beacon_shares.insert(validator, share)),
            _ => drop(silent.insert(validator)),
        }
    }
    for validator in silent {
        nodes::slash(state, &validator, state.genesis.params.beacon_penalty, events);
    }
    let head = state.head_mut();
    let values = head.beacon.values + u64::from(has_value);
    head.beacon = Beacon { epoch: epoch + 1, since: clock, values, value: hash.finalize().into() };
}

impl BeaconShare {
    /// Returns whether the validator has sent its beacon message of the epoch `epoch`.
    pub(super) fn has_acted_in(&self, epoch: u64) -> bool {
        self.revealed.is_some() || self.epoch > epoch
    }
}

impl State {
    /// Returns whether the validators make the random values; if not, the hashes of blocks are the random values.
    pub(super) fn has_beacon(&self) -> bool {
        self.genesis.params.epoch_blocks > 0
    }

    /// Returns the index of the random value that will decide about an event in the current block: for example, whether
    /// a gradient that is submitted in this block is recomputed. Random values are counted from the start of the
    /// network.
    pub(super) fn next_draw(&self) -> u64 {
        self.head().beacon.values.saturating_add(self.genesis.params.draw_after.max(1 + u64::from(self.has_beacon())))
    }

    /// Returns whether anything may already be known about the random value with the index `draw`. In a network with a
    /// beacon, this is the case from the beginning of the value's epoch on, because some validators may have revealed
    /// their numbers.
    pub(super) fn is_drawn(&self, draw: u64) -> bool {
        self.head().beacon.values + u64::from(self.has_beacon()) >= draw
    }
}
