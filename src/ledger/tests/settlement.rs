//! Tests that no reward is paid before the gradient is settled (can no longer be rejected), and that miners without
//! collateral can claim only a limited number of chunks.

use super::*;
use crate::tx::{GrantPair, MsgSubmitGradient, MsgUnregisterNode, Session};

const STAKE: u64 = 200_000_000;
const NODES: [(u8, u64); 3] = [(7, STAKE), (8, STAKE), (9, STAKE)];
/// The number of an account without coins.
const POOR: u8 = 20;

fn params() -> LedgerParams {
    LedgerParams { draw_after: 1, challenge_blocks: 20, trap_share: 0, verifiers: 16, ..NETWORK }
}

fn network(quota: u32, params: LedgerParams) -> Network {
    let mut genesis = genesis(quota, params, &NODES);
    // a round must not have more gradients than the text has chunks
    genesis.chunks = (0..64u8).map(|number| crate::store::Codec::Raw.cid(&[number])).collect();
    Network::new(genesis)
}

/// Applies blocks until the round is full and closed.
fn close(world: &mut Network) {
    let round = world.head().round;
    for _ in 0..200 {
        if world.head().round > round {
            return;
        }
        world.serve(&[7, 8, 9], honest_finding);
        world.block(vec![]);
    }
    panic!("the round is not closed");
}

/// Lets account `number` claim a chunk and submit a gradient for it with a proof of work of 4 bits. The submission
/// states the commitment that `commitment` returns. Returns the result code and the log of the submission, or those of
/// the claim if the claim is refused.
fn submit(world: &mut Network, number: u8, commitment: impl Fn(&Task) -> Commitment) -> (u32, String) {
    let claim = world.claim(number, world.free());
    let claimed = world.send(number, claim);
    if claimed.0 != 0 {
        return claimed;
    }
    let mut message = world.submission(number, commitment);
    message.prove_work(CHAIN, 4);
    world.send(number, Message::SubmitGradient(Box::new(message)))
}

#[test]
fn a_forger_earns_nothing_however_many_gradients_it_forges_before_the_first_is_found() {
    // no gradient of a miner with collateral is sampled, so all forged gradients are accepted
    let mut world = network(8, LedgerParams { sampling: 0, ..params() });
    world.stake(1, 100_000_000);
    let owned = world.balance(1);
    for _ in 0..7 {
        world.mine(1, wrong);
        world.block(vec![]);
    }
    assert_eq!((world.head().accepted_in_round, world.balance(1)), (7, owned));
    // the next one is sampled
    world.ledger.state.reputation_mut(&Author::own(&address(1))).trust = 0;
    world.mine(1, wrong);
    world.serve(&[7, 8, 9], honest_finding);
    world.wait(21);
    assert!((1..=7).all(|id| world.status(id) == SubmissionStatus::Voided), "the others are void");
    assert_eq!((world.head().accepted_in_round, world.head().settled_total), (0, 0));
    let bond = NETWORK.claim_bond;
    assert_eq!((world.balance(1), world.slashed(1)), (owned - bond, 50_000_000));
}

#[test]
fn a_miner_that_leaves_and_returns_is_recomputed_again() {
    let mut world = network(1, LedgerParams { probation: 2, sampling: 0, newcomer_bond: 0, ..params() });
    for _ in 0..3 {
        world.mine(1, honest);
        close(&mut world);
    }
    assert_eq!((world.head().challenges, world.escrow(1)), (2, 2_000_000), "two gradients were recomputed");
    world.mine(1, honest);
    let leave = Message::UnregisterNode(MsgUnregisterNode { node_address: address(1) });
    assert_eq!(world.send(1, leave.clone()).0, 1102, "a miner cannot leave while its gradient can be disputed");
    close(&mut world);
    world.done(1, leave);
    assert_eq!(world.escrow(1), 0);
    let before = world.head().challenges;
    world.mine(1, wrong);
    world.block(vec![]);
    assert_eq!(world.head().challenges, before + 1);
    world.check();
}

