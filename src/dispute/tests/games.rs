//! An honest side against every kind of liar.

use super::samples::{config, material, model, prover, random, replay, scalar, targets};
use crate::{
    compute::{Backend, cpu},
    dispute::{
        judge::{
            Answer, Dispute, DisputeError, Game, LeafChallenge, MAX_MOVE_BYTES, Move, Phase, Role, Side, TaskOutcome,
            WordPlace, tree,
        },
        prover::{Lie, Prover, Replay, TaskInputs},
    },
    model::{transformer::RecordedStep, weights::Model},
    protocol::{Artifact, Gradient, Job, Task, TaskKind, TaskTerms, Transport},
    store::Codec,
    training::step::Trainer,
};
use pollster::block_on;
use std::{collections::BTreeMap, sync::Arc};

/// Blocks that a turn has.
const PATIENCE: u64 = 5;

/// What a party's own trace comes to.
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

/// What a miner computes, two sequences at a time.
fn gradient(model: &Model, material: &TaskInputs) -> Gradient {
    let step = RecordedStep::new(model, &targets(), 2);
    let executor = block_on(scalar().executor(&Arc::new(step.recording.clone()))).unwrap();
    let mut trainer = Trainer::new(step, executor);
    block_on(trainer.load(&material.adapter, &vec![-40; material.matrices.len()])).unwrap();
    let found = block_on(trainer.gradient(&material.tokens, &material.task_key, 0)).unwrap();
    Gradient { loss: found.loss, tokens: found.supervised as u32, matrices: found.matrices }
}

/// How a game went.
#[derive(Debug)]
struct Played {
    winner: Side,
    moves: usize,
    bytes: usize,
    proof: Option<usize>,
}

/// Plays a game about the honest subject to its end; who has no move, or only refused ones, lets the deadline pass.
fn play(honest: &Replay, miner: &mut Prover, challenger: &mut Prover) -> Played {
    let claim = outcome(miner);
    let mut game = Game::new(honest.subject().clone(), claim, &miner.answer().unwrap(), 1, PATIENCE).unwrap();
    let mut played = Played { winner: Side::Miner, moves: 0, bytes: 0, proof: None };
    for height in 2.. {
        if let Some(winner) = game.winner() {
            return Played { winner, ..played };
        }
        let side = if game.turn() == Side::Miner { &mut *miner } else { &mut *challenger };
        let found = block_on(side.next(&game)).ok().flatten();
        let bytes = found.as_ref().map(Move::encode);
        // through the wire
        let found = bytes.as_ref().map(|bytes| Move::decode(bytes).unwrap());
        match found.map(|found| game.apply(&found, height).map(|()| found)) {
            Some(Ok(found)) => {
                played.moves += 1;
                played.bytes = played.bytes.max(bytes.unwrap().len());
                if let Move::Proof(_) = found {
                    played.proof = Some(found.encode().len());
                }
            }
            _ => game.expire(game.deadline() + 1),
        }
        assert!(height < 1000, "no end");
    }
    unreachable!()
}

/// The leaf of the last play (or of the closing) at which each kernel stands, the last one of each.
fn leaves(replay: &Replay) -> BTreeMap<String, usize> {
    let subject = replay.subject();
    let first = (subject.sequences as usize - 1) * subject.step as usize;
    let entries: Vec<_> = replay.program().entries().map(|entry| entry.kernel.clone()).collect();
    (first..subject.leaves()).map(|leaf| (entries[subject.entry(leaf)].clone(), leaf)).collect()
}

#[test]
fn a_trace_ends_in_the_artifact_and_no_backend_shows_in_it() {
    let (model, material) = (model(), material(-40));
    let mut own = prover(&model, &material, None);
    let fast = Backend::Cpu { threads: 2, choose: cpu::fastest };
    let mut other = block_on(Replay::new(&model, &targets(), &material, &fast)).unwrap();
    assert_eq!(&block_on(other.trace()).unwrap(), own.trace());
    assert_eq!(&block_on(other.trace()).unwrap(), own.trace(), "again, over memory that a play has used");

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
        assert_eq!(outcome(&mut prover), TaskOutcome::of(&artifact));
    }
    assert!(matches!(outcome(&mut own), TaskOutcome::Gradient { .. }));
}

