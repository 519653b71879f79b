//! Disputes where verifiers disagree, and appeals where they agree: whoever is right loses nothing.

use super::{
    court::{BOND, Court, REWARD, all},
    *,
};

/// Two of three verifiers let a forged gradient pass: the third disputes it, and need not win any vote.
#[test]
fn a_minority_that_is_right_overrules_a_panel() {
    let mut court = Court::new(LedgerParams { move_blocks: 4, ..all() });
    court.stake(1, 20_000_000);
    let forged = court.submit(1, true);
    court.speak(|number| if number == 9 { Finding::Mismatch } else { Finding::Match });
    assert_eq!(court.stage(), ChallengeStage::Panel);
    let dispute = court.open(9, &forged);
    assert_eq!(court.stage(), ChallengeStage::Contested);
    let mut liar = court.party(&forged.1, true, None);
    let mut right = court.party(&forged.1, false, None);
    court.answer(4, dispute, &liar);
    court.play(&[dispute], &mut [(4, &mut liar), (9, &mut right)]);
    assert_eq!(court.status(forged.0), SubmissionStatus::Rejected(Finding::Mismatch));
    assert_eq!([7, 8, 9].map(|number| court.world.slashed(number)), [5_000_000, 5_000_000, 0]);
    assert_eq!(court.world.slashed(1), 10_000_000);
    court.world.check();
}

/// A friend of the forger's opens a dispute and loses it on purpose; the verifier's own word is still to be judged.
#[test]
fn a_dispute_that_is_thrown_does_not_save_a_forger() {
    let mut court = Court::new(LedgerParams { move_blocks: 4, ..all() });
    let forged = court.submit(1, true);
    court.speak(|number| if number == 9 { Finding::Mismatch } else { Finding::Match });
    let thrown = court.open(2, &forged);
    let mut liar = court.party(&forged.1, true, None);
    court.answer(4, thrown, &liar);
    court.play(&[thrown], &mut [(4, &mut liar)]);
    assert!(matches!(court.status(forged.0), SubmissionStatus::Challenged(_)), "others have their time yet");
    assert_eq!(court.appeal(9, &forged), (0, String::new()));
    let dispute = court.world.head().disputes;
    let mut right = court.party(&forged.1, false, None);
    court.answer(4, dispute, &liar);
    court.play(&[dispute], &mut [(4, &mut liar), (9, &mut right)]);
    assert_eq!(court.status(forged.0), SubmissionStatus::Rejected(Finding::Mismatch));
    assert_eq!(court.world.slashed(9), 0);
    court.world.check();
}

/// All that were sampled say that a right gradient is wrong: the miner loses nothing, they do.
#[test]
fn an_honest_miner_is_not_slashed_by_verifiers_who_lie_together() {
    let mut court = Court::new(LedgerParams { challenge_blocks: 100, move_blocks: 4, ..all() });
    court.stake(1, 20_000_000);
    let right = court.submit(1, false);
    let place = court.world.ledger.state().submission(right.0).unwrap().position;
    court.speak(|_| Finding::Mismatch);
    assert_eq!(
        (court.stage(), court.world.free()),
        (ChallengeStage::Appeal, place),
        "nobody has_pending for an appeal"
    );
    assert_eq!(court.appeal(5, &right), (0, String::new()));
    assert_eq!(court.appeal(5, &right).0, 1102, "once");
    let mut defender = court.party(&right.1, false, None);
    (1..=3).for_each(|dispute| court.answer(5, dispute, &defender));
    court.play(&[1, 2, 3], &mut [(5, &mut defender)]);
    court.wait(100);
    assert_eq!([7, 8, 9].map(|number| court.world.slashed(number)), [5_000_000; 3]);
    assert_eq!(court.world.balance(5), COINS + 3 * 2_500_000);
    assert_eq!((court.status(right.0), court.world.slashed(1)), (SubmissionStatus::Accepted, 0));
    assert_eq!(court.world.balance(1), COINS - 20_000_000 + REWARD);
    court.world.check();
}

