//! Plays complete dispute games between two provers, and tests that the honest side wins against every kind of
//! dishonest side.

use super::samples::{config, material, model, prover, random, replay, scalar, targets};
use crate::{
    compute::{Backend, cpu},
    dispute::{
        judge::{
            Answer, Dispute, DisputeError, Game, LeafChallenge, MAX_MOVE_BYTES, Move, Phase, Role, Side, TaskOutcome,
            WordPlace, tree,
        },
        prover::{Prover, Replay, Tampering, TaskInputs},
    },
    model::{transformer::RecordedStep, weights::Model},
    protocol::{Artifact, Gradient, Job, Task, TaskKind, TaskTerms, Transport},
    store::Codec,
    training::step::Trainer,
};
use pollster::block_on;
use std::collections::BTreeMap;

/// The number of blocks of the chain within which a side must make its move.
const TURN_BLOCKS: u64 = 5;

/// Returns the outcome of the task according to a prover's trace: void (there is no gradient), or a gradient root and a
/// loss.
fn outcome(prover: &mut Prover) -> TaskOutcome {
    let last = prover.trace().leaves.last().unwrap().clone();
    if last.saturated {
        return TaskOutcome::Void;
    }
    let leaf = prover.trace().leaves.len() - 1;
    let words = block_on(prover.replay_mut().snapshot(leaf)).unwrap().after.pop().unwrap();
    let loss = (u64::from(words[8]) | u64::from(words[9]) << 32) as i64;
    let root = std::array::from_fn(|at| words[at / 4].to_le_bytes()[at % 4]);
    TaskOutcome::Gradient { root: tree::Hash(root), loss }
}

/// Returns the gradient that a miner computes with batches of two sequences.
fn gradient(model: &Model, material: &TaskInputs) -> Gradient {
    let step = RecordedStep::new(model, &targets(), 2);
    let mut trainer = block_on(Trainer::prepare(step, &scalar())).unwrap();
    block_on(trainer.load(&material.adapter, &vec![-40; material.matrices.len()])).unwrap();
    let found = block_on(trainer.gradient(&material.tokens, &material.task_key, 0)).unwrap();
    Gradient { loss: found.loss, tokens: found.supervised as u32, matrices: found.matrices }
}

/// The result of a finished game: who has won, the number of moves, the size of the largest move in bytes, and the size
/// of the proof in bytes, if there was one.
#[derive(Debug)]
struct GameSummary {
    winner: Side,
    moves: usize,
    bytes: usize,
    proof: Option<usize>,
}

/// Plays a game between two provers about the task that `honest` runs, and returns the game's result. A side that has
/// no valid move lets the deadline pass and loses.
fn run_game(honest: &Replay, miner: &mut Prover, challenger: &mut Prover) -> GameSummary {
    let claim = outcome(miner);
    let mut game = Game::new(honest.subject().clone(), claim, &miner.answer().unwrap(), 1, TURN_BLOCKS).unwrap();
    let mut summary = GameSummary { winner: Side::Miner, moves: 0, bytes: 0, proof: None };
    for height in 2.. {
        if let Some(winner) = game.winner() {
            return GameSummary { winner, ..summary };
        }
        let side = if game.turn() == Side::Miner { &mut *miner } else { &mut *challenger };
        let found = block_on(side.next(&game)).ok().flatten();
        let bytes = found.as_ref().map(Move::encode);
        // encode the move and decode it, as a transaction does
        let found = bytes.as_ref().map(|bytes| Move::decode(bytes).unwrap());
        match found.map(|found| game.apply(&found, height).map(|()| found)) {
            Some(Ok(found)) => {
                summary.moves += 1;
                summary.bytes = summary.bytes.max(bytes.unwrap().len());
                if let Move::Proof(_) = found {
                    summary.proof = Some(found.encode().len());
                }
            }
            _ => game.expire(game.deadline() + 1),
        }
        assert!(height < 1000, "the game has not ended after 1000 blocks");
    }
    unreachable!()
}

/// Returns, for each kernel, the index of the last dispatch of the task that launches this kernel. The trace has one
/// leaf for each dispatch, at the same index.
fn leaves(replay: &Replay) -> BTreeMap<String, usize> {
    let subject = replay.subject();
    let first = (subject.sequences as usize - 1) * subject.run_dispatches as usize;
    let entries: Vec<_> = replay.program().entries().map(|entry| entry.kernel.clone()).collect();
    (first..subject.leaves()).map(|leaf| (entries[subject.entry(leaf)].clone(), leaf)).collect()
}

