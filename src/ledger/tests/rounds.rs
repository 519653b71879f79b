//! Tests of claims, submissions and rounds: the ledger must enforce the rules, close each round with the correct
//! aggregate, and pay the miners.

use super::*;
use crate::{
    store::Codec,
    tx::{MsgCommitAggregation, MsgSubmitGradient},
};
use data_encoding::HEXLOWER;

#[test]
fn rounds_close_and_pay() {
    let mut world = small(3);
    let (first, reward) = (world.ledger.state().adapter(), LedgerParams::EMBEDDED.reward);
    for count in 1..=9u64 {
        world.mine(1, honest);
        world.serve(&[9], honest_finding);
        assert_eq!(world.balance(1), COINS + count * reward);
    }
    let head = world.head();
    assert_eq!((head.round, head.accepted_in_round, head.accepted_total), (3, 0, 9));
    assert_ne!(world.ledger.state().adapter(), first);
    let closed = world.events.iter().filter(|event| matches!(event, Event::RoundClosed { .. })).count();
    assert_eq!(closed, 3);
    world.check();
}

#[test]
fn a_claim_belongs_to_one_miner_until_it_expires() {
    let mut world = small(2);
    let free = world.free();
    world.done(1, world.claim(1, free));
    world.done(1, world.claim(1, free));
    let held = world.ledger.held(&address(1)).unwrap().unwrap();
    assert_eq!(held.task.miner, address(1));
    let other = world.claim(1, free + 1);
    assert_eq!(world.send(1, other).0, 1101, "a miner holds one claim at a time");
    let same = world.claim(2, free);
    assert_eq!(world.send(2, same).0, 1101, "this chunk is claimed, and another one is free");
    world.done(2, world.claim(2, free + 1));
    let late = world.claim(3, free);
    assert_eq!(world.send(3, late).0, 1101, "both chunks were claimed recently");
    let far = world.claim(3, free + 2);
    assert_eq!(world.send(3, far).0, 1101, "this chunk belongs to the next round");

    // both claims are older than claim_grace: others may claim too, and the first submission gets the chunk
    world.time += LedgerParams::EMBEDDED.claim_grace;
    world.done(3, world.claim(3, free));
    let message = world.submission(3, honest);
    world.done(3, Message::SubmitGradient(Box::new(message)));
    assert!(world.ledger.held(&address(1)).unwrap().is_none());

    world.time += LedgerParams::EMBEDDED.claim_lifetime;
    world.serve(&[9], honest_finding);
    assert!(world.ledger.held(&address(2)).unwrap().is_none(), "the claim has expired");
    assert_eq!(world.free(), free + 1);
    world.check();
}

#[test]
fn an_expired_claim_loses_its_bond_and_claims_without_bond_are_limited() {
    let (claim_bond, newcomer_bond) = (1_000, 1_000);
    let params =
        LedgerParams { claim_bond, newcomer_bond, probation: 1, unbonded_share: 2_500, ..LedgerParams::EMBEDDED };
    let mut world = Network::new(genesis(4, params, &[(9, 1_000_000)]));
    world.done(1, world.claim(1, 0));
    assert_eq!(world.balance(1), COINS - 1_000);
    let poor = [20, 21];
    world.done(poor[0], world.claim(poor[0], 1));
    let second = world.claim(poor[1], 2);
    assert_eq!(world.send(poor[1], second).0, crate::tx::code::TAKEN, "only one of four claims may lack a bond");
    let message = world.submission(1, honest);
    world.done(1, Message::SubmitGradient(Box::new(message)));
    assert_eq!(world.balance(1), COINS - 1_000, "the bond stays locked until the gradient is accepted");
    world.serve(&[9], honest_finding);
    assert_eq!(world.balance(1), COINS);
    world.done(2, world.claim(2, 2));
    world.time += 301;
    world.block(vec![]);
    assert_eq!((world.balance(2), world.head().burned), (COINS - 1_000, 1_000));
    world.check();
}

