//! Tests that accounts whose findings are correct lose nothing. If verifiers disagree, a dispute decides which of them
//! are right. If they agree on a wrong finding, an appeal corrects it.

use super::{
    dispute_network::{BOND, DisputeNetwork, all},
    *,
};
use crate::tx::MsgRegisterNode;

/// Two of three sampled verifiers attest a match for a forged gradient, so a panel of validators must vote. Before the
/// panel votes, the third verifier wins a dispute: the gradient is rejected, and the other two verifiers are slashed.
#[test]
fn a_minority_that_is_right_overrules_a_panel() {
    let mut network = DisputeNetwork::new(LedgerParams { move_blocks: 4, ..all() });
    network.world.stake(1, 20_000_000);
    let forged = network.submit(1, true);
    network.attest(|number| if number == 9 { Finding::Mismatch } else { Finding::Match });
    assert_eq!(network.stage(), ChallengeStage::Panel);
    let dispute = network.open(9, &forged);
    assert_eq!(network.stage(), ChallengeStage::Contested);
    let mut liar = network.prover(&forged.1, true, None);
    let mut right = network.prover(&forged.1, false, None);
    network.answer(4, dispute, &liar);
    network.run_games(&[dispute], &mut [(4, &mut liar), (9, &mut right)]);
    assert_eq!(network.status(forged.0), SubmissionStatus::Rejected(Finding::Mismatch));
    assert_eq!([7, 8, 9].map(|number| network.world.slashed(number)), [5_000_000, 5_000_000, 0]);
    assert_eq!(network.world.slashed(1), 10_000_000);
    network.world.check();
}

/// An accomplice of the forger (the miner that submitted a wrong gradient) opens a dispute and loses it on purpose. The
/// verifier that found the mismatch can still appeal, so the gradient is rejected.
#[test]
fn a_dispute_lost_on_purpose_does_not_save_a_forger() {
    let mut network = DisputeNetwork::new(LedgerParams { move_blocks: 4, ..all() });
    let forged = network.submit(1, true);
    network.attest(|number| if number == 9 { Finding::Mismatch } else { Finding::Match });
    let thrown = network.open(2, &forged);
    let mut liar = network.prover(&forged.1, true, None);
    network.answer(4, thrown, &liar);
    network.run_games(&[thrown], &mut [(4, &mut liar)]);
    assert!(matches!(network.status(forged.0), SubmissionStatus::Challenged(_)), "others may still dispute it");
    assert_eq!(network.appeal(9, &forged), (0, String::new()));
    let dispute = network.world.head().disputes;
    let mut right = network.prover(&forged.1, false, None);
    network.answer(4, dispute, &liar);
    network.run_games(&[dispute], &mut [(4, &mut liar), (9, &mut right)]);
    assert_eq!(network.status(forged.0), SubmissionStatus::Rejected(Finding::Mismatch));
    assert_eq!(network.world.slashed(9), 0);
    network.world.check();
}

/// All sampled verifiers attest a mismatch for a correct gradient, and somebody appeals. The gradient is accepted, the
/// verifiers are slashed, and the miner loses nothing.
#[test]
fn an_honest_miner_is_not_slashed_if_all_verifiers_lie() {
    let mut network = DisputeNetwork::new(LedgerParams { challenge_blocks: 100, move_blocks: 4, ..all() });
    network.world.stake(1, 20_000_000);
    let right = network.submit(1, false);
    let position = network.world.ledger.state().submission(right.0).unwrap().position;
    network.attest(|_| Finding::Mismatch);
    assert_eq!(
        (network.stage(), network.world.free()),
        (ChallengeStage::Appeal, position),
        "the round does not wait for an appeal"
    );
    assert_eq!(network.appeal(5, &right), (0, String::new()));
    assert_eq!(network.appeal(5, &right).0, 1102, "a finding can be appealed against only once");
    let mut defender = network.prover(&right.1, false, None);
    (1..=3).for_each(|dispute| network.answer(5, dispute, &defender));
    network.run_games(&[1, 2, 3], &mut [(5, &mut defender)]);
    network.world.wait(100);
    assert_eq!([7, 8, 9].map(|number| network.world.slashed(number)), [5_000_000; 3]);
    assert_eq!(network.world.balance(5), COINS + 3 * 2_500_000);
    assert_eq!((network.status(right.0), network.world.slashed(1)), (SubmissionStatus::Accepted, 0));
    assert_eq!(network.world.head().minted_for_verifiers, 0, "nobody is paid before the gradient is settled");
    network.world.check();
}

/// Most validators vote that a correct gradient is wrong, and somebody appeals. The gradient is accepted, these
/// validators are slashed, and the miner loses nothing.
#[test]
fn an_honest_miner_is_not_slashed_if_most_validators_lie() {
    let mut network = DisputeNetwork::new(LedgerParams { challenge_blocks: 100, move_blocks: 4, ..all() });
    network.world.stake(1, 20_000_000);
    let right = network.submit(1, false);
    network.attest(|number| if number == 9 { Finding::Match } else { Finding::Mismatch });
    assert_eq!(network.stage(), ChallengeStage::Panel);
    network.world.serve(&[7, 8], |_, _, _| Finding::Mismatch);
    assert_eq!((network.stage(), network.world.slashed(1)), (ChallengeStage::Appeal, 0));
    assert_eq!(network.appeal(9, &right), (0, String::new()));
    let mut defender = network.prover(&right.1, false, None);
    (1..=2).for_each(|dispute| network.answer(9, dispute, &defender));
    network.run_games(&[1, 2], &mut [(9, &mut defender)]);
    network.world.wait(100);
    assert_eq!((network.status(right.0), network.world.slashed(1)), (SubmissionStatus::Accepted, 0));
    // verifiers 7 and 8 are slashed twice: for their attestations and for their votes
    assert_eq!([7, 8, 9].map(|number| network.world.slashed(number)), [7_500_000, 7_500_000, 0]);
    network.world.check();
}

