//! Traps, and miners that take their work back.

use super::{
    court::{NODES, all},
    *,
};
use crate::tx::{MsgSubmitTrapJobResult, MsgWithdraw};

#[test]
fn a_trap_finds_verifiers_who_agree_on_what_they_did_not_look_at() {
    let trapping = LedgerParams { trap_share: ALL, verifiers: 1, challenge_blocks: 0, ..all() };
    for commitment in [wrong as fn(&Task) -> Commitment, honest] {
        let mut world = World::new(genesis(2, trapping.clone(), &NODES));
        world.mine(1, commitment);
        world.block(vec![]);
        let sampled = |world: &World| world.ledger.state().challenges.get(&1).unwrap().sampled[0].verifier.clone();
        let first = sampled(&world);
        let lazy = move |number: u8, task: &Task, claimed| {
            if address(number) == first { Finding::Match } else { truth(number, task, claimed) }
        };
        world.serve(&[7, 8, 9], &lazy);
        let reputation = world.ledger.state().reputation(&address(1));
        let task = world.ledger.task(0, &address(1)).unwrap();
        let right = u64::from(commitment(&task) == honest(&task));
        assert_eq!((reputation.accepted, reputation.rejected), (right, 1 - right));
        let slashed = [7, 8, 9].map(|number| u64::from(world.slashed(number) > 0)).iter().sum::<u64>();
        assert_eq!(slashed, 1 - right, "the first alone");
        let sampled = world.events.iter().filter(|event| matches!(event, Event::Sampled { .. })).count();
        assert_eq!(sampled, 2);
        world.check();
    }
    let mut world = World::small(2);
    let named = MsgSubmitTrapJobResult { miner: address(1), trap_job_id: "trap-7".to_owned(), ..Default::default() };
    assert!(world.send(1, Message::AnswerTrap(named)).1.contains("sampled after it was submitted"));
}

#[test]
fn a_miner_whose_gpu_fails_takes_its_work_back_before_it_is_drawn_for_and_not_after() {
    let params = LedgerParams { draw_blocks: 3, quarantine_blocks: 20, claim_bond: 50, challenge_blocks: 0, ..all() };
    let mut world = World::new(genesis(2, params, &NODES));
    let register =
        |stake| crate::tx::MsgRegisterNode { node_address: address(1), node_type: 1, stake, ..Default::default() };
    world.done(1, Message::RegisterNode(register("20000000uremes".to_owned())));
    let (owned, place) = (world.balance(1), world.free());
    world.mine(1, wrong);
    assert!(!world.ledger.wants_block() && world.ledger.has_pending());
    world.block(vec![]);
    world.done(1, Message::Withdraw(MsgWithdraw { miner: address(1) }));
    let known = world.ledger.state().submission(1).unwrap();
    assert_eq!((known.status, world.free()), (SubmissionStatus::Withdrawn, place));
    assert_eq!((world.balance(1), world.slashed(1)), (owned, 0));
    let claim = world.claim(1, place);
    assert!(world.send(1, claim).1.contains("claims nothing until block"));
    (0..20).for_each(|_| drop(world.block(vec![])));
    // once it is sampled for, it is too late
    world.mine(1, wrong);
    (0..3).for_each(|_| drop(world.block(vec![])));
    world.done(1, Message::Withdraw(MsgWithdraw { miner: address(1) }));
    world.serve(&[7, 8, 9], truth);
    assert_eq!(world.ledger.state().submission(2).unwrap().status, SubmissionStatus::Rejected(Finding::Mismatch));
    assert_eq!(world.slashed(1), 10_000_000);
    // what it only claimed it gives back
    (0..20).for_each(|_| drop(world.block(vec![])));
    let claim = world.claim(1, world.free());
    world.done(1, claim);
    world.done(1, Message::Withdraw(MsgWithdraw { miner: address(1) }));
    assert_eq!(world.balance(1), owned);
    world.check();
}