#[test]
fn a_stake_that_became_too_small_is_no_collateral() {
    let mut world = network(2, LedgerParams { sampling: 0, ..params() });
    world.stake(1, 100_000_000);
    world.ledger.state.nodes.get_mut(&address(1)).unwrap().stake = 31_000_000;
    world.mine(1, wrong);
    world.block(vec![]);
    assert_eq!(world.head().challenges, 1, "half of the stake is less than 16 rewards");
}

#[test]
fn accounts_without_coins_cannot_fill_a_round_and_need_a_proof_of_work() {
    let mut world = network(16, LedgerParams { unbonded_work_bits: 4, unbonded_per_block: 1, ..params() });
    // an eighth of the round: two chunks, one in each block
    let claims: Vec<_> = [0, 1].map(|at| world.sign(POOR + at, &[world.claim(POOR + at, u64::from(at))])).into();
    let codes: Vec<u32> = world.block(claims).iter().map(|outcome| outcome.code).collect();
    assert_eq!(codes, [0, crate::tx::code::TAKEN], "at most one claim without a bond in a block");
    let mut message = world.submission(POOR, wrong);
    while message.proves_work(CHAIN, 4) {
        message.proof_of_work_nonce += 1;
    }
    let (_, log) = world.send(POOR, Message::SubmitGradient(Box::new(message.clone())));
    assert!(log.contains("4 leading zero bits"), "{log}");
    message.prove_work(CHAIN, 4);
    world.done(POOR, Message::SubmitGradient(Box::new(message)));
    assert_eq!(submit(&mut world, POOR + 1, wrong).0, 0);
    world.serve(&[7, 8, 9], honest_finding);
    world.wait(21);
    assert!((1..=2).all(|id| world.status(id) == SubmissionStatus::Rejected(Finding::Mismatch)));
    let (code, log) = submit(&mut world, POOR + 2, wrong);
    assert_eq!(code, crate::tx::code::TAKEN, "rejected gradients count until the round ends: {log}");
    world.check();
}

#[test]
fn garbage_of_accounts_without_coins_mints_nothing() {
    let mut world = network(16, LedgerParams { unbonded_work_bits: 4, ..params() });
    let minted = world.head().minted;
    assert_eq!(submit(&mut world, POOR, wrong).0, 0);
    world.serve(&[7, 8, 9], honest_finding);
    world.wait(21);
    assert_eq!((world.status(1), world.head().minted), (SubmissionStatus::Rejected(Finding::Mismatch), minted));
    let owed: u64 = world.ledger.state().owed.values().sum();
    assert_eq!(owed, 16 * NETWORK.verifier_reward, "the verifiers are paid when work is accepted");
    world.check();
}

#[test]
fn verifiers_of_a_newcomers_wrong_gradient_are_paid_from_its_bond() {
    let mut world = network(16, LedgerParams { verifiers: 3, ..params() });
    let minted = world.head().minted;
    world.mine(1, wrong);
    world.serve(&[7, 8, 9], honest_finding);
    world.wait(21);
    assert_eq!(world.balance(1), COINS - NETWORK.newcomer_bond);
    let paid: u64 = [7, 8, 9].map(|number| world.balance(number) - COINS).iter().sum();
    assert_eq!((paid, world.head().minted), (NETWORK.newcomer_bond, minted));
    world.check();
}

/// Lets two miners submit correct gradients for three rounds, and returns how many micro-units were minted for their
/// verifiers.
fn minted_for_verifiers(params: LedgerParams) -> u64 {
    let mut world = network(2, LedgerParams { newcomer_bond: 0, ..params });
    let minted = world.head().minted;
    for _ in 0..3 {
        for miner in [1, 2] {
            world.mine(miner, honest);
        }
        close(&mut world);
    }
    let head = world.head();
    assert_eq!(head.settled_total, 6);
    assert_eq!(head.minted - minted, 6 * NETWORK.reward + head.minted_for_verifiers);
    assert!(world.ledger.state().owed.is_empty());
    world.check();
    head.minted_for_verifiers
}

