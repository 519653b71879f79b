//! Tests of what a session key may take back of its granter's work.

use super::*;
use crate::tx::{GrantPair, MsgOpenSession, MsgWithdraw};

/// The bond of a claim, in micro-units.
const BOND: u64 = 50;

/// Returns a network in which submissions can be withdrawn for 50 blocks.
fn network() -> Network {
    let params = LedgerParams { claim_bond: BOND, draw_blocks: 50, quarantine_blocks: 2, ..LedgerParams::EMBEDDED };
    Network::new(genesis(6, params, &[(9, 1_000_000)]))
}

/// Opens a session of account 1 by a statement. `session` is the number of the account whose key the session has.
fn open(world: &mut Network, session: u8, cap: u64) {
    let pair = GrantPair { granter: address(1), grantee: address(session) };
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
