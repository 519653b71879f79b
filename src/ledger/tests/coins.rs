//! Tests of transfers, fees, payouts and sessions: the correct amounts must be transferred, and limits and expiries
//! must be enforced.

use super::*;
use crate::tx::{Grant, GrantPair, MsgSetPayout, Session, Transfer};

fn transfer(from: u8, to: u8, amount: u64) -> Message {
    Message::Send(Transfer { from: address(from), to: address(to), amount })
}

#[test]
fn a_transfer_moves_coins_and_creates_none() {
    let mut world = small(2);
    world.done(1, transfer(1, 2, 10));
    assert_eq!((world.balance(1), world.balance(2)), (COINS - 10, COINS + 10));
    world.done(1, transfer(1, 1, 10));
    assert_eq!(world.balance(1), COINS - 10);
    let (code, log) = world.send(1, transfer(1, 2, COINS));
    assert_eq!(code, 5, "{log}");
    assert_eq!((world.balance(1), world.balance(2)), (COINS - 10, COINS + 10));
    let both = world.sign(1, &[transfer(1, 2, 5), transfer(1, 2, COINS)]);
    assert_eq!(world.block(vec![both])[0].code, 5);
    assert_eq!(world.balance(2), COINS + 10, "either all messages of a transaction take effect or none");
    assert_eq!(
        world.ledger.state().account_of(&address(1)).sequence,
        4,
        "a failed transaction increments the sequence too"
    );
    world.check();
}

#[test]
fn a_failed_transaction_pays_its_fee_and_a_transaction_is_executed_once() {
    let mut world = small(2);
    let fee = Fee { amount: 7, granter: None };
    let good = key(1).sign(CHAIN, 0, &fee, &[transfer(1, 2, 1)]).unwrap();
    let bad = key(1).sign(CHAIN, 1, &fee, &[transfer(1, 2, COINS)]).unwrap();
    let codes: Vec<u32> = world.block(vec![good.clone(), bad, good]).iter().map(|outcome| outcome.code).collect();
    assert_eq!(codes, [0, 5, 32]);
    assert_eq!((world.balance(1), world.head().fees), (COINS - 15, 14));
    let dear = key(1).sign(CHAIN, 2, &Fee { amount: COINS, granter: None }, &[transfer(1, 2, 1)]).unwrap();
    assert_eq!(world.block(vec![dear])[0].code, 5);
    assert_eq!(
        world.ledger.state().account_of(&address(1)).sequence,
        2,
        "a transaction that cannot pay does not increment the sequence"
    );
    world.check();
}

#[test]
fn a_limited_amount_of_fees_is_waived_for_mining_only() {
    let params = LedgerParams { waiver_per_account: 10, waiver_per_block: 16, ..LedgerParams::EMBEDDED };
    let mut world = Network::new(genesis(2, params, &[(9, 1_000_000)]));
    let pay = |world: &Network, number: u8, amount: u64, message: Message| {
        let sequence = world.ledger.state().account_of(&address(number)).sequence;
        let fee = Fee { amount, granter: Some(fee_waiver()) };
        key(number).sign(CHAIN, sequence, &fee, &[message]).unwrap()
    };
    let payout = |number: u8| Message::SetPayout(MsgSetPayout { miner: address(number), payout: address(1) });
    let good = pay(&world, 30, 6, payout(30));
    assert_eq!(world.block(vec![good])[0].log, "");
    let cases = [
        (pay(&world, 30, 5, payout(30)), 5, "at most 10uremes are waived for an account"),
        (pay(&world, 1, 5, payout(1)), 5, "itself"),
        (pay(&world, 31, 5, transfer(31, 1, 1)), 4, "only the fees of mining"),
    ];
    for (tx, code, words) in cases {
        let outcome = world.block(vec![tx]).remove(0);
        assert!(outcome.code == code && outcome.log.contains(words), "{outcome:?}");
    }
    let many = (31..34).map(|number| pay(&world, number, 7, payout(number))).collect();
    let codes: Vec<u32> = world.block(many).iter().map(|outcome| outcome.code).collect();
    assert_eq!(codes, [0, 0, 20], "the third fee exceeds the limit for one block");
    let next = pay(&world, 33, 7, payout(33));
    assert!(world.ledger.next().admit(&next).is_ok(), "the limit starts anew in the next block");
    assert_eq!(world.block(vec![next])[0].code, 0);
    assert_eq!(world.head().fees, 0);
    world.check();
}