#[test]
fn a_trace_ends_in_the_artifact_and_is_the_same_on_every_backend() {
    let (model, material) = (model(), material(-40));
    let mut own = prover(&model, &material, None);
    let fast = Backend::Cpu { threads: 2, kernels: cpu::fastest };
    let mut other = block_on(Replay::new(&model, &targets(), &material, &fast)).unwrap();
    assert_eq!(&block_on(other.trace()).unwrap(), own.trace());
    assert_eq!(&block_on(other.trace()).unwrap(), own.trace(), "a second run must have the same trace");

    for transport in [Transport::Int8, Transport::Int16] {
        let model_root = Codec::DagCbor.cid(b"model");
        let job = Job {
            arithmetic_version: 1,
            model: model_root,
            rank: 5,
            targets: targets().linears.iter().map(|linear| linear.name().to_owned()).collect(),
            matrices: material.matrices.clone(),
            kind: TaskKind::Gradient,
            transport,
        };
        let terms = TaskTerms { job, adapter: model_root, chunk: model_root, seed: [5; 32], miner: "remes1a".into() };
        let task = Task::new(terms).unwrap();
        let material = TaskInputs { task_key: task.key(), transport, ..material.clone() };
        let artifact = Artifact::gradient(&task, &gradient(&model, &material)).unwrap();
        let mut prover = prover(&model, &material, None);
        assert_eq!(outcome(&mut prover), TaskOutcome::from_artifact(&artifact));
    }
    assert!(matches!(outcome(&mut own), TaskOutcome::Gradient { .. }));
}

/// Checks that word programs (which compute single output words of a dispatch, in steps) compute the same words as the
/// dispatches of a complete task. The task includes the artifact encoding, whose kernels have no test cases of their
/// own.
#[test]
fn word_programs_compute_the_words_of_a_trace() {
    let (model, material) = (model(), material(-40));
    let mut own = replay(&model, &material);
    for (kernel, leaf) in leaves(&own) {
        let entry = own.program().entries().nth(own.subject().entry(leaf)).unwrap().clone();
        let snapshot = block_on(own.snapshot(leaf)).unwrap();
        for binding in entry.written().unwrap() {
            let owned = entry.owned(binding).unwrap();
            for word in (0..owned).step_by((owned / 100).max(1) | 1) {
                let place = WordPlace { binding: binding as u32, word: word as u64 };
                let found = crate::dispute::prover::run_word_program(&entry, place, &snapshot.before).unwrap();
                assert_eq!(found.word(), snapshot.after[binding][word], "{kernel}, {place:?}");
            }
        }
    }
}

#[test]
fn a_changed_word_of_any_kernel_loses() {
    let (model, material) = (model(), material(-40));
    let honest = replay(&model, &material);
    let mut right = prover(&model, &material, None);
    let kernels = leaves(&honest);
    let used: Vec<_> = crate::dispute::judge::word_program::kernels()
        .map(|kernel| kernel.name)
        .filter(|name| *name != "digest")
        .collect();
    assert!(
        used.iter().all(|name| kernels.contains_key(*name)),
        "kernels of a task: {used:?}; kernels in the trace: {:?}",
        kernels.keys()
    );
    println!("{:28} {:>5} {:>6} {:>6} {:>6}", "kernel", "slot", "moves", "move B", "proof B");
    for (at, (kernel, leaf)) in kernels.iter().enumerate() {
        let slots = right.trace().leaves[*leaf].roots.len();
        for slot in 0..slots {
            let entry = honest.program().entries().nth(honest.subject().entry(*leaf)).unwrap();
            let owned = entry.owned(entry.written().unwrap()[slot]).unwrap();
            let word = random(at as u32, slot) as usize % owned;
            let tampering = Tampering { leaf: *leaf, slot, word, xor: 1 << (at % 31), saturates: false };
            let mut wrong = prover(&model, &material, Some(tampering));
            let summary = run_game(&honest, &mut wrong, &mut right);
            println!("{kernel:28} {slot:5} {:6} {:6} {:?}", summary.moves, summary.bytes, summary.proof);
            assert_eq!(summary.winner, Side::Challenger, "{kernel} {tampering:?} {summary:?}");
            assert!(summary.bytes <= MAX_MOVE_BYTES && summary.moves <= 30, "{summary:?}");
            let summary = run_game(&honest, &mut right, &mut wrong);
            assert_eq!(summary.winner, Side::Miner, "{kernel} {tampering:?} {summary:?}");
        }
    }
}

