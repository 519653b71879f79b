//! Tests of whole disputes on the ledger, in which each move is a transaction. Wrong gradients must be rejected,
//! correct ones must stay accepted, and bonds and bounties must be paid to the winners.

use super::{
    dispute_network::{ANSWER, BOND, DisputeNetwork, REWARD, trusting},
    *,
};
use crate::{
    dispute::{
        judge::{MAX_ANSWERS, Move},
        prover::Tampering,
    },
    numbers::rng::threefry,
    tx::{MsgAnswerDispute, MsgMoveDispute, MsgOpenDispute},
};
use pollster::block_on;

#[test]
fn an_accepted_forged_gradient_is_rejected_and_the_challenger_is_paid() {
    let mut network = DisputeNetwork::new(trusting());
    network.world.stake(1, 20_000_000);
    let forged = network.accepted(1, true);
    assert_eq!(network.world.balance(1), COINS - 20_000_000, "nothing is paid for a gradient that can be disputed");
    let position = network.world.ledger.state().submission(forged.0).unwrap().position;
    assert_ne!(network.world.free(), position);
    let dispute = network.open(2, &forged);
    assert_eq!(network.world.balance(2), COINS - BOND);
    assert_eq!(
        (network.status(forged.0), network.world.free()),
        (SubmissionStatus::Disputed, position),
        "the round does not wait for the game"
    );
    assert_eq!(network.world.head().accepted_in_round, 0);
    // the miner defends the forged gradient until the game ends
    let mut liar = network.prover(&forged.1, true, None);
    let mut right = network.prover(&forged.1, false, None);
    network.answer(1, dispute, &liar);
    network.run_games(&[dispute], &mut [(1, &mut liar), (2, &mut right)]);
    assert_eq!(network.status(forged.0), SubmissionStatus::Rejected(Finding::Mismatch));
    // the miner loses half of its stake and the bond of its answer; the challenger gets a bounty from each
    assert_eq!(network.world.slashed(1), 10_000_000);
    assert_eq!(network.world.balance(1), COINS - 20_000_000 - ANSWER);
    assert_eq!(network.world.balance(2), COINS + BOND + ANSWER / 2);
    let reputation = network.world.ledger.state().reputation(&address(1));
    assert_eq!((reputation.accepted, reputation.rejected, reputation.trust), (0, 1, 4_100));
    // another miner gets the chunk slot
    let honest = network.accepted(3, false);
    assert_eq!(network.world.ledger.state().submission(honest.0).unwrap().position, position);
    network.world.check();
}

#[test]
fn an_undefended_gradient_is_rejected_and_the_escrow_is_lost() {
    let mut network = DisputeNetwork::new(LedgerParams { probation: 3, verifiers: 0, newcomer_bond: 0, ..trusting() });
    let forged = network.accepted(1, true);
    // rewards of earlier rounds
    network.world.ledger.state.reputation_mut(&Author::own(&address(1))).escrow = REWARD;
    network.world.ledger.state.head_mut().minted += REWARD;
    network.open(2, &forged);
    network.world.wait(6);
    assert_eq!(network.status(forged.0), SubmissionStatus::Rejected(Finding::Mismatch));
    assert_eq!((network.world.balance(1), network.world.escrow(1)), (COINS, 0));
    assert_eq!(network.world.balance(2), COINS + REWARD / 2);
}

#[test]
fn a_griefer_pays_the_answerer_and_the_gradient_is_accepted_again() {
    let mut network = DisputeNetwork::new(trusting());
    let right = network.accepted(1, false);
    let dispute = network.open(2, &right);
    // the miner is offline; another account answers for it, and the griefer makes all moves that it can
    let mut defender = network.prover(&right.1, false, None);
    let mut griefer = network.prover(&right.1, true, None);
    network.answer(5, dispute, &defender);
    network.run_games(&[dispute], &mut [(5, &mut defender), (2, &mut griefer)]);
    assert_eq!(network.status(right.0), SubmissionStatus::Accepted);
    assert_eq!(network.world.balance(2), COINS - BOND);
    assert_eq!(network.world.balance(5), COINS + BOND / 2);
    assert_eq!(network.world.head().accepted_in_round, 1, "the gradient counts in its round again");
    network.world.check();
    // a griefer opens another dispute and makes no move
    let dispute = network.open(2, &right);
    network.answer(5, dispute, &defender);
    network.run_games(&[dispute], &mut [(5, &mut defender)]);
    assert_eq!((network.status(right.0), network.world.balance(2)), (SubmissionStatus::Accepted, COINS - 2 * BOND));
    // the round ends after challenge_blocks
    network.accepted(3, false);
    let full = network.world.head().full_since.unwrap();
    assert!(network.world.aggregate(9, b"next").is_none(), "the gradients of the round may still be disputed");
    network.world.wait(full + 200 - network.world.head().height);
    network.world.serve(&[7, 8, 9], honest_finding);
    assert_eq!(network.world.head().round, 1);
    assert_eq!((network.status(right.0), network.world.balance(1)), (SubmissionStatus::Settled, COINS + REWARD));
    let late = network.opening(2, &right);
    assert!(network.world.send(2, late).1.contains("the time for disputes is over"));
    network.world.check();
}