/// The same, of all validators.
#[test]
fn nor_by_a_panel() {
    let mut court = Court::new(LedgerParams { challenge_blocks: 100, move_blocks: 4, ..all() });
    court.stake(1, 20_000_000);
    let right = court.submit(1, false);
    court.speak(|number| if number == 9 { Finding::Match } else { Finding::Mismatch });
    assert_eq!(court.stage(), ChallengeStage::Panel);
    court.world.serve(&[7, 8], |_, _, _| Finding::Mismatch);
    assert_eq!((court.stage(), court.world.slashed(1)), (ChallengeStage::Appeal, 0));
    assert_eq!(court.appeal(9, &right), (0, String::new()));
    let mut defender = court.party(&right.1, false, None);
    (1..=2).for_each(|dispute| court.answer(9, dispute, &defender));
    court.play(&[1, 2], &mut [(9, &mut defender)]);
    court.wait(100);
    assert_eq!((court.status(right.0), court.world.slashed(1)), (SubmissionStatus::Accepted, 0));
    // for both of their words
    assert_eq!([7, 8, 9].map(|number| court.world.slashed(number)), [7_500_000, 7_500_000, 0]);
    court.world.check();
}

/// A verifier that is right and away when it is appealed against loses nothing, if another is there.
#[test]
fn one_of_those_who_are_right_is_enough() {
    let mut court = Court::new(LedgerParams { challenge_blocks: 100, move_blocks: 8, ..all() });
    let forged = court.submit(1, true);
    court.speak(|_| Finding::Mismatch);
    assert_eq!(court.appeal(1, &forged), (0, String::new()));
    let mut liar = court.party(&forged.1, true, None);
    (1..=3).for_each(|dispute| court.answer(1, dispute, &liar));
    // two are away: their games are lost before the third's is over
    let mut right = court.party(&forged.1, false, None);
    court.play(&[1, 2, 3], &mut [(1, &mut liar), (9, &mut right)]);
    let judged = |event: &Event| if let Event::Judged { stands, .. } = event { Some(*stands) } else { None };
    let judged: Vec<bool> = court.world.events.iter().filter_map(judged).collect();
    assert_eq!(judged, [true, true, false]);
    assert_eq!([7, 8, 9].map(|number| court.world.slashed(number)), [0; 3]);
    assert_eq!(court.status(forged.0), SubmissionStatus::Rejected(Finding::Mismatch));
    court.world.check();
}

#[test]
fn what_all_find_wrong_is_rejected_when_nobody_appeals() {
    let mut court = Court::new(LedgerParams { challenge_blocks: 10, ..all() });
    court.stake(1, 20_000_000);
    let forged = court.submit(1, true);
    court.speak(|_| Finding::Mismatch);
    assert!(court.world.ledger.has_pending());
    court.wait(9);
    assert!(matches!(court.status(forged.0), SubmissionStatus::Challenged(_)));
    let leave = crate::tx::MsgUnregisterNode { node_address: address(1) };
    assert_eq!(court.world.send(1, Message::UnregisterNode(leave)).0, 1102, "its stake answers for it");
    assert_eq!(
        (court.status(forged.0), court.world.slashed(1)),
        (SubmissionStatus::Rejected(Finding::Mismatch), 10_000_000)
    );
    assert_eq!([7, 8, 9].map(|number| court.world.slashed(number)), [0; 3]);
    court.world.check();
}

/// All that were sampled let a forged gradient pass, and it counts: whoever looks brings it down, and them with it.
#[test]
fn verifiers_answer_for_what_counts_by_their_word() {
    let mut court = Court::new(LedgerParams { challenge_blocks: 100, move_blocks: 4, ..all() });
    court.stake(1, 20_000_000);
    let forged = court.submit(1, true);
    court.speak(|_| Finding::Match);
    assert_eq!(court.status(forged.0), SubmissionStatus::Accepted);
    court.open(2, &forged);
    court.wait(6);
    assert_eq!(court.status(forged.0), SubmissionStatus::Rejected(Finding::Mismatch));
    assert_eq!([7, 8, 9].map(|number| court.world.slashed(number)), [5_000_000; 3]);
    assert_eq!((court.world.slashed(1), court.world.balance(2)), (10_000_000, COINS + BOND));
    court.world.check();
}
