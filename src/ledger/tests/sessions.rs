//! Tests of sessions, in which a session key mines for another account: which claims and submissions a session may
//! withdraw, and how the bonds of its claims change the amount that it may spend.

use super::*;
use crate::tx::{GrantPair, MsgOpenSession, MsgWithdraw, Session};

/// The bond of a claim, in micro-units.
const BOND: u64 = 50;

/// Returns a network in which submissions can be withdrawn for 50 blocks.
fn network() -> Network {
    let params = LedgerParams { claim_bond: BOND, draw_after: 50, quarantine_blocks: 2, ..LedgerParams::EMBEDDED };
    Network::new(genesis(6, params, &[(9, 1_000_000)]))
}

fn pair(session: u8) -> GrantPair {
    GrantPair { granter: address(1), grantee: address(session) }
}

/// Opens a session of account 1 by a session statement (a text that account 1 signs). `session` is the number of the
/// account whose key becomes the session key. `cap` is the amount, in micro-units, that the session may spend.
fn open(world: &mut Network, session: u8, cap: u64) {
    let pair = pair(session);
    let mut opening = MsgOpenSession {
        grantee: address(session),
        pub_key: key(1).public_key(),
        expiration: world.time + 10_000,
        cap,
        number: world.ledger.state().session_number(&pair),
        signature: Vec::new(),
    };
    opening.signature = key(1).sign_text(&opening.statement(CHAIN)).unwrap();
    world.done(session, Message::OpenSession(Box::new(opening)));
}

/// Lets a session send a message for account 1.
fn send(world: &mut Network, session: u8, message: Message) {
    world.done(session, Message::Exec(address(session), vec![message]));
}

/// Lets a session claim a chunk slot for account 1.
fn claim(world: &mut Network, session: u8) {
    let message = world.claim(1, world.free());
    send(world, session, message);
}

/// Lets a session claim a chunk slot for account 1 and submit a gradient for it.
fn mine(world: &mut Network, session: u8) {
    claim(world, session);
    let submission = world.submission(1, honest);
    send(world, session, Message::SubmitGradient(Box::new(submission)));
}

fn withdrawal() -> Message {
    Message::Withdraw(MsgWithdraw { miner: address(1) })
}

#[test]
fn a_session_withdraws_only_its_own_claim_and_submissions() {
    use SubmissionStatus::{Pending, Withdrawn};
    let mut world = network();
    open(&mut world, 30, 1_000);
    open(&mut world, 31, 1_000);
    world.mine(1, honest);
    mine(&mut world, 30);
    mine(&mut world, 31);
    claim(&mut world, 31);
    assert_eq!(world.balance(1), COINS - 4 * BOND);
    let state = |world: &Network| {
        (
            [1, 2, 3].map(|id| world.status(id)),
            world.ledger.held(&address(1)).unwrap().is_some(),
            COINS - world.balance(1),
        )
    };
    let mut by_the_miner = world.clone();

    send(&mut world, 30, withdrawal());
    assert_eq!(state(&world), ([Pending, Withdrawn, Pending], true, 3 * BOND));
    send(&mut world, 31, withdrawal());
    assert_eq!(state(&world), ([Pending, Withdrawn, Withdrawn], false, BOND));
    world.check();

    by_the_miner.done(1, withdrawal());
    assert_eq!(state(&by_the_miner), ([Withdrawn; 3], false, 0));
    by_the_miner.check();
}

/// Returns the amount that a session may still spend, in micro-units.
fn remaining(world: &Network, session: u8) -> u64 {
    world.ledger.state().allowance(&pair(session)).unwrap().remaining
}

#[test]
fn a_bond_that_an_earlier_session_locked_does_not_raise_the_cap() {
    let mut world = network();
    open(&mut world, 30, 1_000);
    mine(&mut world, 30);
    claim(&mut world, 30);
    assert_eq!(remaining(&world, 30), 1_000 - 2 * BOND);
    open(&mut world, 30, 300);
    send(&mut world, 30, withdrawal());
    assert_eq!((world.balance(1), remaining(&world, 30)), (COINS, 300), "both bonds were locked by the first session");

    // the same session gets its bonds back
    world.wait(2);
    mine(&mut world, 30);
    claim(&mut world, 30);
    assert_eq!(remaining(&world, 30), 300 - 2 * BOND);
    send(&mut world, 30, withdrawal());
    assert_eq!((world.balance(1), remaining(&world, 30)), (COINS, 300));
    world.check();
}

#[test]
fn a_bond_that_was_locked_before_a_fee_allowance_was_granted_does_not_raise_it() {
    let mut world = network();
    let grant = |world: &mut Network, cap, seconds| {
        let session = Session { pair: pair(30), cap, expires: world.time + seconds };
        let tx = world.sign(1, &session.grant());
        assert_eq!(world.block(vec![tx])[0].log, "");
    };
    grant(&mut world, 1_000, 20);
    claim(&mut world, 30);
    assert_eq!(remaining(&world, 30), 1_000 - BOND);
    world.time += 20;
    grant(&mut world, 300, 1_000);
    send(&mut world, 30, withdrawal());
    assert_eq!((world.balance(1), remaining(&world, 30)), (COINS, 300));
    world.check();
}