/// Also of the closing kernels, which have no cases, and at the values of a real step.
#[test]
fn tapes_lead_to_the_words_of_a_trace() {
    let (model, material) = (model(), material(-40));
    let mut own = replay(&model, &material);
    for (kernel, leaf) in leaves(&own) {
        let entry = own.program().entries().nth(own.subject().entry(leaf)).unwrap().clone();
        let snapshot = block_on(own.snapshot(leaf)).unwrap();
        for binding in entry.written().unwrap() {
            let owned = entry.owned(binding).unwrap();
            for word in (0..owned).step_by((owned / 100).max(1) | 1) {
                let place = WordPlace { binding: binding as u32, word: word as u64 };
                let found = crate::dispute::prover::take(&entry, place, &snapshot.before).unwrap();
                assert_eq!(found.word(), snapshot.after[binding][word], "{kernel} {place:?}");
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
    assert!(used.iter().all(|name| kernels.contains_key(*name)), "{used:?} {:?}", kernels.keys());
    println!("{:28} {:>5} {:>6} {:>6} {:>6}", "kernel", "slot", "moves", "move B", "proof B");
    for (at, (kernel, leaf)) in kernels.iter().enumerate() {
        let slots = right.trace().leaves[*leaf].roots.len();
        for slot in 0..slots {
            let entry = honest.program().entries().nth(honest.subject().entry(*leaf)).unwrap();
            let owned = entry.owned(entry.written().unwrap()[slot]).unwrap();
            let word = random(at as u32, slot) as usize % owned;
            let lie = Lie { leaf: *leaf, slot, word, xor: 1 << (at % 31), saturates: false };
            let mut wrong = prover(&model, &material, Some(lie));
            let played = play(&honest, &mut wrong, &mut right);
            println!("{kernel:28} {slot:5} {:6} {:6} {:?}", played.moves, played.bytes, played.proof);
            assert_eq!(played.winner, Side::Challenger, "{kernel} {lie:?} {played:?}");
            assert!(played.bytes <= MAX_MOVE_BYTES && played.moves <= 30, "{played:?}");
            let played = play(&honest, &mut right, &mut wrong);
            assert_eq!(played.winner, Side::Miner, "{kernel} {lie:?} {played:?}");
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
    let liars = [
        (&weights, material.clone()),
        (&own, tokens),
        (&own, adapter),
        (&own, key),
        (&own, exponent),
        (&own, transport),
    ];
    for (model, material) in liars {
        let mut wrong = prover(model, &material, None);
        assert_ne!(wrong.trace(), right.trace());
        let played = play(&honest, &mut wrong, &mut right);
        assert_eq!(played.winner, Side::Challenger, "{played:?}");
        assert_eq!(play(&honest, &mut right, &mut wrong).winner, Side::Miner);
    }
}

#[test]
fn a_flag_that_is_raised_or_hidden_loses() {
    let model = model();
    for (exponent, kernel) in [(-40, "residual_add"), (-300, "lora_gradient_b")] {
        let material = material(exponent);
        let honest = replay(&model, &material);
        let mut right = prover(&model, &material, None);
        assert_eq!(outcome(&mut right) == TaskOutcome::Void, exponent == -300);
        let kernels = leaves(&honest);
        let first = right.trace().leaves.iter().position(|leaf| leaf.saturated);
        let leaf = first.unwrap_or(kernels[kernel]);
        let mut wrong = prover(&model, &material, Some(Lie { leaf, slot: 0, word: 0, xor: 0, saturates: true }));
        assert_ne!(wrong.trace(), right.trace());
        assert_eq!(play(&honest, &mut wrong, &mut right).winner, Side::Challenger);
        assert_eq!(play(&honest, &mut right, &mut wrong).winner, Side::Miner);
    }
}

/// Any challenger, whatever it picks.
#[test]
fn an_honest_answer_stands_against_every_pick() {
    let model = model();
    for (exponent, games) in [(-40, 300), (-300, 60)] {
        let material = material(exponent);
        let mut right = prover(&model, &material, None);
        let claim = outcome(&mut right);
        let answer = right.answer().unwrap();
        let mut kernels = BTreeMap::<String, usize>::new();
        for number in 0..games {
            let mut game = Game::new(right.replay().subject().clone(), claim, &answer, 1, PATIENCE).unwrap();
            let mut count = 0;
            while game.winner().is_none() {
                count += 1;
                let chance = random(number, count) as usize;
                let found = match (game.turn(), game.phase()) {
                    (Side::Miner, _) => block_on(right.next(&game)).unwrap(),
                    (_, Phase::DisputedDispatch(dispatch)) => {
                        *kernels.entry(dispatch.entry.kernel.clone()).or_default() += 1;
                        let written = dispatch.entry.written().unwrap();
                        let slot = chance % written.len();
                        let owned = dispatch.entry.owned(written[slot]).unwrap();
                        let place = WordPlace { binding: written[slot] as u32, word: (chance / 8 % owned) as u64 };
                        Some(Move::LeafChallenge(match number % 3 {
                            _ if dispatch.leaf.saturated && !dispatch.saturated_before => LeafChallenge::Sound,
                            0 if !dispatch.leaf.saturated => LeafChallenge::Saturates(place),
                            _ => LeafChallenge::Output(slot as u32),
                        }))
                    }
                    (_, Phase::Tile(.., words)) => Some(Move::Word((chance % (words.len() / 4)) as u32)),
                    (
                        _,
                        Phase::Trace(bisection)
                        | Phase::RevealedBuffer(_, _, bisection)
                        | Phase::WordProgram(_, bisection),
                    ) => Some(Move::Pick((chance % bisection.opened.as_ref().unwrap().len()) as u32)),
                    _ => None,
                };
                let found = found.unwrap_or_else(|| panic!("no move in {:?}", game.phase()));
                game.apply(&found, 2).unwrap_or_else(|error| panic!("{error}: {found:?} in {:?}", game.phase()));
            }
            assert_eq!(game.winner(), Some(Side::Miner), "game {number}");
        }
        println!("{kernels:?}");
    }
}

#[test]
fn who_stops_moving_loses_and_a_claim_falls_only_with_all_its_answers() {
    let (model, material) = (model(), material(-40));
    let mut right = prover(&model, &material, None);
    let (subject, claim) = (right.replay().subject().clone(), outcome(&mut right));
    let answer = right.answer().unwrap();
    let mut dispute = Dispute::new(subject.clone(), claim, 10, PATIENCE);
    assert_eq!(dispute.settle(15), None);
    assert_eq!(dispute.settle(16), Some(Side::Challenger), "nobody answered");

    // an answer of someone else's that comes to the claimed outcome by a wrong trace
    let leaf = leaves(right.replay())["attention"];
    let stats = Lie { leaf, slot: 1, word: 7, xor: 4, saturates: false };
    let mut wrong = prover(&model, &material, Some(stats));
    assert_eq!(outcome(&mut wrong), claim, "a spare word shows in nothing");
    let mut dispute = Dispute::new(subject.clone(), claim, 10, PATIENCE);
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
    assert_eq!(dispute.game(1).unwrap().winner(), Some(Side::Challenger), "nobody opened the other one");
    let mut dispute = Dispute::new(subject.clone(), claim, 10, PATIENCE);
    dispute.answer(&answer, 15).unwrap();
    let opening = block_on(right.next(dispute.game(0).unwrap())).unwrap().unwrap();
    dispute.apply(0, &opening, 20).unwrap();
    assert_eq!((dispute.settle(25), dispute.settle(26)), (None, Some(Side::Miner)), "it was opened, and nobody picks");

    let mut game = Game::new(subject.clone(), claim, &answer, 1, PATIENCE).unwrap();
    let opening = block_on(right.next(&game)).unwrap().unwrap();
    assert_eq!(opening.role(), Role::Anybody);
    assert!(matches!(game.apply(&opening, 7), Err(DisputeError::Late { .. })));
    game.apply(&opening, 6).unwrap();
    assert_eq!((game.turn(), game.deadline()), (Side::Challenger, 11));
    game.expire(11);
    assert_eq!(game.winner(), None);
    game.expire(12);
    assert_eq!(game.winner(), Some(Side::Miner), "a challenger that is silent");
    assert!(matches!(game.apply(&opening, 12), Err(DisputeError::Over)));

    let forged = Answer { trace: tree::Hash([1; 32]), ..answer.clone() };
    assert!(matches!(Game::new(subject.clone(), claim, &forged, 1, PATIENCE), Err(DisputeError::Root(_))));
    assert!(matches!(Game::new(subject, TaskOutcome::Void, &answer, 1, PATIENCE), Err(DisputeError::Root(_))));
}

#[test]
fn an_attestation_is_of_the_step_and_the_block() {
    let (model, material) = (model(), material(-40));
    let (mut one, mut two) = (replay(&model, &material), replay(&model, &material));
    let digest = |replay: &mut Replay, selector: u8| block_on(replay.leaf_digest(&[selector; 32])).unwrap();
    let own = digest(&mut one, 1);
    assert_eq!(own, digest(&mut two, 1));
    assert_ne!(own, digest(&mut two, 2));
    let tiles: std::collections::BTreeSet<_> =
        (0..64).map(|at| one.chosen(&[at; 32]).unwrap()).map(|chosen| (chosen.leaf, chosen.tile)).collect();
    assert!(tiles.len() > 2, "{tiles:?}");
    let mut other = material.clone();
    other.tokens[0] ^= 1;
    assert_ne!(own, digest(&mut replay(&model, &other), 1));
    for selector in 0..8 {
        let found = crate::protocol::attestation_leaf(&gradient(&model, &material).matrices, &[selector; 32]);
        assert_eq!(Some(digest(&mut one, selector)), found, "of the trace as of the gradient");
    }
}
