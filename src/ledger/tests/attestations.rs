//! Tests of sampling, attestations, votes and slashing: wrong gradients must be rejected, and no account may be slashed
//! for a correct finding.

use super::*;
use crate::tx::{MsgCommitAttestation, MsgRegisterNode, MsgUnregisterNode};

const NODES: [(u8, u64); 3] = [(7, 2_000_000), (8, 2_000_000), (9, 2_000_000)];

fn network(params: LedgerParams) -> Network {
    Network::new(genesis(2, LedgerParams { min_stake: 1_000_000, ..params }, &NODES))
}

/// Returns ledger parameters under which all three verifiers recompute every gradient: for each gradient, one of the
/// three is drawn at random 16 times, so almost certainly each of them is drawn at least once.
fn all() -> LedgerParams {
    let verified = LedgerParams { sampling: ALL, verifiers: 16, trap_share: 0, draw_after: 1, ..NETWORK };
    LedgerParams { probation: 0, claim_bond: 0, challenge_blocks: 0, ..verified }
}

#[test]
fn a_verifier_gets_more_time_for_each_other_recomputation() {
    let params = LedgerParams { sampling: ALL, draw_after: 1, trap_share: 0, ..NETWORK };
    let mut world = Network::new(genesis(4, params, &[(7, 100_000_000), (8, 100_000_000), (9, 100_000_000)]));
    for miner in 1..=4 {
        world.stake(miner, 100_000_000);
        world.mine(miner, honest);
    }
    world.block(vec![]);
    let open = world.ledger.state().challenges.values();
    let began = world.head().clock;
    let times: Vec<u64> = open.map(|open| open.stage_ends - began).collect();
    assert_eq!(times.len(), 4);
    let mut last = times[0];
    for time in &times[1..] {
        assert!((last + 6..=last + 12).contains(time), "{times:?}");
        last = *time;
    }
}

#[test]
fn a_wrong_gradient_is_rejected_and_its_chunk_slot_is_free_again() {
    let mut world = network(LedgerParams { probation: 5, ..all() });
    world.mine(1, honest);
    world.serve(&[7, 8, 9], honest_finding);
    assert_eq!(world.balance(1), COINS, "the reward of a miner on probation is held in escrow");
    assert_eq!(world.ledger.state().reputation(&address(1)).escrow, NETWORK.reward);
    let position = world.free();
    world.mine(1, wrong);
    world.serve(&[7, 8, 9], honest_finding);
    let reputation = world.ledger.state().reputation(&address(1));
    assert_eq!((reputation.accepted, reputation.rejected, reputation.escrow, reputation.trust), (1, 1, 0, 4_100));
    assert_eq!(world.free(), position);
    assert_eq!(world.head().accepted_total, 1);
    assert!([7, 8, 9].iter().all(|number| world.slashed(*number) == 0), "verifiers that are right are not slashed");
    world.mine(2, honest);
    world.serve(&[7, 8, 9], honest_finding);
    assert_eq!(world.head().round, 1);
    world.check();
}

#[test]
fn a_wrong_gradient_costs_half_of_the_stake() {
    let mut world = network(all());
    world.stake(1, 5_000_000);
    assert_eq!(world.balance(1), COINS - 5_000_000);
    world.mine(1, wrong);
    world.serve(&[7, 8, 9], honest_finding);
    assert_eq!(world.slashed(1), 2_500_000);
    world.done(1, Message::UnregisterNode(MsgUnregisterNode { node_address: address(1) }));
    assert_eq!(world.balance(1), COINS - 5_000_000, "the stake is not returned before the unbonding time is over");
    let few = MsgRegisterNode { node_address: address(1), node_type: 1, stake: "10".to_owned(), ..Default::default() };
    assert_eq!(world.send(1, Message::RegisterNode(few)).0, 5);
    world.check();
}

#[test]
fn stakes_are_returned_after_unbonding_blocks() {
    let mut world = network(LedgerParams { unbonding_blocks: 3, ..all() });
    world.done(9, Message::UnregisterNode(MsgUnregisterNode { node_address: address(9) }));
    assert!(world.ledger.has_pending());
    for _ in 0..2 {
        world.block(vec![]);
        assert_eq!(world.balance(9), COINS);
    }
    world.block(vec![]);
    assert_eq!(world.balance(9), COINS + 2_000_000);
    world.check();
}

