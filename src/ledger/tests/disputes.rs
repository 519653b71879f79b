//! Disputes on the ledger: real games, each move a transaction.

use super::{
    court::{ANSWER, BOND, Court, REWARD, trusting},
    *,
};
use crate::{
    dispute::{
        judge::{MAX_ANSWERS, Move},
        prover::Lie,
    },
    numbers::rng::threefry,
    tx::{MsgAnswerDispute, MsgMoveDispute, MsgOpenDispute},
};
use pollster::block_on;

#[test]
fn a_forged_gradient_that_counts_already_falls_and_who_found_it_is_paid() {
    let mut court = Court::new(trusting());
    court.stake(1, 20_000_000);
    let forged = court.accepted(1, true);
    assert_eq!(court.world.balance(1), COINS - 20_000_000 + REWARD);
    let place = court.world.ledger.state().submission(forged.0).unwrap().position;
    assert_ne!(court.world.free(), place);
    let dispute = court.open(2, &forged);
    assert_eq!(court.world.balance(2), COINS - BOND);
    assert_eq!(
        (court.status(forged.0), court.world.free()),
        (SubmissionStatus::Disputed, place),
        "nobody has_pending for the game"
    );
    assert_eq!(court.world.head().accepted_in_round, 0);
    // it is defended, to the end
    let mut liar = court.party(&forged.1, true, None);
    let mut right = court.party(&forged.1, false, None);
    court.answer(1, dispute, &liar);
    court.play(&[dispute], &mut [(1, &mut liar), (2, &mut right)]);
    assert_eq!(court.status(forged.0), SubmissionStatus::Rejected(Finding::Mismatch));
    // half of the stake is lost, and the bond; of both the finder gets its part
    assert_eq!(court.world.slashed(1), 10_000_000);
    assert_eq!(court.world.balance(1), COINS - 20_000_000 + REWARD - ANSWER);
    assert_eq!(court.world.balance(2), COINS + BOND + ANSWER / 2);
    let reputation = court.world.ledger.state().reputation(&address(1));
    assert_eq!((reputation.accepted, reputation.rejected, reputation.trust), (0, 1, 4_100));
    // its place is another's
    let honest = court.accepted(3, false);
    assert_eq!(court.world.ledger.state().submission(honest.0).unwrap().position, place);
    court.world.check();
}

#[test]
fn a_gradient_that_nobody_stands_for_falls_and_its_escrow_with_it() {
    let mut court = Court::new(LedgerParams { probation: 3, verifiers: 0, ..trusting() });
    let forged = court.accepted(1, true);
    assert_eq!((court.world.balance(1), court.escrow(1)), (COINS, REWARD));
    court.open(2, &forged);
    court.wait(6);
    assert_eq!(court.status(forged.0), SubmissionStatus::Rejected(Finding::Mismatch));
    assert_eq!((court.world.balance(1), court.escrow(1)), (COINS, 0));
    assert_eq!(court.world.balance(2), COINS + REWARD / 2);
    court.world.check();
}

#[test]
fn a_griefer_pays_for_the_work_that_it_makes_and_the_gradient_counts_again() {
    let mut court = Court::new(trusting());
    let right = court.accepted(1, false);
    let dispute = court.open(2, &right);
    // the miner is away; another answers for it, and the griefer picks what it can
    let mut defender = court.party(&right.1, false, None);
    let mut griefer = court.party(&right.1, true, None);
    court.answer(5, dispute, &defender);
    court.play(&[dispute], &mut [(5, &mut defender), (2, &mut griefer)]);
    assert_eq!(court.status(right.0), SubmissionStatus::Accepted);
    assert_eq!(court.world.balance(1), COINS + REWARD, "the miner has what it earned");
    assert_eq!(court.world.balance(2), COINS - BOND);
    assert_eq!(court.world.balance(5), COINS + BOND / 2);
    assert_eq!(court.world.head().accepted_in_round, 1, "it is in its round again");
    court.world.check();
    // one that only opens, and never moves
    let dispute = court.open(2, &right);
    court.answer(5, dispute, &defender);
    court.play(&[dispute], &mut [(5, &mut defender)]);
    assert_eq!((court.status(right.0), court.world.balance(2)), (SubmissionStatus::Accepted, COINS - 2 * BOND));
    // the round goes on, after its wait
    court.accepted(3, false);
    let full = court.world.head().full_since.unwrap();
    assert!(court.world.aggregate(9, b"next").is_none(), "not while its gradients may be disputed");
    court.wait(full + 200 - court.world.head().height);
    court.world.serve(&[7, 8, 9], truth);
    assert_eq!(court.world.head().round, 1);
    let late = court.opening(2, &right);
    assert!(court.world.send(2, late).1.contains("not any more"));
    court.world.check();
}

