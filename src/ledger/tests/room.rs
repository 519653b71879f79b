//! Tests of full blocks: an account that fills blocks with transactions pays for it. The account can neither keep
//! duties (messages that the ledger expects, such as attestations) out of blocks nor make a deadline pass.

use super::*;
use crate::{
    ledger::context::Refusal,
    tx::{Allowance, Grant, GrantPair, MsgClaimTask, MsgCommitAttestation, MsgSubmitGradient, Transfer, code},
};
use prost::Name;

const NODES: [(u8, u64); 3] = [(7, 100_000_000), (8, 100_000_000), (9, 100_000_000)];

fn network(params: LedgerParams) -> Network {
    let mut genesis = genesis(4, LedgerParams { sampling: ALL, verifiers: 16, trap_share: 0, ..params }, &NODES);
    genesis.accounts.retain(|(account, _)| *account != address(3));
    Network::new(genesis)
}

/// Returns transactions that fill a block. The ledger refuses them, but they leave no room for other transactions.
fn stuffing() -> Vec<Vec<u8>> {
    vec![vec![0; 60_000]; 17]
}

#[test]
fn deadlines_stand_still_while_blocks_have_no_room() {
    let mut world = network(LedgerParams { draw_after: 1, ..NETWORK });
    world.stake(1, 100_000_000);
    world.mine(1, honest);
    let claim = world.claim(2, world.free());
    world.done(2, claim);
    let (clock, supply) = (world.head().clock, world.ledger.state().coins());
    for _ in 0..2 * NETWORK.claim_lifetime {
        world.block(stuffing());
    }
    assert_eq!((world.head().clock, world.ledger.state().coins()), (clock, supply), "nobody has lost anything");
    assert!(world.ledger.held(&address(2)).unwrap().is_some(), "the claim has not expired");
    world.serve(&[7, 8, 9], honest_finding);
    assert_eq!(world.status(1), SubmissionStatus::Accepted);
    world.wait(NETWORK.claim_lifetime);
    assert!(world.ledger.held(&address(2)).unwrap().is_none(), "with room, the time goes on");
    world.check();
}

#[test]
fn many_blocks_in_a_second_make_nobody_miss_a_deadline() {
    let mut world = network(LedgerParams { draw_after: 1, ..NETWORK });
    world.stake(1, 100_000_000);
    world.mine(1, honest);
    let (clock, supply) = (world.head().clock, world.ledger.state().coins());
    for number in 0..3 * NETWORK.attestation_blocks {
        world.time -= 1;
        let send = Message::Send(Transfer { from: address(2), to: address(4), amount: 1 + number % 5 });
        world.done(2, send);
    }
    assert_eq!((world.head().clock, world.ledger.state().coins()), (clock, supply), "nobody has lost anything");
    world.serve(&[7, 8, 9], honest_finding);
    assert_eq!(world.status(1), SubmissionStatus::Accepted);
    world.check();
}

#[test]
fn a_transaction_pays_for_its_bytes_and_its_rows() {
    let mut world = network(LedgerParams { fee_per_byte: 40, fee_per_row: 1_000, ..NETWORK });
    let pay = |world: &Network, amount: u64, messages: &[Message]| {
        let sequence = world.ledger.state().account_of(&address(1)).sequence;
        key(1).sign(CHAIN, sequence, &Fee { amount, granter: None }, messages).unwrap()
    };
    let pair = GrantPair { granter: address(1), grantee: address(2) };
    let grant = Grant { pair: pair.clone(), message: MsgSubmitGradient::type_url(), expires: world.time + 1_000 };
    let allowance = Allowance { pair, cap: 5, expires: world.time + 1_000 };
    let send = Message::Send(Transfer { from: address(1), to: address(2), amount: 1 });
    let cases = [
        (vec![send.clone()], 1),
        (vec![send.clone(), send], 2),
        (vec![Message::Grant(grant)], 2),
        (vec![Message::GrantAllowance(allowance)], 2),
        (vec![world.claim(1, 0)], 0),
    ];
    for (messages, rows) in cases {
        // all these fees have five digits, so the transactions have the same size
        let least = 40 * pay(&world, 10_000, &messages).len() as u64 + 1_000 * rows;
        assert!((10_000..100_000).contains(&least));
        let short = pay(&world, least - 1, &messages);
        assert_eq!(world.block(vec![short]).remove(0).code, code::INSUFFICIENT_FEE);
        let exact = pay(&world, least, &messages);
        assert_eq!(world.block(vec![exact]).remove(0).log, "");
    }
    world.check();
}