#[test]
fn accomplices_that_take_all_dispute_places_only_delay_the_rejection() {
    let mut network = DisputeNetwork::new(LedgerParams { challenge_blocks: 40, move_blocks: 40, ..trusting() });
    let forged = network.accepted(1, true);
    let mut liar = network.prover(&forged.1, true, None);
    let shams: Vec<u64> = [4, 4, 4, 4, 5, 5, 5, 5].map(|accomplice| network.open(accomplice, &forged)).to_vec();
    for dispute in &shams {
        network.answer(1, *dispute, &liar);
    }
    let opening = network.opening(2, &forged);
    assert!(network.world.send(2, opening).1.contains("8 about one gradient"));
    // the accomplices make no move until challenge_blocks are over
    let full = network.world.head().height;
    network.run_games(&shams, &mut [(1, &mut liar)]);
    assert!(network.world.head().height > full + 40);
    assert_eq!(network.status(forged.0), SubmissionStatus::Accepted);
    network.open(2, &forged);
    network.world.wait(42);
    assert_eq!(network.status(forged.0), SubmissionStatus::Rejected(Finding::Mismatch));
    network.world.check();
}

#[test]
fn a_round_does_not_wait_for_a_game_and_a_defended_gradient_is_paid_nevertheless() {
    let mut network = DisputeNetwork::new(trusting());
    let right = network.accepted(1, false);
    network.accepted(3, false);
    assert!(network.world.head().full_since.is_some());
    let dispute = network.open(2, &right);
    assert_eq!(network.world.head().full_since, None);
    let mut defender = network.prover(&right.1, false, None);
    network.answer(1, dispute, &defender);
    let own = network.world.claim(1, network.world.free());
    assert_eq!(network.world.send(1, own).0, 1101, "the miner's own gradient is not settled");
    network.world.mine(4, honest);
    network.run_games(&[dispute], &mut [(1, &mut defender)]);
    assert_eq!((network.status(right.0), network.world.head().accepted_in_round), (SubmissionStatus::Accepted, 2));
    assert_eq!(network.world.balance(1), COINS + BOND / 2);
    let accepted = network.world.ledger.state().accepted_ids();
    assert_eq!(accepted, [2, 3], "another gradient has its chunk slot");
    network.world.wait(201);
    assert_eq!(
        (network.status(right.0), network.world.balance(1)),
        (SubmissionStatus::Settled, COINS + REWARD + BOND / 2)
    );
    network.world.check();
}

#[test]
fn a_wrong_answer_costs_only_the_account_that_gave_it() {
    let mut network = DisputeNetwork::new(LedgerParams { move_blocks: 40, ..trusting() });
    let right = network.accepted(1, false);
    let dispute = network.open(2, &right);
    let mut defender = network.prover(&right.1, false, None);
    let entries = defender.replay().program().entries();
    let leaf = entries.into_iter().position(|entry| entry.kernel == "attention").unwrap();
    // the changed word is padding, so the trace differs, but the outcome of the task does not
    let mut wrong =
        network.prover(&right.1, false, Some(Tampering { leaf, slot: 1, word: 7, xor: 4, saturates: false }));
    let mut challenger = network.prover(&right.1, false, None);
    network.answer(4, dispute, &wrong);
    network.answer(5, dispute, &defender);
    // the challenger disputes with an honest trace: it wins against the wrong answer and has no move against the right
    // one
    network.run_games(&[dispute], &mut [(4, &mut wrong), (2, &mut challenger), (5, &mut defender)]);
    assert_eq!(network.status(right.0), SubmissionStatus::Accepted);
    assert_eq!(network.world.balance(4), COINS - ANSWER);
    assert_eq!(network.world.balance(2), COINS - BOND + ANSWER / 2);
    assert_eq!(network.world.balance(5), COINS + BOND / 2);
    network.world.check();
}

#[test]
fn an_artifact_that_does_not_match_its_commitment_is_rejected_without_a_game() {
    let mut network = DisputeNetwork::new(trusting());
    network.world.stake(1, 20_000_000);
    let claim = network.world.claim(1, network.world.free());
    network.world.done(1, claim);
    let task = network.world.ledger.held(&address(1)).unwrap().unwrap().task;
    let dag = pollster::block_on(network.job.artifact(&task, true)).dag().unwrap();
    let mut message = network.world.submission(1, honest);
    message.ipfs_hash = dag.root.to_string();
    network.world.done(1, Message::SubmitGradient(Box::new(message)));
    network.world.block(vec![]);
    let submitted = (1, task, dag.get(&dag.root).unwrap());
    let opening = network.opening(2, &submitted);
    network.world.done(2, opening);
    assert_eq!(network.status(1), SubmissionStatus::Rejected(Finding::Mismatch));
    assert_eq!((network.world.slashed(1), network.world.balance(2)), (10_000_000, COINS + BOND));
    network.world.check();
}