#[test]
fn friends_of_a_forger_who_take_all_places_win_it_nothing_but_time() {
    let mut court = Court::new(LedgerParams { challenge_blocks: 40, move_blocks: 40, ..trusting() });
    let forged = court.accepted(1, true);
    let mut liar = court.party(&forged.1, true, None);
    let shams: Vec<u64> = [4, 4, 4, 4, 5, 5, 5, 5].map(|friend| court.open(friend, &forged)).to_vec();
    for dispute in &shams {
        court.answer(1, *dispute, &liar);
    }
    let doubt = court.opening(2, &forged);
    assert!(court.world.send(2, doubt).1.contains("8 about one gradient"));
    // they make no move, until the time to doubt it is over
    let full = court.world.head().height;
    court.play(&shams, &mut [(1, &mut liar)]);
    assert!(court.world.head().height > full + 40);
    assert_eq!(court.status(forged.0), SubmissionStatus::Accepted);
    court.open(2, &forged);
    court.wait(42);
    assert_eq!(court.status(forged.0), SubmissionStatus::Rejected(Finding::Mismatch));
    court.world.check();
}

#[test]
fn a_round_does_not_wait_for_a_game_and_who_stands_is_paid_all_the_same() {
    let mut court = Court::new(trusting());
    let right = court.accepted(1, false);
    court.accepted(3, false);
    assert!(court.world.head().full_since.is_some());
    let dispute = court.open(2, &right);
    assert_eq!(court.world.head().full_since, None);
    let mut defender = court.party(&right.1, false, None);
    court.answer(1, dispute, &defender);
    let own = court.world.claim(1, court.world.free());
    assert_eq!(court.world.send(1, own).0, 1101, "its own is not settled");
    court.world.mine(4, honest);
    court.play(&[dispute], &mut [(1, &mut defender)]);
    assert_eq!((court.status(right.0), court.world.head().accepted_in_round), (SubmissionStatus::Accepted, 2));
    assert_eq!(court.world.balance(1), COINS + REWARD + BOND / 2);
    let counts = court.world.ledger.state().accepted_ids();
    assert_eq!(counts, [2, 3], "its position is another's");
    court.world.check();
}

#[test]
fn a_wrong_answer_costs_only_who_gave_it() {
    let mut court = Court::new(LedgerParams { move_blocks: 40, ..trusting() });
    let right = court.accepted(1, false);
    let dispute = court.open(2, &right);
    let mut defender = court.party(&right.1, false, None);
    let entries = defender.replay().program().entries();
    let leaf = entries.into_iter().position(|entry| entry.kernel == "attention").unwrap();
    // a spare word: the trace is another, what it comes to is the same
    let mut wrong = court.party(&right.1, false, Some(Lie { leaf, slot: 1, word: 7, xor: 4, saturates: false }));
    let mut challenger = court.party(&right.1, false, None);
    court.answer(4, dispute, &wrong);
    court.answer(5, dispute, &defender);
    // the challenger is honest about the trace: the wrong one falls, and it has nothing to say about the other
    court.play(&[dispute], &mut [(4, &mut wrong), (2, &mut challenger), (5, &mut defender)]);
    assert_eq!(court.status(right.0), SubmissionStatus::Accepted);
    assert_eq!(court.world.balance(4), COINS - ANSWER);
    assert_eq!(court.world.balance(2), COINS - BOND + ANSWER / 2);
    assert_eq!(court.world.balance(5), COINS + BOND / 2);
    court.world.check();
}

#[test]
fn an_artifact_that_is_not_what_was_committed_to_falls_without_a_game() {
    let mut court = Court::new(trusting());
    court.stake(1, 20_000_000);
    let claim = court.world.claim(1, court.world.free());
    court.world.done(1, claim);
    let task = court.world.ledger.held(&address(1)).unwrap().unwrap().task;
    let dag = court.artifact(&task, true).dag().unwrap();
    let mut message = court.world.submission(1, honest);
    message.ipfs_hash = dag.root.to_string();
    court.world.done(1, Message::SubmitGradient(Box::new(message)));
    court.world.block(vec![]);
    let submitted = (1, task, dag.get(&dag.root).unwrap());
    let opening = court.opening(2, &submitted);
    court.world.done(2, opening);
    assert_eq!(court.status(1), SubmissionStatus::Rejected(Finding::Mismatch));
    assert_eq!((court.world.slashed(1), court.world.balance(2)), (10_000_000, COINS + BOND));
    court.world.check();
}