/// One of three verifiers attests a wrong finding. The vote of all validators corrects it, and only the liar is
/// slashed.
#[test]
fn a_lying_verifier_is_slashed_and_changes_nothing() {
    for (commitment, lie) in [(honest as fn(&Task) -> Commitment, Finding::Mismatch), (wrong, Finding::Match)] {
        let mut world = network(all());
        world.mine(1, commitment);
        world.serve(
            &[7, 8, 9],
            |number, task, claimed| if number == 8 { lie } else { honest_finding(number, task, claimed) },
        );
        let reputation = world.ledger.state().reputation(&address(1));
        let right = u64::from(lie == Finding::Mismatch);
        assert_eq!((reputation.accepted, reputation.rejected), (right, 1 - right));
        assert!(world.slashed(8) >= 1_000_000);
        assert_eq!((world.slashed(7), world.slashed(9)), (0, 0));
        world.check();
    }
}

#[test]
fn a_verifier_that_does_not_recompute_is_slashed_even_if_its_result_is_right() {
    let mut world = network(all());
    world.guessing.push(8);
    world.mine(1, honest);
    world.serve(&[7, 8, 9], honest_finding);
    assert_eq!(world.head().accepted_total, 1);
    assert_eq!((world.slashed(7), world.slashed(8), world.slashed(9)), (0, 1_000_000, 0));
    let owed = |number| world.ledger.state().owed.get(&address(number)).copied().unwrap_or_default();
    let reward = NETWORK.verifier_reward;
    assert!(owed(7) >= reward && owed(9) >= reward && owed(8) == 0, "each seat earns a reward");
    world.check();
}

#[test]
fn verifiers_that_guess_the_same_leaf_lose_to_more_stake() {
    // all three verifiers are sampled: two with the same owner reveal the same wrong leaf, and the third has more stake
    let nodes = [(7, 4 * NETWORK.min_stake), (8, NETWORK.min_stake), (9, NETWORK.min_stake)];
    let mut world = Network::new(genesis(2, LedgerParams { verifiers: 64, ..all() }, &nodes));
    world.guessing.extend([8, 9]);
    world.mine(1, honest);
    world.serve(&[7, 8, 9], honest_finding);
    assert_eq!(world.head().accepted_total, 1);
    let half = NETWORK.min_stake / 2;
    assert_eq!((world.slashed(7), world.slashed(8), world.slashed(9)), (0, half, half));
    world.check();
}

#[test]
fn a_miner_without_stake_always_has_rewards_in_escrow() {
    let reward = NETWORK.reward;
    let mut world = network(LedgerParams { probation: 3, sampling: 0, verifiers: 1, ..all() });
    for count in 1..=5u64 {
        world.mine(1, honest);
        world.serve(&[7, 8, 9], honest_finding);
        assert_eq!(world.balance(1), COINS + count.saturating_sub(3) * reward);
        assert_eq!(world.ledger.state().reputation(&address(1)).escrow, count.min(3) * reward);
    }
    assert_eq!(world.head().challenges, 3, "all gradients during the probation are recomputed");
    let leave = || Message::UnregisterNode(MsgUnregisterNode { node_address: address(1) });
    world.done(1, world.claim(1, world.free()));
    assert_eq!(world.send(1, leave()).0, 1102, "a miner that holds a claim cannot leave");
    world.time += 301;
    world.block(vec![]);
    world.done(1, leave());
    assert_eq!(world.ledger.state().reputation(&address(1)).escrow, 0);
    assert_eq!(world.balance(1), COINS + 2 * reward, "the escrow is not returned before the unbonding time is over");
    world.check();
}

#[test]
fn a_silent_verifier_is_slashed_and_the_others_decide() {
    let mut world = network(LedgerParams { silence_penalty: 100, ..all() });
    world.mine(1, honest);
    world.serve(&[7, 8], honest_finding);
    assert_eq!(world.head().accepted_total, 0, "the third verifier still has time to commit");
    for _ in 0..NETWORK.attestation_blocks {
        world.block(vec![]);
    }
    world.serve(&[7, 8], honest_finding);
    assert_eq!((world.head().accepted_total, world.slashed(9)), (1, 20_000));
    world.check();
}