#[test]
fn a_submission_must_match_the_job_and_the_round() {
    let mut world = small(2);
    world.done(1, world.claim(1, 0));
    let right = world.submission(1, honest);
    type Change = fn(&mut MsgSubmitGradient);
    let wrongs: [(&str, Change); 8] = [
        ("is not a CID", |message| message.ipfs_hash = "Qm".to_owned()),
        ("hexadecimal", |message| message.gradient_hash = "ab".to_owned()),
        ("token_count", |message| message.token_count = 2047),
        ("model_version", |message| message.model_version.push('a')),
        ("round", |message| message.training_round_id += 1),
        ("shard_id", |message| message.shard_id += 1),
        ("global_seed", |message| message.global_seed ^= 1),
        ("nonce", |message| message.nonce = 0),
    ];
    for (reason, change) in wrongs {
        let mut message = right.clone();
        change(&mut message);
        let (code, log) = world.send(1, Message::SubmitGradient(Box::new(message)));
        assert_eq!(code, 1102, "{log}");
        assert!(log.contains(reason), "{log}");
    }
    let shard_id = shard(&address(2), &world.ledger.genesis().hash(), 0);
    let stranger = MsgSubmitGradient { miner: address(2), shard_id, ..right.clone() };
    let (_, log) = world.send(2, Message::SubmitGradient(Box::new(stranger)));
    assert!(log.contains("no claim"), "{log}");
    world.done(1, Message::SubmitGradient(Box::new(right.clone())));
    let ids = world.head().submissions;
    world.done(1, Message::SubmitGradient(Box::new(right.clone())));
    assert_eq!(world.head().submissions, ids, "the same submission is stored once");
    world.serve(&[9], honest_finding);
    world.done(1, world.claim(1, 1));
    let mut again = world.submission(1, honest);
    again.nonce = right.nonce;
    let (_, log) = world.send(1, Message::SubmitGradient(Box::new(again)));
    assert!(log.contains("nonce"), "{log}");
    world.check();
}

#[test]
fn proof_of_work_and_rate_limits_are_enforced() {
    let params = LedgerParams { proof_of_work_bits: 8, submissions_per_ten_blocks: 1, ..LedgerParams::EMBEDDED };
    let mut world = Network::new(genesis(2, params, &[(9, 1_000_000)]));
    world.done(1, world.claim(1, 0));
    let mut message = world.submission(1, honest);
    while message.proves_work(CHAIN, 8) {
        message.proof_of_work_nonce += 1;
    }
    let (_, log) = world.send(1, Message::SubmitGradient(Box::new(message.clone())));
    assert!(log.contains("8 leading zero bits"), "{log}");
    message.prove_work(CHAIN, 8);
    world.done(1, Message::SubmitGradient(Box::new(message)));
    world.done(1, world.claim(1, 1));
    let mut second = world.submission(1, honest);
    second.prove_work(CHAIN, 8);
    let (_, log) = world.send(1, Message::SubmitGradient(Box::new(second.clone())));
    assert!(log.contains("at most"), "{log}");
    world.wait(10);
    world.done(1, Message::SubmitGradient(Box::new(second)));
    world.check();
}

#[test]
fn the_adapter_with_the_majority_of_stake_is_the_next() {
    let nodes = [(7, 3_000_000), (8, 2_000_000), (9, 2_000_000)];
    let mut world = Network::new(genesis(1, LedgerParams { verifiers: 0, ..LedgerParams::EMBEDDED }, &nodes));
    world.mine(1, honest);
    world.block(vec![]);
    assert_eq!(world.head().full_since, Some(world.head().height));
    let commits: Vec<_> = [(7, &b"forged"[..]), (8, b"right"), (9, b"right")]
        .map(|(number, salt)| world.sign(number, &[world.aggregate(number, salt).unwrap()]))
        .into();
    world.block(commits);
    let adapter = world.ledger.state().adapter();
    let forged = world.aggregate(7, b"forged").unwrap();
    world.done(7, forged);
    assert_eq!(world.ledger.state().adapter(), adapter, "three sevenths of the stake are not a majority");
    let other = world.aggregate(8, b"other").unwrap();
    let (_, log) = world.send(8, other);
    assert!(log.contains("not what the proposer committed to"), "{log}");
    let reveals: Vec<_> = [8, 9].map(|number| world.sign(number, &[world.aggregate(number, b"right").unwrap()])).into();
    world.block(reveals);
    assert_eq!(world.head().round, 1);
    assert_eq!(world.ledger.state().adapter(), Codec::DagCbor.cid(&[&b"right"[..], &0u64.to_le_bytes()].concat()));
    assert_eq!((world.slashed(7), world.slashed(8)), (1_500_000, 0));
    world.check();
}