#[test]
fn the_supply_grows_by_settled_gradients_only_however_often_they_are_recomputed() {
    let budget = 6 * NETWORK.verification_budget;
    for verifiers in [1, 3, 16] {
        let minted = minted_for_verifiers(LedgerParams { verifiers, ..params() });
        // each verifier's part of the budget is rounded down
        assert!((budget - 9..=budget).contains(&minted), "{verifiers} verifiers: {minted} of {budget}");
    }
}

/// Returns a transaction in which account 30, as a session key of account 1, sends a message in the name of account 1.
fn of_session(world: &Network, message: Message) -> Vec<u8> {
    let sequence = world.ledger.state().account_of(&address(30)).sequence;
    key(30).sign(CHAIN, sequence, &Fee::default(), &[Message::Exec(address(30), vec![message])]).unwrap()
}

/// Lets account 1 grant a session to account 30. `cap` is the amount, in micro-units, that the session may spend.
fn open_session(world: &mut Network, cap: u64) {
    let pair = GrantPair { granter: address(1), grantee: address(30) };
    let grant = world.sign(1, &Session { pair, cap, expires: world.time + 10_000 }.grant());
    assert_eq!(world.block(vec![grant])[0].log, "");
}

/// Lets account 30, as a session key of account 1, claim a chunk and submit a gradient for it. Returns the result codes
/// of these two transactions. If the claim is refused, nothing is submitted, and the code of the claim is returned
/// twice.
fn mine_by_session(world: &mut Network, commitment: impl Fn(&Task) -> Commitment) -> [u32; 2] {
    let claim = of_session(world, world.claim(1, world.free()));
    let claimed = world.block(vec![claim]).remove(0).code;
    if claimed != 0 {
        return [claimed; 2];
    }
    let mut message = world.submission(1, commitment);
    message.prove_work(CHAIN, 4);
    let submission = of_session(world, Message::SubmitGradient(Box::new(message)));
    [0, world.block(vec![submission]).remove(0).code]
}

#[test]
fn a_session_cannot_burn_the_stake_and_the_escrow_of_its_granter() {
    let mut world = network(16, LedgerParams { verifiers: 3, unbonded_work_bits: 4, ..params() });
    world.stake(1, 100_000_000);
    let bond = NETWORK.newcomer_bond;
    open_session(&mut world, bond);
    let owned = world.balance(1);
    // the session has no collateral, although its granter has: its gradient is recomputed, and its bond is the larger
    // one
    assert_eq!(mine_by_session(&mut world, wrong), [0, 0]);
    assert_eq!(world.balance(1), owned - bond);
    world.block(vec![]);
    assert_eq!(world.head().challenges, 1);
    world.serve(&[7, 8, 9], honest_finding);
    world.wait(21);
    assert_eq!((world.status(1), world.slashed(1)), (SubmissionStatus::Rejected(Finding::Mismatch), 0));
    // the cap is used up: the session can burn no more coins, however many wrong gradients it submits
    for _ in 0..2 {
        assert_eq!(mine_by_session(&mut world, wrong), [0, 0]);
        world.serve(&[7, 8, 9], honest_finding);
        world.wait(21);
    }
    assert_eq!(mine_by_session(&mut world, wrong)[0], crate::tx::code::TAKEN);
    assert_eq!((world.balance(1), world.slashed(1)), (owned - bond, 0));
    world.check();
}

#[test]
fn a_session_has_its_own_escrow_which_its_granter_gets_when_it_ends() {
    let mut world = network(1, LedgerParams { probation: 2, newcomer_bond: 0, ..params() });
    open_session(&mut world, 1_000);
    let owned = world.balance(1);
    for _ in 0..3 {
        assert_eq!(mine_by_session(&mut world, honest), [0, 0]);
        close(&mut world);
    }
    let reward = NETWORK.reward;
    assert_eq!((world.balance(1) - owned, world.escrow(1)), (reward, 2 * reward));
    assert_eq!(world.ledger.state().reputations[&Author::own(&address(1))].escrow, 0, "the escrow is the session's");
    let pair = GrantPair { granter: address(1), grantee: address(30) };
    let granted = world.ledger.state().granted(&pair).into_iter();
    let revoke: Vec<_> = granted.map(|(message, _)| Message::Revoke(pair.clone(), message)).collect();
    let revoke = world.sign(1, &revoke);
    assert_eq!(world.block(vec![revoke])[0].log, "");
    assert!(world.ledger.state().reputations.keys().all(|author| author.session.is_none()));
    assert_eq!(world.escrow(1), 2 * reward, "it is the collateral of the granter now");
    world.check();
}

