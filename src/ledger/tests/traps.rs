//! Tests of traps (second recomputations of a gradient by other verifiers) and of withdrawals. A trap must expose
//! verifiers that attest a match without recomputing. A miner can withdraw a gradient without a penalty only while
//! nobody knows the random value that decides whether the gradient is recomputed.

use super::{
    dispute_network::{NODES, all},
    *,
};
use crate::tx::{MsgSubmitTrapJobResult, MsgWithdraw};

#[test]
fn a_trap_exposes_verifiers_that_did_not_recompute() {
    let trapping = LedgerParams { trap_share: ALL, verifiers: 1, challenge_blocks: 0, ..all() };
    for commitment in [wrong as fn(&Task) -> Commitment, honest] {
        let mut world = Network::new(genesis(2, trapping.clone(), &NODES));
        world.mine(1, commitment);
        world.block(vec![]);
        let sampled = |world: &Network| world.ledger.state().challenges.get(&1).unwrap().sampled[0].verifier.clone();
        let first = sampled(&world);
        let lazy = move |number: u8, task: &Task, claimed| {
            if address(number) == first { Finding::Match } else { honest_finding(number, task, claimed) }
        };
        world.serve(&[7, 8, 9], &lazy);
        let reputation = world.ledger.state().reputation(&address(1));
        let task = world.ledger.task(0, &address(1)).unwrap();
        let right = u64::from(commitment(&task) == honest(&task));
        assert_eq!((reputation.accepted, reputation.rejected), (right, 1 - right));
        let slashed = [7, 8, 9].map(|number| u64::from(world.slashed(number) > 0)).iter().sum::<u64>();
        assert_eq!(slashed, 1 - right, "the first verifier is slashed if the gradient is wrong, and nobody else");
        let sampled = world.events.iter().filter(|event| matches!(event, Event::Sampled { .. })).count();
        assert_eq!(sampled, 2);
        world.check();
    }
    let mut world = small(2);
    let named = MsgSubmitTrapJobResult { miner: address(1), trap_job_id: "trap-7".to_owned(), ..Default::default() };
    assert!(world.send(1, Message::AnswerTrap(named)).1.contains("any submitted gradient may become a trap"));
}

#[test]
fn a_miner_withdraws_without_penalty_only_before_the_random_value_is_known() {
    let params = LedgerParams { draw_after: 3, quarantine_blocks: 20, claim_bond: 50, challenge_blocks: 0, ..all() };
    let mut world = Network::new(genesis(2, params, &NODES));
    world.stake(1, 20_000_000);
    let (owned, position) = (world.balance(1), world.free());
    world.mine(1, wrong);
    assert!(!world.ledger.wants_block() && world.ledger.has_pending());
    world.block(vec![]);
    world.done(1, Message::Withdraw(MsgWithdraw { miner: address(1) }));
    let known = world.ledger.state().submission(1).unwrap();
    assert_eq!((known.status, world.free()), (SubmissionStatus::Withdrawn, position));
    assert_eq!((world.balance(1), world.slashed(1)), (owned, 0));
    let claim = world.claim(1, position);
    assert!(world.send(1, claim).1.contains("cannot claim a chunk before block"));
    world.wait(20);
    // once the random value is known, a withdrawal has no effect on the submission
    world.mine(1, wrong);
    world.wait(3);
    world.done(1, Message::Withdraw(MsgWithdraw { miner: address(1) }));
    world.serve(&[7, 8, 9], honest_finding);
    assert_eq!(world.ledger.state().submission(2).unwrap().status, SubmissionStatus::Rejected(Finding::Mismatch));
    assert_eq!(world.slashed(1), 10_000_000);
    let owned = owned - 50;
    // a withdrawal ends a claim and returns its bond
    world.wait(20);
    let claim = world.claim(1, world.free());
    world.done(1, claim);
    world.done(1, Message::Withdraw(MsgWithdraw { miner: address(1) }));
    assert_eq!(world.balance(1), owned);
    world.check();
}