#[test]
fn other_weights_tokens_adapters_and_keys_lose() {
    let (own, material) = (model(), material(-40));
    let honest = replay(&own, &material);
    let mut right = prover(&own, &material, None);
    let mut weights = model();
    let mut words = weights.layers[0].linears[0].words.to_vec();
    words[0] ^= 1;
    weights.layers[0].linears[0].words = words.into();
    let mut tokens = material.clone();
    tokens.tokens[40] = (tokens.tokens[40] + 1) % config().vocab as u32;
    let mut adapter = material.clone();
    adapter.adapter.matrices[1].values[3] ^= 1 << 27;
    let key = TaskInputs { task_key: [12; 32], ..material.clone() };
    let exponent = TaskInputs { matrices: super::samples::material(-41).matrices, ..material.clone() };
    let transport = TaskInputs { transport: Transport::Int16, ..material.clone() };
    let dishonest = [
        (&weights, material.clone()),
        (&own, tokens),
        (&own, adapter),
        (&own, key),
        (&own, exponent),
        (&own, transport),
    ];
    for (model, material) in dishonest {
        let mut wrong = prover(model, &material, None);
        assert_ne!(wrong.trace(), right.trace());
        let summary = run_game(&honest, &mut wrong, &mut right);
        assert_eq!(summary.winner, Side::Challenger, "{summary:?}");
        assert_eq!(run_game(&honest, &mut right, &mut wrong).winner, Side::Miner);
    }
}

#[test]
fn a_wrong_flag_loses() {
    let model = model();
    for (exponent, kernel) in [(-40, "residual_add"), (-300, "lora_gradient_b")] {
        let material = material(exponent);
        let honest = replay(&model, &material);
        let mut right = prover(&model, &material, None);
        assert_eq!(outcome(&mut right) == TaskOutcome::Void, exponent == -300);
        let kernels = leaves(&honest);
        let first = right.trace().leaves.iter().position(|leaf| leaf.saturated);
        let leaf = first.unwrap_or(kernels[kernel]);
        let mut wrong = prover(&model, &material, Some(Tampering { leaf, slot: 0, word: 0, xor: 0, saturates: true }));
        assert_ne!(wrong.trace(), right.trace());
        assert_eq!(run_game(&honest, &mut wrong, &mut right).winner, Side::Challenger);
        assert_eq!(run_game(&honest, &mut right, &mut wrong).winner, Side::Miner);
    }
}

/// Plays games in which the challenger attacks an honest answer with random moves: it picks random nodes of Merkle
/// trees and makes random challenges. The side that defends the answer must win all of these games.
#[test]
fn an_honest_answer_wins_whatever_is_picked() {
    let model = model();
    for (exponent, games) in [(-40, 300), (-300, 60)] {
        let material = material(exponent);
        let mut right = prover(&model, &material, None);
        let claim = outcome(&mut right);
        let answer = right.answer().unwrap();
        let mut kernels = BTreeMap::<String, usize>::new();
        for number in 0..games {
            let mut game = Game::new(right.replay().subject().clone(), claim, &answer, 1, TURN_BLOCKS).unwrap();
            let mut count = 0;
            while game.winner().is_none() {
                count += 1;
                let chance = random(number, count) as usize;
                let found = match (game.turn(), game.phase()) {
                    (Side::Miner, _) => block_on(right.next(&game)).unwrap(),
                    (_, Phase::Dispatch(dispatch)) => {
                        *kernels.entry(dispatch.entry.kernel.clone()).or_default() += 1;
                        let written = dispatch.entry.written().unwrap();
                        let slot = chance % written.len();
                        let owned = dispatch.entry.owned(written[slot]).unwrap();
                        let place = WordPlace { binding: written[slot] as u32, word: (chance / 8 % owned) as u64 };
                        Some(Move::Challenge(match number % 3 {
                            _ if dispatch.leaf.saturated && !dispatch.saturated_before => LeafChallenge::Sound,
                            0 if !dispatch.leaf.saturated => LeafChallenge::Saturates(place),
                            _ => LeafChallenge::Output(slot as u32),
                        }))
                    }
                    (_, Phase::Tile(.., words)) => Some(Move::Word((chance % (words.len() / 4)) as u32)),
                    (
                        _,
                        Phase::Trace(bisection) | Phase::Tensor(_, _, bisection) | Phase::WordProgram(_, bisection),
                    ) => Some(Move::Pick((chance % bisection.opened.as_ref().unwrap().len()) as u32)),
                    _ => None,
                };
                let found = found.unwrap_or_else(|| panic!("there is no move in the phase {:?}", game.phase()));
                game.apply(&found, 2).unwrap_or_else(|error| {
                    panic!("the move {found:?} was refused in the phase {:?}: {error}", game.phase())
                });
            }
            assert_eq!(game.winner(), Some(Side::Miner), "the honest answer must win game {number}");
        }
        println!("{kernels:?}");
    }
}

