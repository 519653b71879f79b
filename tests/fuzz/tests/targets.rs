//! Tests that no fuzz target panics on its seeds, on mutations of its seeds, or on arbitrary bytes.

use proptest::{prelude::*, sample::Index, test_runner::TestRunner};
use r3mes_fuzz::TARGETS;

/// A mutation of an input. Each variant states a position in the input and how the bytes at this position change.
#[derive(Clone, Debug)]
enum Change {
    Set(Index, u8),
    Flip(Index, u8),
    Cut(Index),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize),
    /// Overwrites eight bytes, or fewer at the end of the input, with a boundary value of an integer type.
    Limit(Index, u64),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (at(), 0..8u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        at().prop_map(Change::Cut),
        (at(), prop::collection::vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (at(), 1..40usize).prop_map(|(at, count)| Change::Remove(at, count)),
        (at(), 1..40usize).prop_map(|(at, count)| Change::Repeat(at, count)),
        (at(), prop_oneof![Just(u64::MAX), Just(1 << 63), Just(0), Just(u64::from(u32::MAX))])
            .prop_map(|(at, number)| Change::Limit(at, number)),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    if bytes.is_empty() {
        return;
    }
    let length = bytes.len();
    let range = |at: &Index, count: usize| {
        let at = at.index(length);
        at..length.min(at + count)
    };
    match change {
        Change::Set(at, byte) => bytes[at.index(length)] = *byte,
        Change::Flip(at, bit) => bytes[at.index(length)] ^= 1 << bit,
        Change::Cut(at) => bytes.truncate(at.index(length)),
        Change::Insert(at, new) => drop(bytes.splice(range(at, 0), new.iter().copied())),
        Change::Remove(at, count) => drop(bytes.drain(range(at, *count))),
        Change::Repeat(at, count) => {
            let part = bytes[range(at, *count)].to_vec();
            bytes.splice(range(at, 0), part);
        }
        Change::Limit(at, number) => {
            let range = range(at, 8);
            let count = range.len();
            bytes[range].copy_from_slice(&number.to_le_bytes()[..count]);
        }
    }
}

#[test]
fn targets_accept_their_seeds() {
    for target in TARGETS {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{}", target.name);
        seeds.iter().for_each(|seed| (target.run)(seed));
    }
}

#[test]
fn targets_accept_mutated_seeds_and_arbitrary_bytes() {
    for target in TARGETS {
        let seeds = (target.seeds)();
        let mutated =
            (prop::sample::select(seeds), prop::collection::vec(change(), 0..6)).prop_map(|(seed, changes)| {
                let mut bytes = seed;
                changes.iter().for_each(|change| apply(&mut bytes, change));
                bytes
            });
        let bytes = prop_oneof![9 => mutated, 1 => prop::collection::vec(any::<u8>(), 0..300)];
        let mut runner = TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() });
        let run = |bytes: Vec<u8>| {
            (target.run)(&bytes);
            Ok(())
        };
        runner.run(&bytes, run).unwrap_or_else(|error| panic!("{}: {error}", target.name));
    }
}
