//! Tests of the voting powers in CometBFT, which follow the stakes if the genesis contains consensus keys.

use super::{dispute_network::all, *};
use crate::tx::{MsgRegisterNode, MsgSetConsensusKey, MsgUnregisterNode};
use std::collections::BTreeMap;

/// One coin in micro-units.
const COIN: u64 = 1_000_000;

/// Returns the consensus key of account `number`.
fn consensus_key(number: u8) -> ConsensusKey {
    ConsensusKey::new([number; 32])
}

/// Returns a genesis with two validators, accounts 8 and 9, which have consensus keys and stakes of 3 and 5 coins.
fn with_keys() -> Genesis {
    let keys = [8, 9].map(|number| (address(number), consensus_key(number)));
    let params = LedgerParams { epoch_blocks: 0, unbonding_blocks: 3, min_stake: COIN, ..all() };
    Genesis { consensus_keys: BTreeMap::from(keys), ..genesis(2, params, &[(8, 3 * COIN), (9, 5 * COIN)]) }
}

/// Returns the voting powers as pairs of an account number and a power.
fn powers(world: &Network) -> Vec<(u8, u64)> {
    world.ledger.voting_powers().map(|(key, power)| (key[0], power)).collect()
}

fn set_key(number: u8, key: &[u8]) -> Message {
    Message::SetConsensusKey(MsgSetConsensusKey { node_address: address(number), key: key.to_vec() })
}

fn stake(number: u8, role: i32, coins: u64) -> Message {
    let (node_address, stake) = (address(number), (coins * COIN).to_string());
    Message::RegisterNode(MsgRegisterNode { node_address, node_type: role, stake, ..Default::default() })
}

#[test]
fn voting_power_follows_the_stake() {
    let mut world = Network::new(with_keys());
    assert_eq!(powers(&world), [(8, 3), (9, 5)]);
    let begun = world.ledger.clone();

    world.done(1, stake(1, 3, 2));
    assert_eq!(powers(&world), [(8, 3), (9, 5)], "account 1 has no consensus key yet");
    world.done(1, set_key(1, &[1; 32]));
    world.done(9, stake(9, 3, 4));
    assert_eq!(powers(&world), [(1, 2), (8, 3), (9, 9)]);
    world.done(1, set_key(1, &[2; 32]));
    world.done(8, Message::UnregisterNode(MsgUnregisterNode { node_address: address(8) }));
    let changes = world.ledger.voting_power_changes(&begun);
    assert_eq!(changes, [(2, 2), (8, 0), (9, 9)].map(|(key, power)| (consensus_key(key), power)));

    // account 1 stops being a validator, and needs a new message when it becomes one again
    world.done(1, stake(1, 4, 0));
    assert_eq!(powers(&world), [(9, 9)]);
    world.done(1, stake(1, 3, 0));
    assert_eq!(powers(&world), [(9, 9)]);
    world.check();
}

#[test]
fn a_slashed_validator_loses_voting_power_but_the_last_one_keeps_it() {
    let mut world = Network::new(with_keys());
    let slash = |world: &mut Network, number: u8| {
        let mut state = world.ledger.state.clone();
        nodes::slash(&mut state, &address(number), 5_000, &mut Vec::new());
        world.ledger.state = state;
        world.block(vec![]);
    };
    slash(&mut world, 9);
    assert_eq!(powers(&world), [(8, 3), (9, 2)]);
    (0..3).for_each(|_| slash(&mut world, 9));
    assert_eq!(powers(&world), [(8, 3)], "the stake of account 9 is below the minimum");
    (0..3).for_each(|_| slash(&mut world, 8));
    assert_eq!(powers(&world), [(8, 1)], "CometBFT cannot have an empty set of validators");
}

#[test]
fn a_consensus_key_is_refused_if_it_is_foreign_or_malformed_or_its_owner_is_no_validator() {
    let mut world = Network::new(with_keys());
    assert!(world.send(8, set_key(8, &[9; 32])).1.contains("belongs to another node"));
    assert!(world.send(8, set_key(8, &[7; 31])).1.contains("31 bytes"));
    assert!(world.send(1, set_key(1, &[1; 32])).1.contains("not a validator"));
    assert_eq!(powers(&world), [(8, 3), (9, 5)]);

    let mut world = Network::new(genesis(2, all(), &[(9, 5 * COIN)]));
    assert!(world.send(9, set_key(9, &[9; 32])).1.contains("does not follow its stake"));
    assert_eq!(powers(&world), []);
}

#[test]
fn only_the_largest_stakes_have_voting_power() {
    let nodes: Vec<(u8, u64)> = (10..=130).map(|number| (number, u64::from(number) * COIN)).collect();
    let consensus_keys = (10..=130).map(|number| (address(number), consensus_key(number))).collect();
    let world = Network::new(Genesis { consensus_keys, ..genesis(2, all(), &nodes) });
    let expected: Vec<(u8, u64)> = (31..=130).map(|number| (number, number.into())).collect();
    assert_eq!(powers(&world), expected);
}

#[test]
fn a_genesis_names_consensus_keys_of_validators_only() {
    let with = |keys: &[(u8, u8)]| {
        let consensus_keys = keys.iter().map(|(owner, key)| (address(*owner), consensus_key(*key))).collect();
        let given = Genesis { consensus_keys, ..with_keys() };
        (given.validate(), Genesis::from_json(given.to_json().as_bytes()).ok() == Some(given))
    };
    assert_eq!(with(&[(8, 8), (9, 9)]), (Ok(()), true));
    assert_eq!(with(&[]), (Ok(()), true));
    for wrong in [[(8, 8), (1, 1)], [(8, 8), (9, 8)]] {
        let (error, read) = with(&wrong);
        assert!(matches!(error, Err(GenesisError::ConsensusKey(_))) && !read, "{wrong:?}");
    }
    assert!(!with_keys().to_json().contains("\"consensus_keys\":{}"));
    assert_eq!(Genesis { consensus_keys: BTreeMap::new(), ..with_keys() }.to_json().find("consensus_keys"), None);
}