/// Returns a network in which the accounts 7, 8 and 9 are proposers. Its round has a quota of three gradients, is full,
/// and can be aggregated.
fn full_round() -> Network {
    let nodes = [(7, 3_000_000), (8, 2_000_000), (9, 2_000_000)];
    let params = LedgerParams { verifiers: 0, challenge_blocks: 1, ..LedgerParams::EMBEDDED };
    let mut world = Network::new(genesis(3, params, &nodes));
    for miner in [1, 2, 3] {
        world.mine(miner, honest);
        world.block(vec![]);
    }
    world.wait(1);
    world
}

/// Applies two blocks, in which proposers commit to their aggregates and reveal them. Each proposer is given as
/// (account, ID of the gradient that its aggregate leaves out); the ID is 0 if the aggregate contains all gradients.
fn propose(world: &mut Network, proposals: &[(u8, u64)]) {
    for _ in ["commit", "reveal"] {
        let sign = |(number, missing): &(u8, u64)| {
            world.sign(*number, &[world.aggregate_without(*number, b"next", *missing).unwrap()])
        };
        let messages: Vec<_> = proposals.iter().map(sign).collect();
        assert!(world.block(messages).iter().all(|outcome| outcome.code == 0));
    }
}

#[test]
fn a_gradient_whose_bytes_most_proposers_cannot_fetch_is_rejected_and_not_paid() {
    let mut world = full_round();
    assert_eq!(world.balance(1), COINS, "the gradient is accepted, but not settled");
    assert!(!world.ledger.aggregation(&address(8)).unwrap().may_leave_out);
    world.wait(LedgerParams::EMBEDDED.decision_blocks / 4);
    assert!(world.ledger.aggregation(&address(8)).unwrap().may_leave_out);
    propose(&mut world, &[(7, 0), (8, 1), (9, 1)]);
    assert_eq!(world.head().round, 1);
    assert_eq!(world.status(1), SubmissionStatus::Rejected(Finding::Unavailable));
    assert_eq!((world.status(2), world.status(3)), (SubmissionStatus::Settled, SubmissionStatus::Settled));
    let reward = LedgerParams::EMBEDDED.reward;
    assert_eq!([1, 2, 3].map(|number| world.balance(number) - COINS), [0, reward, reward]);
    assert_eq!((world.slashed(7), world.slashed(8)), (0, 0), "nobody is slashed for bytes that others lack");
    world.check();
}

/// Checks that proposers with less than half of the stake never close a round, however long the other proposers are
/// silent.
#[test]
fn a_minority_of_the_stake_never_closes_a_round() {
    let mut world = full_round();
    propose(&mut world, &[(9, 0)]);
    world.wait(3 * LedgerParams::EMBEDDED.decision_blocks);
    assert_eq!((world.head().round, world.head().accepted_in_round), (0, 3));
    propose(&mut world, &[(7, 0), (8, 0)]);
    assert_eq!(world.head().round, 1);
    world.check();
}