#[test]
fn what_is_not_to_be_disputed_is_refused_with_a_reason() {
    let mut court = Court::new(LedgerParams { challenge_blocks: 9, disputes_per_challenger: 1, ..trusting() });
    let right = court.accepted(1, false);
    let Message::OpenDispute(good) = court.opening(2, &right) else { unreachable!() };
    let other = |change: fn(&mut MsgOpenDispute)| {
        let mut message = *good.clone();
        change(&mut message);
        Message::OpenDispute(message.into())
    };
    for (message, reason) in [
        (other(|message| message.stored_gradient_id = 9), "not there"),
        (other(|message| message.chunk[0] ^= 1), "the chunk shown"),
        (other(|message| message.chunk.clear()), "the chunk shown"),
        (other(|message| message.manifest[0] ^= 1), "the manifest shown"),
    ] {
        let (_, log) = court.world.send(2, message);
        assert!(log.contains(reason), "{log}");
    }
    let dispute = court.open(2, &right);
    let again = court.opening(2, &right);
    assert!(court.world.send(2, again).1.contains("at most 1 disputes"));
    let mut defender = court.party(&right.1, false, None);
    let bad =
        |answer: Vec<u8>| Message::AnswerDispute(MsgAnswerDispute { sender: address(5), dispute_id: dispute, answer });
    assert_eq!(court.world.send(5, bad(vec![1, 2, 3])).0, 1102);
    let forged = court.party(&right.1, true, None).answer().unwrap();
    assert!(court.world.send(5, bad(forged.encode())).1.contains("the claimed outcome"));
    court.answer(5, dispute, &defender);
    let game = court.world.ledger.state().disputes[&dispute].dispute.game(0).unwrap().clone();
    let step = |sender: u8, dispute_id: u64, answer: u64, step: Vec<u8>| {
        Message::MoveDispute(MsgMoveDispute { sender: address(sender), dispute_id, answer, step })
    };
    let opening = block_on(defender.next(&game)).unwrap().unwrap().encode();
    assert_eq!(court.world.send(5, step(5, 77, 0, opening.clone())).0, 38);
    assert_eq!(court.world.send(5, step(5, dispute, 7, opening.clone())).0, 1102);
    assert_eq!(court.world.send(5, step(5, dispute, 0, vec![0; 70_000])).0, 1102);
    assert_eq!(court.world.send(3, step(3, dispute, 0, Move::Pick(0).encode())).0, 4, "the challenger's own");
    court.world.check();
}

/// Whatever bytes come as moves, none makes the ledger panic, and what is refused changes nothing.
#[test]
fn altered_moves_are_refused_and_change_nothing() {
    let mut court = Court::new(LedgerParams { move_blocks: 10_000, ..trusting() });
    let right = court.accepted(1, false);
    let dispute = court.open(2, &right);
    let mut defender = court.party(&right.1, false, None);
    let mut griefer = court.party(&right.1, true, None);
    court.answer(1, dispute, &defender);
    let mut refused = 0;
    while let [(executor, Message::MoveDispute(step)), ..] =
        &court.moves(dispute, &mut [(1, &mut defender), (2, &mut griefer)])[..]
    {
        for number in 0..8 {
            let mut altered = step.clone();
            let at = threefry([number, 9], [altered.step.len() as u32, 0])[0] as usize % altered.step.len();
            altered.step[at] ^= 1 << (number % 8);
            let tx = court.world.sign(*executor, &[Message::MoveDispute(altered)]);
            let block = ChainBlock::new(court.world.head().height + 1, 2_000, court.world.ledger.root(), vec![Tx(tx)]);
            let (after, applied) = court.world.ledger.apply(&block);
            if applied.outcomes[0].code != 0 {
                refused += 1;
                let (was, is) = (court.world.ledger.state(), after.state());
                assert_eq!((&was.disputes, &was.submissions), (&is.disputes, &is.submissions));
            }
        }
        let (executor, step) = (*executor, Message::MoveDispute(step.clone()));
        let tx = court.world.sign(executor, &[step]);
        assert_eq!(court.world.block(vec![tx])[0].log, "");
    }
    assert!(refused > 60, "{refused}");
    court.world.check();
}

#[test]
fn the_last_answer_is_the_miners() {
    let mut court = Court::new(LedgerParams { answer_bond: 1, move_blocks: 100, ..trusting() });
    let right = court.accepted(1, false);
    let dispute = court.open(2, &right);
    let party = court.party(&right.1, false, None);
    for _ in 0..MAX_ANSWERS - 1 {
        court.answer(4, dispute, &party);
    }
    let (sender, answer) = (address(5), party.answer().unwrap().encode());
    let over = MsgAnswerDispute { sender, dispute_id: dispute, answer };
    assert!(court.world.send(5, Message::AnswerDispute(over)).1.contains("as many answers"));
    court.answer(1, dispute, &party);
    court.world.check();
}