#[test]
fn invalid_disputes_answers_and_moves_are_refused_with_a_reason() {
    let mut network =
        DisputeNetwork::new(LedgerParams { challenge_blocks: 9, disputes_per_challenger: 1, ..trusting() });
    let right = network.accepted(1, false);
    let Message::OpenDispute(good) = network.opening(2, &right) else { unreachable!() };
    let other = |change: fn(&mut MsgOpenDispute)| {
        let mut message = *good.clone();
        change(&mut message);
        Message::OpenDispute(message.into())
    };
    for (message, reason) in [
        (other(|message| message.stored_gradient_id = 9), "does not exist"),
        (other(|message| message.chunk[0] ^= 1), "chunk does not contain"),
        (other(|message| message.chunk.clear()), "chunk does not contain"),
        (other(|message| message.manifest[0] ^= 1), "manifest does not contain"),
    ] {
        let (_, log) = network.world.send(2, message);
        assert!(log.contains(reason), "{log}");
    }
    let dispute = network.open(2, &right);
    let again = network.opening(2, &right);
    assert!(network.world.send(2, again).1.contains("at most 1 disputes"));
    let mut defender = network.prover(&right.1, false, None);
    let bad =
        |answer: Vec<u8>| Message::AnswerDispute(MsgAnswerDispute { sender: address(5), dispute_id: dispute, answer });
    assert_eq!(network.world.send(5, bad(vec![1, 2, 3])).0, 1102);
    let forged = network.prover(&right.1, true, None).answer().unwrap();
    assert!(network.world.send(5, bad(forged.encode())).1.contains("the claimed outcome"));
    network.answer(5, dispute, &defender);
    let game = network.world.ledger.state().disputes[&dispute].dispute.game(0).unwrap().clone();
    let step = |sender: u8, dispute_id: u64, answer: u64, step: Vec<u8>| {
        Message::MoveDispute(MsgMoveDispute { sender: address(sender), dispute_id, answer, step })
    };
    let opening = block_on(defender.next(&game)).unwrap().unwrap().encode();
    assert_eq!(network.world.send(5, step(5, 77, 0, opening.clone())).0, 38);
    assert_eq!(network.world.send(5, step(5, dispute, 7, opening.clone())).0, 1102);
    assert_eq!(network.world.send(5, step(5, dispute, 0, vec![0; 70_000])).0, 1102);
    assert_eq!(
        network.world.send(3, step(3, dispute, 0, Move::Pick(0).encode())).0,
        4,
        "only the challenger may make this move"
    );
    network.world.check();
}

/// A move with a flipped bit must not make the ledger panic. If the ledger refuses the move, the move must change
/// nothing.
#[test]
fn altered_moves_are_refused_and_change_nothing() {
    let mut network = DisputeNetwork::new(LedgerParams { move_blocks: 10_000, ..trusting() });
    let right = network.accepted(1, false);
    let dispute = network.open(2, &right);
    let mut defender = network.prover(&right.1, false, None);
    let mut griefer = network.prover(&right.1, true, None);
    network.answer(1, dispute, &defender);
    let mut refused = 0;
    while let [(party, Message::MoveDispute(step)), ..] =
        &network.moves(dispute, &mut [(1, &mut defender), (2, &mut griefer)])[..]
    {
        for number in 0..8 {
            let mut altered = step.clone();
            let at = threefry([number, 9], [altered.step.len() as u32, 0])[0] as usize % altered.step.len();
            altered.step[at] ^= 1 << (number % 8);
            let tx = network.world.sign(*party, &[Message::MoveDispute(altered)]);
            let block =
                ChainBlock::new(network.world.head().height + 1, 2_000, network.world.ledger.root(), vec![Tx(tx)]);
            let (after, applied) = network.world.ledger.apply(&block);
            if applied.outcomes[0].code != 0 {
                refused += 1;
                let (before, after) = (network.world.ledger.state(), after.state());
                assert_eq!((&before.disputes, &before.submissions), (&after.disputes, &after.submissions));
            }
        }
        let (party, step) = (*party, Message::MoveDispute(step.clone()));
        let tx = network.world.sign(party, &[step]);
        assert_eq!(network.world.block(vec![tx])[0].log, "");
    }
    assert!(refused > 60, "{refused}");
    network.world.check();
}

#[test]
fn the_last_answer_is_reserved_for_the_miner() {
    let mut network = DisputeNetwork::new(LedgerParams { answer_bond: 1, move_blocks: 100, ..trusting() });
    let right = network.accepted(1, false);
    let dispute = network.open(2, &right);
    let prover = network.prover(&right.1, false, None);
    for _ in 0..MAX_ANSWERS - 1 {
        network.answer(4, dispute, &prover);
    }
    let (sender, answer) = (address(5), prover.answer().unwrap().encode());
    let over = MsgAnswerDispute { sender, dispute_id: dispute, answer };
    assert!(network.world.send(5, Message::AnswerDispute(over)).1.contains("no more answers"));
    network.answer(1, dispute, &prover);
    network.world.check();
}
