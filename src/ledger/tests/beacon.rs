//! Tests of the beacon: nobody can choose its random values, and no validator that sends its messages in time loses
//! anything.

use super::{dispute_network::all, *};
use crate::tx::{MsgRegisterNode, MsgRevealBeacon, MsgUnregisterNode, MsgWithdraw};

const NODES: [(u8, u64); 3] = [(7, 2_000_000), (8, 2_000_000), (9, 2_000_000)];
const EPOCH: u64 = 5;

fn network() -> Network {
    Network::new(genesis(2, LedgerParams { epoch_blocks: EPOCH, beacon_penalty: 50, ..all() }, &NODES))
}

/// Applies a block in which the accounts `numbers` send their messages for the beacon: each reveals the secret number
/// to which it has committed for this epoch, if there is one, and commits to its number for the next epoch.
fn reveal(world: &mut Network, numbers: &[u8]) {
    let message = |number: &u8| {
        let duty = world.ledger.beacon_duty(&address(*number))?;
        Some(world.sign(*number, &[world.beacon_message(*number, duty)]))
    };
    let txs = numbers.iter().filter_map(message).collect();
    assert!(world.block(txs).iter().all(|outcome| outcome.code == 0));
}

/// Applies blocks until the current epoch of the beacon ends. In the first block, the accounts `numbers` send their
/// messages for the beacon.
fn epoch(world: &mut Network, numbers: &[u8]) {
    let current = world.head().beacon.epoch;
    reveal(world, numbers);
    for _ in 0..EPOCH {
        if world.head().beacon.epoch == current {
            world.block(vec![]);
        }
    }
}

#[test]
fn a_random_value_depends_on_every_number_and_on_no_block_hash() {
    let value = |numbers: &[u8], extra_blocks: u64| {
        let mut world = network();
        epoch(&mut world, &[7, 8, 9]);
        world.time += extra_blocks;
        epoch(&mut world, numbers);
        assert_eq!(world.head().beacon.values, 1);
        world.head().beacon.value
    };
    let all = value(&[7, 8, 9], 0);
    assert_eq!(all, value(&[7, 8, 9], 3), "another time gives blocks with other hashes");
    assert_eq!(all, value(&[9, 8, 7], 0), "the order of the messages does not matter");
    assert!([[7, 8], [7, 9], [8, 9]].iter().all(|some| value(some, 0) != all));
}

#[test]
fn a_validator_that_withholds_its_number_is_slashed_and_commits_anew() {
    let mut world = network();
    epoch(&mut world, &[7, 8, 9]);
    epoch(&mut world, &[7, 8]);
    assert_eq!([7, 8, 9].map(|number| world.slashed(number)), [0, 0, 10_000], "0.5 % of the stake");
    let duty = world.ledger.beacon_duty(&address(9)).unwrap();
    assert!(!duty.reveals, "it has to commit anew");
    let early = world.beacon_message(9, BeaconDuty { reveals: true, ..duty });
    assert!(world.send(9, early).1.contains("has not committed"));
    epoch(&mut world, &[7, 8, 9]);
    assert!(world.ledger.beacon_duty(&address(9)).unwrap().reveals);
    epoch(&mut world, &[7, 8, 9]);
    assert_eq!((world.slashed(9), world.head().beacon.values), (10_000, 3), "no further penalty");
    world.check();
}

#[test]
fn a_validator_that_reveals_before_it_leaves_loses_nothing() {
    let mut world = network();
    epoch(&mut world, &[7, 8, 9]);
    let leave = Message::UnregisterNode(MsgUnregisterNode { node_address: address(9) });
    assert!(world.send(9, leave.clone()).1.contains("must reveal its number"));
    let mines = MsgRegisterNode { node_address: address(8), node_type: 1, stake: "0".to_owned(), ..Default::default() };
    assert!(world.send(8, Message::RegisterNode(mines.clone())).1.contains("must reveal its number"));
    reveal(&mut world, &[7, 8, 9]);
    world.done(9, leave);
    world.done(8, Message::RegisterNode(mines));
    for _ in 0..3 {
        epoch(&mut world, &[7]);
    }
    assert_eq!([7, 8, 9].map(|number| world.slashed(number)), [0; 3]);
    assert_eq!(world.head().beacon.values, 4, "the beacon goes on with those that remain");
    world.check();
}

