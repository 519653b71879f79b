//! Coins are neither made nor lost by transfers, whatever is sent.

use super::*;
use crate::node::tables::*;
use r3mes_wgpu::chain::{Fee, Message, SessionKey, Transfer, code};
use redb::{ReadableDatabase, ReadableTable};

const CHAIN: &str = "r3mes-test-1";

/// Of all balances, and of the fees.
fn coins(node: &Node<Sums>) -> u128 {
    let read = node.database.begin_read().unwrap();
    let balances = read.open_table(BALANCES).unwrap();
    let owned: u128 = balances.iter().unwrap().map(|entry| u128::from(entry.unwrap().1.value())).sum();
    let fees = read.open_table(FEES).unwrap().get(()).unwrap().map_or(0, |fees| fees.value());
    owned + u128::from(fees)
}

fn give(node: &Node<Sums>, address: &str, amount: u64) {
    let write = node.write().unwrap();
    write.open_table(BALANCES).unwrap().insert(address, amount).unwrap();
    write.commit().unwrap();
}

fn send(node: &Node<Sums>, key: &SessionKey, fee: u64, transfers: &[(&str, u64)]) -> (u32, String) {
    let message = |(to, amount): &(&str, u64)| {
        Message::Send(Transfer { from: key.address().to_owned(), to: (*to).to_owned(), amount: *amount })
    };
    let messages: Vec<_> = transfers.iter().map(message).collect();
    let sequence = node.sequence(key.address()).unwrap();
    let tx = key.sign(CHAIN, sequence, &Fee { amount: fee, granter: None }, &messages).unwrap();
    match node.deliver(&tx, CHAIN, 5).unwrap() {
        Ok(outcome) => (outcome.code, outcome.log),
        Err(refusal) => (refusal.code, refusal.log),
    }
}

#[test]
fn coins_are_neither_made_nor_lost() {
    let node = memory(1, 3);
    let keys: Vec<SessionKey> = (1..=4).map(|byte| SessionKey::new(&[byte; 32]).unwrap()).collect();
    for (key, amount) in keys.iter().zip([1000, 700, 3, 0]) {
        give(&node, key.address(), amount);
    }
    let mut random = 7u64;
    let mut below = |bound: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % bound
    };
    let mut codes = std::collections::BTreeMap::<u32, u32>::new();
    for _ in 0..300 {
        let from = &keys[below(4) as usize];
        let count = 1 + below(3);
        let transfers: Vec<_> = (0..count).map(|_| (keys[below(4) as usize].address(), below(400))).collect();
        let (before, fee) = (node.balance(from.address()).unwrap(), below(4));
        let (code, log) = send(&node, from, fee, &transfers);
        *codes.entry(code).or_default() += 1;
        assert_eq!(coins(&node), 1703, "{log}");
        if code != 0 {
            let after = node.balance(from.address()).unwrap();
            assert!(after == before || after == before - fee, "a failure costs at most its fee: {log}");
        }
    }
    assert!([0, code::INSUFFICIENT_FUNDS].iter().all(|code| codes[code] > 20), "{codes:?}");
}

#[test]
fn what_can_not_be_sent_is_said_and_stays() {
    let node = memory(1, 3);
    let (rich, poor) = (SessionKey::new(&[1; 32]).unwrap(), SessionKey::new(&[2; 32]).unwrap());
    give(&node, rich.address(), 100);
    let of = |key: &SessionKey| node.balance(key.address()).unwrap();
    let (failed, log) = send(&node, &rich, 10, &[(poor.address(), 91)]);
    assert_eq!((failed, of(&rich), of(&poor)), (code::INSUFFICIENT_FUNDS, 90, 0), "its fee is paid");
    assert_eq!(log, "spendable balance 90uremes is smaller than 91uremes: insufficient funds");
    let (failed, _) = send(&node, &rich, 0, &[(poor.address(), 60), (poor.address(), 60)]);
    assert_eq!((failed, of(&rich), of(&poor)), (code::INSUFFICIENT_FUNDS, 90, 0), "all together or not at all");
    assert_eq!(send(&node, &rich, 0, &[(rich.address(), 90)]).0, 0);
    assert_eq!(send(&node, &rich, 0, &[(rich.address(), 91)]).0, code::INSUFFICIENT_FUNDS);
    assert_eq!(send(&node, &rich, 0, &[(poor.address(), 0)]).0, code::MALFORMED);
    assert_eq!(send(&node, &rich, 0, &[("local", 1)]).0, code::MALFORMED);
    give(&node, poor.address(), u64::MAX);
    assert_eq!(send(&node, &rich, 0, &[(poor.address(), 1)]).0, code::MALFORMED);
    assert_eq!((of(&rich), of(&poor)), (90, u64::MAX));
    assert_eq!(send(&node, &poor, 0, &[(rich.address(), 5)]).0, 0);
    assert_eq!((of(&rich), of(&poor)), (95, u64::MAX - 5));
}