#[test]
fn a_side_that_lets_its_turn_pass_loses_and_a_dispute_is_upheld_only_if_all_answers_lose() {
    let (model, material) = (model(), material(-40));
    let mut right = prover(&model, &material, None);
    let (subject, claim) = (right.replay().subject().clone(), outcome(&mut right));
    let answer = right.answer().unwrap();
    let mut dispute = Dispute::new(subject.clone(), claim, 10, TURN_BLOCKS);
    assert_eq!(dispute.settle(15), None);
    assert_eq!(dispute.settle(16), Some(Side::Challenger), "the challenger must win, because nobody answered");

    // another account answers with a wrong trace that ends in the claimed outcome
    let leaf = leaves(right.replay())["attention"];
    let stats = Tampering { leaf, slot: 1, word: 7, xor: 4, saturates: false };
    let mut wrong = prover(&model, &material, Some(stats));
    assert_eq!(outcome(&mut wrong), claim, "a changed padding word must not change the outcome");
    let mut dispute = Dispute::new(subject.clone(), claim, 10, TURN_BLOCKS);
    assert_eq!(dispute.answer(&wrong.answer().unwrap(), 11).unwrap(), 0);
    assert_eq!(dispute.answer(&answer, 15).unwrap(), 1);
    assert!(matches!(dispute.answer(&answer, 16), Err(DisputeError::Late { height: 16, deadline: 15 })));
    for height in 12.. {
        dispute.settle(height);
        let game = dispute.game(0).unwrap().clone();
        if game.winner().is_some() {
            break;
        }
        let side = if game.turn() == Side::Miner { &mut wrong } else { &mut right };
        let Some(found) = block_on(side.next(&game)).unwrap() else { break };
        dispute.apply(0, &found, height).unwrap();
    }
    assert_eq!(dispute.game(0).unwrap().winner(), Some(Side::Challenger));
    assert_eq!(dispute.game(1).unwrap().winner(), Some(Side::Challenger), "the answerer made no move in this game");
    let mut dispute = Dispute::new(subject.clone(), claim, 10, TURN_BLOCKS);
    dispute.answer(&answer, 15).unwrap();
    let opening = block_on(right.next(dispute.game(0).unwrap())).unwrap().unwrap();
    dispute.apply(0, &opening, 20).unwrap();
    assert_eq!(
        (dispute.settle(25), dispute.settle(26)),
        (None, Some(Side::Miner)),
        "the miner must win, because the challenger made no pick"
    );

    let mut game = Game::new(subject.clone(), claim, &answer, 1, TURN_BLOCKS).unwrap();
    let opening = block_on(right.next(&game)).unwrap().unwrap();
    assert_eq!(opening.role(), Role::Anybody);
    assert!(matches!(game.apply(&opening, 7), Err(DisputeError::Late { .. })));
    game.apply(&opening, 6).unwrap();
    assert_eq!((game.turn(), game.deadline()), (Side::Challenger, 11));
    game.expire(11);
    assert_eq!(game.winner(), None);
    game.expire(12);
    assert_eq!(game.winner(), Some(Side::Miner), "the miner must win, because the challenger made no move");
    assert!(matches!(game.apply(&opening, 12), Err(DisputeError::Over)));

    let forged = Answer { trace: tree::Hash([1; 32]), ..answer.clone() };
    assert!(matches!(Game::new(subject.clone(), claim, &forged, 1, TURN_BLOCKS), Err(DisputeError::Root(_))));
    assert!(matches!(Game::new(subject, TaskOutcome::Void, &answer, 1, TURN_BLOCKS), Err(DisputeError::Root(_))));
}

#[test]
fn the_leaf_of_an_attestation_depends_on_the_task_and_the_selector() {
    let (model, material) = (model(), material(-40));
    let (mut one, mut two) = (replay(&model, &material), replay(&model, &material));
    let digest = |replay: &mut Replay, selector: u8| block_on(replay.leaf_digest(&[selector; 32])).unwrap();
    let own = digest(&mut one, 1);
    assert_eq!(own, digest(&mut two, 1));
    assert_ne!(own, digest(&mut two, 2));
    let tiles: std::collections::BTreeSet<_> = (0..64)
        .map(|at| one.selected_tile(&[at; 32]).unwrap())
        .map(|selected| (selected.leaf, selected.tile))
        .collect();
    assert!(tiles.len() > 2, "{tiles:?}");
    let mut other = material.clone();
    other.tokens[0] ^= 1;
    assert_ne!(own, digest(&mut replay(&model, &other), 1));
    for selector in 0..8 {
        let found = crate::protocol::attestation_leaf(&gradient(&model, &material).matrices, &[selector; 32]);
        assert_eq!(Some(digest(&mut one, selector)), found, "the trace and the gradient must have the same leaf");
    }
}