#[test]
fn a_round_without_most_of_its_bytes_is_repeated() {
    let mut world = full_round();
    // each of the proposers leaves out a different gradient: only the third gradient is available to most of the stake
    world.wait(LedgerParams::EMBEDDED.decision_blocks / 4);
    propose(&mut world, &[(7, 1), (8, 1), (9, 2)]);
    assert_eq!(world.head().round, 1, "proposers with more than half of the stake agree");
    let mut world = full_round();
    world.wait(LedgerParams::EMBEDDED.decision_blocks / 4);
    propose(&mut world, &[(7, 1), (8, 2), (9, 3)]);
    world.wait(LedgerParams::EMBEDDED.decision_blocks);
    // of 7 million, 4 summed the first gradient, 5 the second and 5 the third
    assert_eq!((world.head().round, world.head().accepted_in_round), (0, 3));
    propose(&mut world, &[(7, 1), (9, 1)]);
    assert_eq!((world.head().round, world.status(1)), (1, SubmissionStatus::Rejected(Finding::Unavailable)));
    world.check();
}

#[test]
fn a_commitment_is_revealed_in_a_later_block() {
    let mut world = small(1);
    world.mine(1, honest);
    world.serve(&[9], |number, task, claimed| match number {
        9 => honest_finding(number, task, claimed),
        _ => unreachable!(),
    });
    assert_eq!(world.head().round, 1);
    world.mine(1, honest);
    // nodes send the messages of verification only, not those of aggregation
    for _ in 0..4 {
        let messages: Vec<_> = world
            .pending_messages(9, &honest_finding)
            .into_iter()
            .filter(|message| !matches!(message, Message::CommitAggregation(_) | Message::RevealAggregation(_)))
            .collect();
        let txs = if messages.is_empty() { vec![] } else { vec![world.sign(9, &messages)] };
        world.block(txs);
    }
    let commit = world.aggregate(9, b"next").unwrap();
    let mut ahead = world.clone();
    ahead.done(9, commit.clone());
    let reveal = ahead.aggregate(9, b"next").unwrap();
    let tx = world.sign(9, &[commit, reveal]);
    let outcome = world.block(vec![tx]).remove(0);
    assert!(outcome.log.contains("in a block after the one"), "{}", outcome.log);
    world.check();
}

#[test]
fn old_rounds_are_pruned() {
    let params = LedgerParams { retention_rounds: 2, sampling: 0, ..LedgerParams::EMBEDDED };
    let mut world = Network::new(genesis(2, params, &[(9, 1_000_000)]));
    let mut rows = Vec::new();
    for round in 0..8 {
        for _ in 0..2 {
            world.mine(1, honest);
            world.serve(&[9], honest_finding);
        }
        assert_eq!(world.head().round, round + 1);
        rows.push(world.ledger.rows().len());
    }
    assert!(world.ledger.state().submission(1).is_none() && world.ledger.state().round_of(5).is_none());
    assert!(world.ledger.state().round_of(6).is_some());
    assert_eq!(rows[3..].iter().collect::<std::collections::BTreeSet<_>>().len(), 1, "{rows:?}");
    world.check();
}

#[test]
fn a_malformed_layout_root_is_refused() {
    let params = LedgerParams { verifiers: 0, ..LedgerParams::EMBEDDED };
    let mut world = Network::new(genesis(1, params, &[(9, 1_000_000)]));
    world.mine(1, honest);
    world.block(vec![]);
    let Message::CommitAggregation(commit) = world.aggregate(9, b"next").unwrap() else { panic!() };
    let mut ahead = world.clone();
    ahead.done(9, Message::CommitAggregation(commit.clone()));
    let Message::RevealAggregation(mut reveal) = ahead.aggregate(9, b"next").unwrap() else { panic!() };
    reveal.layout_root.truncate(62);
    let commitment_hash = HEXLOWER.encode(&reveal.commitment());
    world.done(9, Message::CommitAggregation(MsgCommitAggregation { commitment_hash, ..commit }));
    let (code, log) = world.send(9, Message::RevealAggregation(reveal));
    assert_eq!((code, log.contains("layout_root")), (1102, true), "{log}");
    world.check();
}