#[test]
fn duties_cost_nothing_but_are_admitted_only_if_they_succeed() {
    let mut world = network(LedgerParams { draw_after: 1, fee_per_byte: 1, fee_per_row: 1_000, ..NETWORK });
    let mine = |world: &mut Network, message: Message| {
        let sequence = world.ledger.state().account_of(&address(1)).sequence;
        let tx = key(1).sign(CHAIN, sequence, &Fee { amount: 5_000, granter: None }, &[message]).unwrap();
        assert_eq!(world.block(vec![tx]).remove(0).log, "");
    };
    let claim = world.claim(1, world.free());
    mine(&mut world, claim);
    let submission = world.submission(1, honest);
    mine(&mut world, Message::SubmitGradient(Box::new(submission)));
    world.block(vec![]);
    let messages = world.pending_messages(7, &honest_finding);
    let tx = world.sign(7, &messages);
    let mut admission = world.ledger.next();
    assert!(is_free_duty(&admission.admit(&tx).unwrap()));
    let sequence = world.ledger.state().account_of(&address(7)).sequence;
    let again = key(7).sign(CHAIN, sequence + 1, &Fee::default(), &messages).unwrap();
    let Refusal { code, log } = admission.admit(&again).unwrap_err();
    assert_eq!((code, log.contains("already committed")), (code::REJECTED, true), "{log}");
    let (verifier, commitment) = (address(1), vec![0; 32]);
    let stranger = Message::CommitAttestation(MsgCommitAttestation { verifier, challenge_id: 1, commitment });
    let stranger = world.sign(1, &[stranger]);
    assert_eq!(world.ledger.next().admit(&stranger).unwrap_err().code, code::UNAUTHORIZED);
    world.serve(&[7, 8, 9], honest_finding);
    assert_eq!(world.status(1), SubmissionStatus::Accepted);
    assert_eq!(world.balance(7), COINS, "the verifier has paid no fee");
}

#[test]
fn fees_are_waived_only_for_transactions_that_succeed() {
    let world = network(LedgerParams { fee_per_byte: 1, ..NETWORK });
    let claim = |chunk_id: u64| {
        let claim = Message::ClaimTask(MsgClaimTask { miner: address(3), pool_id: 0, chunk_id });
        key(3).sign(CHAIN, 0, &Fee { amount: 6_000, granter: Some(fee_waiver()) }, &[claim]).unwrap()
    };
    assert!(world.ledger.next().admit(&claim(0)).is_ok());
    assert_eq!(world.ledger.next().admit(&claim(99)).unwrap_err().code, code::TAKEN);
}

#[test]
fn grants_and_allowances_last_for_a_limited_time() {
    let mut world = network(NETWORK);
    let pair = || GrantPair { granter: address(1), grantee: address(2) };
    let grant = |expires| Message::Grant(Grant { pair: pair(), message: MsgSubmitGradient::type_url(), expires });
    let allowance = |expires| Message::GrantAllowance(Allowance { pair: pair(), cap: 5, expires });
    let last = |world: &Network| world.time + 1 + NETWORK.max_grant_seconds;
    for message in [grant(last(&world) + 1), allowance(last(&world) + 2)] {
        let (code, log) = world.send(1, message);
        assert!(code == code::MALFORMED && log.contains("at most 366 days"), "{log}");
    }
    let message = grant(last(&world));
    world.done(1, message);
    let message = allowance(last(&world));
    world.done(1, message);
}
