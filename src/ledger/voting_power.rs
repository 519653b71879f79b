//! The voting power of validators in CometBFT, the consensus engine. If the genesis contains consensus keys, the voting
//! power of each validator follows its stake in the ledger.

use super::{ConsensusKey, Ledger, State, context::Refusal, nodes::VALIDATOR};
use crate::tx::{MsgSetConsensusKey, code};
use imbl::OrdMap;

/// The stake for one unit of voting power, in micro-units.
const STAKE_PER_POWER: u64 = 1_000_000;
/// The largest number of validators that have voting power. These are the validators with the largest stakes.
const MAX_VALIDATORS: usize = 100;

/// Sets the consensus key of a validator: the public key of its CometBFT process, with which other processes check its
/// votes on blocks. Fails if the key belongs to another node, or if the genesis contains no consensus keys.
pub(super) fn set_key(state: &mut State, message: &MsgSetConsensusKey) -> Result<(), Refusal> {
    let MsgSetConsensusKey { node_address: node, key } = message;
    if !state.assigns_voting_power() {
        return Err(Refusal::rejected("in this network, the voting power of a validator does not follow its stake"));
    }
    let Ok(key) = <[u8; 32]>::try_from(key.as_slice()).map(ConsensusKey::new) else {
        return Err(Refusal::new(code::MALFORMED, format!("the key has {} bytes, but must have 32", key.len())));
    };
    if !state.is_validator(node) {
        return Err(Refusal::new(code::UNAUTHORIZED, format!("{node} is not a validator")));
    }
    if state.consensus_keys.iter().any(|(owner, used)| *used == key && owner != node) {
        return Err(Refusal::rejected("the consensus key belongs to another node"));
    }
    state.consensus_keys.insert(node.clone(), key);
    Ok(())
}

/// Updates the voting powers at the end of a block. If no validator has both a consensus key and the minimum stake, the
/// voting powers stay as they are, because CometBFT needs at least one validator.
pub(super) fn end(state: &mut State) {
    let validators = state.nodes_of(VALIDATOR);
    let with_key = validators.filter_map(|(address, node)| Some((node.stake, *state.consensus_keys.get(address)?)));
    let mut largest: Vec<(u64, ConsensusKey)> = with_key.collect();
    largest.sort_unstable_by(|one, other| other.cmp(one));
    largest.truncate(MAX_VALIDATORS);
    let powers: OrdMap<_, _> =
        largest.into_iter().map(|(stake, key)| (key, (stake / STAKE_PER_POWER).max(1))).collect();
    if !powers.is_empty() && powers != state.voting_powers {
        state.voting_powers = powers;
    }
}

impl State {
    /// Returns whether the stakes of validators determine their voting powers in CometBFT. Otherwise, the voting powers
    /// are those of CometBFT's own genesis.
    pub fn assigns_voting_power(&self) -> bool {
        !self.genesis.consensus_keys.is_empty()
    }

    /// Returns the consensus key of a validator: the public key of its CometBFT process.
    pub fn consensus_key(&self, validator: &str) -> Option<&ConsensusKey> {
        self.consensus_keys.get(validator)
    }
}

impl Ledger {
    /// Returns how the voting powers have changed since the ledger `before`: pairs of a consensus key and its new voting
    /// power, in ascending order of the keys. The voting power is 0 if the key has lost it.
    pub fn voting_power_changes(&self, before: &Self) -> Vec<(ConsensusKey, u64)> {
        let (new, old) = (&self.state.voting_powers, &before.state.voting_powers);
        let removed = old.keys().filter(|key| !new.contains_key(*key)).map(|key| (*key, 0));
        let mut changes: Vec<_> = removed.collect();
        changes
            .extend(new.iter().filter(|(key, power)| old.get(*key) != Some(*power)).map(|(key, power)| (*key, *power)));
        changes.sort_unstable();
        changes
    }

    /// Returns the voting power of each consensus key. Empty if the genesis contains no consensus keys.
    pub fn voting_powers(&self) -> impl Iterator<Item = (&ConsensusKey, u64)> {
        self.state.voting_powers.iter().map(|(key, power)| (key, *power))
    }
}