#[test]
fn expired_grants_are_removed_after_a_day() {
    let mut world = small(2);
    let pair = GrantPair { granter: address(1), grantee: address(30) };
    let session = Session { pair: pair.clone(), cap: 10, expires: world.time + 20 };
    let grant = world.sign(1, &session.grant());
    assert_eq!(world.block(vec![grant])[0].log, "");
    let granted = world.ledger.state().granted(&pair).len();
    assert!(granted > 0);
    world.time += 3600;
    world.block(vec![]);
    let again =
        Message::Grant(session.grants().next().map(|grant| Grant { expires: world.time + 100_000, ..grant }).unwrap());
    world.done(1, again);
    assert_eq!(world.ledger.state().granted(&pair).len(), granted, "an expired grant is reported for another day");
    world.time += 86_400;
    world.block(vec![]);
    assert_eq!(world.ledger.state().granted(&pair).len(), 1, "the grant that was renewed has not expired");
    assert_eq!(world.ledger.state().allowance(&pair), None);
    world.time += 200_000;
    world.block(vec![]);
    assert!(world.ledger.state().granted(&pair).is_empty() && world.ledger.state().removals.is_empty());
    world.check();
}

#[test]
fn admission_charges_fees_and_increments_sequences() {
    let world = small(2);
    let mut ahead = world.ledger.clone();
    let fee = Fee { amount: COINS / 2, granter: None };
    let tx = |sequence| key(1).sign(CHAIN, sequence, &fee, &[transfer(1, 2, 1)]).unwrap();
    assert!(ahead.admit(&tx(0)).is_ok());
    assert_eq!(ahead.admit(&tx(0)).unwrap_err().code, 32);
    assert!(ahead.admit(&tx(1)).is_ok());
    assert_eq!(ahead.admit(&tx(2)).unwrap_err().code, 5);
    assert_eq!(world.balance(1), COINS, "the ledger itself is unchanged");
}

#[test]
fn rewards_go_to_the_payout_account() {
    let mut world = small(1);
    world.done(1, Message::SetPayout(MsgSetPayout { miner: address(1), payout: address(3) }));
    world.mine(1, honest);
    world.serve(&[9], honest_finding);
    assert_eq!((world.balance(1), world.balance(3)), (COINS, COINS + LedgerParams::EMBEDDED.reward));
    let nobody = MsgSetPayout { miner: address(1), payout: "cosmos1nobody".to_owned() };
    assert_eq!(world.send(1, Message::SetPayout(nobody)).0, 2);
}

#[test]
fn a_session_mines_for_its_granter_until_its_expiry_or_cap() {
    let mut world = small(2);
    let pair = GrantPair { granter: address(1), grantee: address(30) };
    let session = Session { pair: pair.clone(), cap: 10, expires: world.time + 20 };
    let grant = world.sign(1, &session.grant());
    assert_eq!(world.block(vec![grant])[0].log, "");
    let claim = |world: &Network, amount: u64| {
        let messages = [Message::Exec(address(30), vec![world.claim(1, world.free())])];
        let sequence = world.ledger.state().account_of(&address(30)).sequence;
        let fee = Fee { amount, granter: Some(address(1)) };
        key(30).sign(CHAIN, sequence, &fee, &messages).unwrap()
    };
    let over = claim(&world, 11);
    assert_eq!(world.block(vec![over])[0].code, 5);
    let tx = claim(&world, 6);
    let outcome = world.block(vec![tx]).remove(0);
    assert_eq!(outcome.log, "");
    assert_eq!(outcome.answers[0].0, "/cosmos.authz.v1beta1.MsgExecResponse");
    assert_eq!((world.balance(1), world.ledger.state().allowance(&pair).unwrap().remaining), (COINS - 6, 4));
    assert!(world.ledger.held(&address(1)).unwrap().is_some(), "the granter holds the claim");
    let steal = Message::Exec(address(30), vec![transfer(1, 30, 5)]);
    let tx = key(30).sign(CHAIN, 1, &Fee::default(), &[steal]);
    assert!(tx.is_ok_and(|tx| world.block(vec![tx])[0].code == 4), "a grant does not cover transfers");
    world.time += 30;
    let late = claim(&world, 1);
    let log = world.block(vec![late]).remove(0).log;
    assert!(log.contains("expired"), "{log}");
    world.check();
}