/// Verifiers that cannot recompute a gradient accuse nobody, but are slashed as if they had not attested.
#[test]
fn unavailable_is_neither_an_accusation_nor_free() {
    let mut world = network(2, params());
    world.mine(1, honest);
    world.serve(&[7, 8, 9], |number, task, claimed| match number {
        9 => honest_finding(number, task, claimed),
        _ => Finding::Unavailable,
    });
    assert_eq!(world.status(1), SubmissionStatus::Accepted, "no panel is needed");
    let silence = LedgerParams::share(STAKE, NETWORK.silence_penalty);
    assert_eq!([7, 8, 9].map(|number| world.slashed(number)), [silence, silence, 0]);
    assert_eq!(world.slashed(1), 0);
    world.check();
}

#[test]
fn votes_for_unavailable_decide_nothing_and_cost_as_much_as_silence() {
    let mut world = network(2, params());
    world.mine(1, honest);
    let lie = |number: u8, task: &Task, claimed| match number {
        9 => Finding::Mismatch,
        _ => honest_finding(number, task, claimed),
    };
    for _ in 0..4 {
        let txs = world.pending_txs(&[7, 8, 9], &lie);
        world.block(txs);
        if world.ledger.state().challenges.values().any(|open| open.stage == ChallengeStage::Panel) {
            break;
        }
    }
    for (number, finding) in [(7, Finding::Unavailable), (8, Finding::Unavailable), (9, Finding::Mismatch)] {
        let vote = world.pending_messages(number, &|_, _, _| finding).remove(0);
        world.done(number, vote);
    }
    world.wait(NETWORK.decision_blocks);
    let silence = LedgerParams::share(STAKE, NETWORK.silence_penalty);
    assert_eq!(
        [7, 8, 9].map(|number| world.slashed(number)),
        [silence, silence, 0],
        "a third of the stake is too little"
    );
    world.serve(&[7, 8], honest_finding);
    assert_eq!(world.status(1), SubmissionStatus::Accepted);
    assert!(world.slashed(9) > 0 && world.slashed(1) == 0);
    world.check();
}

#[test]
fn a_split_stake_gets_no_more_seats() {
    let seats = |nodes: &[(u8, u64)], own: std::ops::Range<u8>| {
        let world = Network::new(genesis(2, LedgerParams { verifiers: 3, min_stake: 1, ..params() }, nodes));
        let all = |id| {
            let sampled = verification::sampled_verifiers(&world.ledger.state, id, &[]);
            sampled.iter().all(|sampled| own.clone().any(|number| address(number) == sampled.verifier))
        };
        (0..4_000).filter(|id| all(*id)).count()
    };
    let whole = seats(&[(1, 20), (9, 80)], 1..2);
    let split = seats(&[(1, 4), (2, 4), (3, 4), (4, 4), (5, 4), (9, 80)], 1..6);
    // all three seats: 0.2^3 of 4,000 is 32, and the standard deviation is 5.6
    assert!((12..=52).contains(&whole) && (12..=52).contains(&split), "{whole} {split}");
}

#[test]
fn the_same_gradient_with_another_nonce_is_stored_once() {
    let mut world = network(2, params());
    world.done(1, world.claim(1, world.free()));
    let message: MsgSubmitGradient = world.submission(1, honest);
    world.done(1, Message::SubmitGradient(Box::new(message.clone())));
    let again = MsgSubmitGradient { nonce: message.nonce + 1, ipfs_hash: message.ipfs_hash.clone(), ..message };
    assert_eq!(world.send(1, Message::SubmitGradient(Box::new(again))).0, 0, "the same gradient is stored once");
    assert_eq!(world.head().submissions, 1);
}