#[test]
fn without_most_numbers_there_is_no_random_value() {
    let mut world = network();
    epoch(&mut world, &[7, 8, 9]);
    reveal(&mut world, &[7]);
    world.wait(10 * EPOCH);
    assert_eq!((world.head().beacon.epoch, world.head().beacon.values), (1, 0), "the epoch waits for a majority");
    reveal(&mut world, &[8]);
    assert_eq!((world.head().beacon.epoch, world.head().beacon.values), (2, 1));
    // two of the three validators have lost their secret numbers, so they only commit to new ones, and too few numbers
    // are revealed for a random value of this epoch
    let mut world = network();
    epoch(&mut world, &[7]);
    world.wait(3 * EPOCH);
    reveal(&mut world, &[8]);
    epoch(&mut world, &[7, 9]);
    epoch(&mut world, &[7]);
    assert_eq!(world.head().beacon.values, 0);
}

#[test]
fn messages_for_the_beacon_are_refused_unless_they_are_due_and_right() {
    let mut world = network();
    epoch(&mut world, &[7, 8, 9]);
    let duty = world.ledger.beacon_duty(&address(7)).unwrap();
    let Message::RevealBeacon(right) = world.beacon_message(7, duty) else { panic!("a message for the beacon") };
    let wrong = |change: fn(&mut MsgRevealBeacon)| {
        let mut message = right.clone();
        change(&mut message);
        Message::RevealBeacon(message)
    };
    let cases = [
        (7, wrong(|message| message.epoch += 1), "the current epoch is 1"),
        (7, wrong(|message| message.number[0] ^= 1), "not the one to which"),
        (7, wrong(|message| message.number.clear()), "not the one to which"),
        (7, wrong(|message| message.next.truncate(31)), "not 32 bytes"),
        (1, wrong(|message| message.validator = address(1)), "is not a validator"),
    ];
    for (number, message, words) in cases {
        let (code, log) = world.send(number, message);
        assert!(code != 0 && log.contains(words), "{log}");
    }
    world.done(7, Message::RevealBeacon(right.clone()));
    assert!(world.send(7, Message::RevealBeacon(right)).1.contains("already"));
    assert_eq!(world.ledger.beacon_duty(&address(7)), None);
    assert!(small(2).send(9, world.beacon_message(9, duty)).1.contains("no beacon"));
}

#[test]
fn a_gradient_is_drawn_by_the_numbers_of_the_next_epoch_and_cannot_be_withdrawn_then() {
    let mut world = network();
    epoch(&mut world, &[7, 8, 9]);
    epoch(&mut world, &[7, 8, 9]);
    reveal(&mut world, &[7, 8, 9]);
    world.mine(1, wrong);
    while world.head().beacon.values < 2 {
        assert_eq!(world.status(1), SubmissionStatus::Pending, "the numbers of this epoch were known");
        world.block(vec![]);
    }
    reveal(&mut world, &[7, 8, 9]);
    world.done(1, Message::Withdraw(MsgWithdraw { miner: address(1) }));
    assert_eq!(world.status(1), SubmissionStatus::Pending, "the miner may know the numbers of the deciding epoch");
    world.wait(EPOCH);
    assert!(matches!(world.status(1), SubmissionStatus::Challenged(_)));
    // a withdrawal succeeds before the epoch begins that decides about the gradient
    world.mine(2, wrong);
    world.done(2, Message::Withdraw(MsgWithdraw { miner: address(2) }));
    assert_eq!(world.status(2), SubmissionStatus::Withdrawn);
    world.check();
}

#[test]
fn a_trap_is_drawn_after_its_verifiers_have_revealed_their_findings() {
    let params = LedgerParams { epoch_blocks: EPOCH, trap_share: ALL, verifiers: 1, ..all() };
    let mut world = Network::new(genesis(2, params, &NODES));
    world.mine(1, honest);
    let mut stages = Vec::new();
    while world.status(1) != SubmissionStatus::Settled && world.status(1) != SubmissionStatus::Accepted {
        world.serve_once(&[7, 8, 9], &honest_finding);
        let stage = world.ledger.state().challenges.values().next().map(|challenge| challenge.stage);
        if let Some(stage) = stage.filter(|stage| stages.last() != Some(stage)) {
            stages.push(stage);
        }
    }
    use ChallengeStage::{Commit, Draw, Reveal};
    assert!(matches!(stages[..], [Commit, Reveal, Draw(_), Commit, Reveal]), "{stages:?}");
    assert!([7, 8, 9].iter().all(|number| world.slashed(*number) == 0));
    world.check();
}