/// All verifiers correctly find a mismatch, and the forger (the miner that submitted the wrong gradient) appeals. One
/// verifier wins its dispute, so the others lose nothing, although they are offline.
#[test]
fn one_honest_verifier_defends_the_finding_of_all() {
    let mut network = DisputeNetwork::new(LedgerParams { challenge_blocks: 100, move_blocks: 8, ..all() });
    let forged = network.submit(1, true);
    network.attest(|_| Finding::Mismatch);
    assert_eq!(network.appeal(1, &forged), (0, String::new()));
    let mut liar = network.prover(&forged.1, true, None);
    (1..=3).for_each(|dispute| network.answer(1, dispute, &liar));
    // two verifiers are offline: they lose their games before the game of the third one ends
    let mut right = network.prover(&forged.1, false, None);
    network.run_games(&[1, 2, 3], &mut [(1, &mut liar), (9, &mut right)]);
    let judged = |event: &Event| if let Event::Judged { upheld, .. } = event { Some(*upheld) } else { None };
    let judged: Vec<bool> = network.world.events.iter().filter_map(judged).collect();
    assert_eq!(judged, [false, false, true]);
    assert_eq!([7, 8, 9].map(|number| network.world.slashed(number)), [0; 3]);
    assert_eq!(network.status(forged.0), SubmissionStatus::Rejected(Finding::Mismatch));
    network.world.check();
}

#[test]
fn a_unanimous_mismatch_is_rejected_if_nobody_appeals() {
    let mut network = DisputeNetwork::new(LedgerParams { challenge_blocks: 10, ..all() });
    network.world.stake(1, 20_000_000);
    let forged = network.submit(1, true);
    network.attest(|_| Finding::Mismatch);
    assert!(network.world.ledger.has_pending());
    network.world.wait(9);
    assert!(matches!(network.status(forged.0), SubmissionStatus::Challenged(_)));
    let leave = crate::tx::MsgUnregisterNode { node_address: address(1) };
    assert_eq!(network.world.send(1, Message::UnregisterNode(leave)).0, 1102, "the miner's stake may still be slashed");
    assert_eq!(
        (network.status(forged.0), network.world.slashed(1)),
        (SubmissionStatus::Rejected(Finding::Mismatch), 10_000_000)
    );
    assert_eq!([7, 8, 9].map(|number| network.world.slashed(number)), [0; 3]);
    network.world.check();
}

/// All sampled verifiers attest a match for a forged gradient. When a later dispute proves it wrong, the gradient is
/// rejected and the verifiers are slashed.
#[test]
fn verifiers_are_slashed_for_a_match_that_a_dispute_refutes() {
    let mut network = DisputeNetwork::new(LedgerParams { challenge_blocks: 100, move_blocks: 4, ..all() });
    network.world.stake(1, 20_000_000);
    let forged = network.submit(1, true);
    network.attest(|_| Finding::Match);
    assert_eq!(network.status(forged.0), SubmissionStatus::Accepted);
    network.open(2, &forged);
    network.world.wait(6);
    assert_eq!(network.status(forged.0), SubmissionStatus::Rejected(Finding::Mismatch));
    assert_eq!([7, 8, 9].map(|number| network.world.slashed(number)), [5_000_000; 3]);
    assert_eq!((network.world.slashed(1), network.world.balance(2)), (10_000_000, COINS + BOND));
    network.world.check();
}

/// The sampled verifier with the largest stake does not recompute the gradient, and guesses its attestation leaf (a
/// digest of a part of the gradient). The leaves differ, so the validators must vote. An appeal ends the vote before
/// the votes show which leaf is correct. The verifiers that have recomputed the gradient lose nothing.
#[test]
fn a_large_stake_does_not_make_a_guessed_leaf_correct() {
    let mut network = DisputeNetwork::new(LedgerParams { challenge_blocks: 100, move_blocks: 4, ..all() });
    let (node_address, stake) = (address(7), "30000000uremes".to_owned());
    let more = MsgRegisterNode { node_address, node_type: 3, stake, ..Default::default() };
    network.world.done(7, Message::RegisterNode(more));
    network.world.guessing.push(7);
    let forged = network.submit(1, true);
    network.attest(|_| Finding::Mismatch);
    assert_eq!(network.stage(), ChallengeStage::Panel, "the leaves differ");
    assert_eq!(network.appeal(1, &forged), (0, String::new()));
    network.world.wait(100);
    assert_eq!(network.status(forged.0), SubmissionStatus::Rejected(Finding::Mismatch));
    assert_eq!([8, 9].map(|number| network.world.slashed(number)), [0; 2]);
    network.world.check();
}