#[test]
fn other_verifiers_are_sampled_if_all_are_silent() {
    let mut world = network(LedgerParams { verifiers: 1, ..all() });
    world.mine(1, honest);
    world.block(vec![]);
    let sampled = |world: &Network| {
        let verifiers = world.events.iter().filter_map(|event| match event {
            Event::Sampled { verifiers, .. } => Some(verifiers[0].clone()),
            _ => None,
        });
        verifiers.collect::<Vec<_>>()
    };
    for _ in 0..20 * NETWORK.attestation_blocks {
        world.block(vec![]);
    }
    let sampled = sampled(&world);
    let different: std::collections::BTreeSet<_> = sampled.iter().collect();
    assert!(sampled.len() >= 19 && different.len() == 3, "{sampled:?}");
    assert_eq!(world.head().accepted_total, 0);
    world.check();
}

#[test]
fn a_copied_commitment_cannot_be_revealed() {
    let mut world = network(all());
    world.mine(1, honest);
    world.block(vec![]);
    let commit = |world: &Network, number: u8| {
        let messages = world.pending_messages(number, &honest_finding);
        world.sign(number, &messages)
    };
    let txs = [7, 8].map(|number| commit(&world, number)).into();
    world.block(txs);
    // the third verifier copies another verifier's commitment
    let Message::CommitAttestation(committed) = world.pending_messages(9, &honest_finding).remove(0) else { panic!() };
    let copied =
        world.ledger.state().challenges.get(&1).unwrap().sampled.iter().find_map(|sampled| sampled.committed.clone());
    let copy = MsgCommitAttestation { commitment: copied.unwrap().to_vec(), ..committed };
    world.done(9, Message::CommitAttestation(copy));
    let reveal = world.pending_messages(9, &honest_finding).remove(0);
    let (_, log) = world.send(9, reveal);
    assert!(log.contains("not what the verifier committed to"), "{log}");
    let stranger = world.pending_messages(7, &honest_finding).remove(0);
    let Message::RevealAttestation(mut stranger) = stranger else { panic!() };
    stranger.verifier = address(2);
    assert_eq!(world.send(2, Message::RevealAttestation(stranger)).0, 4, "the sender is not a sampled verifier");
    world.check();
}

#[test]
fn the_sampling_rate_follows_the_parameters_and_rises_with_lost_trust() {
    let params = LedgerParams { sampling: ALL / 4, verifiers: 1, ..all() };
    let mut world = network(params);
    for _ in 0..120 {
        world.mine(1, honest);
        world.serve(&[7, 8, 9], honest_finding);
    }
    let sampled = world.head().challenges;
    // the expected value is 30 of 120, the standard deviation 4.7; the hashes of the blocks are the same in every run
    assert!((16..=44).contains(&sampled), "{sampled}");
    let reputation = Reputation { trust: 0, ..Reputation::NEW };
    world.ledger.state.reputations.insert(Author::own(&address(2)), reputation);
    for _ in 0..10 {
        world.mine(2, honest);
        let before = world.head().challenges;
        world.block(vec![]);
        world.ledger.state.reputation_mut(&Author::own(&address(2))).trust = 0;
        assert_eq!(world.head().challenges, before + 1, "a miner without trust is always recomputed");
        world.serve(&[7, 8, 9], honest_finding);
        world.ledger.state.reputation_mut(&Author::own(&address(2))).trust = 0;
    }
}

#[test]
fn verifiers_are_sampled_by_stake_and_never_for_themselves() {
    let mut counts = [0; 10];
    let nodes = [(7, 1_000_000), (8, 3_000_000), (9, 6_000_000)];
    let world = Network::new(genesis(2, LedgerParams { verifiers: 1, min_stake: 1, ..all() }, &nodes));
    for id in 0..2_000 {
        let sampled = verification::sampled_verifiers(&world.ledger.state, id, &[&address(1)]);
        (7..=9)
            .filter(|number| sampled[0].verifier == address(*number))
            .for_each(|number| counts[usize::from(number)] += 1);
        let others = verification::sampled_verifiers(&world.ledger.state, id, &[&address(9)]);
        assert_ne!(others[0].verifier, address(9));
    }
    assert!((140..260).contains(&counts[7]) && (500..700).contains(&counts[8]), "{counts:?}");
}
