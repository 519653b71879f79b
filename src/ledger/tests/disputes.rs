//! Disputes on the ledger: real games over a small model's tasks, each move a transaction.

use super::*;
use crate::{
    backend::{Backend, cpu},
    chain::{MsgAnswerDispute, MsgAppeal, MsgMoveDispute, MsgOpenDispute, MsgSubmitTrapJobResult, MsgWithdraw},
    dispute::{Lie, MAX_ANSWERS, Material, Move, Party, Replay},
    model::{
        config::{Linear, ModelConfig},
        generator::seeded,
        lora::LoraAdapter,
        transformer::{Step, Targets},
        weights::Model,
    },
    rng::threefry,
    training::step::Trainer,
    work::{Artifact, Chunk, Gradient},
};
use pollster::block_on;

const NODES: [(u8, u64); 3] = [(7, 10_000_000), (8, 10_000_000), (9, 10_000_000)];
const BOND: u64 = Params::NETWORK.dispute_bond;
const ANSWER: u64 = Params::NETWORK.answer_bond;
const REWARD: u64 = Params::NETWORK.reward;

/// A network whose tasks can be computed, and so disputed.
struct Court {
    world: World,
    model: Model,
    adapter: LoraAdapter,
    chunks: Vec<Chunk>,
}

/// Nothing is drawn: whatever comes in counts.
fn trusting() -> Params {
    Params { sampling: 0, challenge_blocks: 200, move_blocks: 4, ..all() }
}

fn all() -> Params {
    let verified = Params { sampling: ALL, verifiers: 3, trap_share: 0, draw_blocks: 1, ..Params::NETWORK };
    Params { min_stake: 1_000_000, probation: 0, claim_bond: 0, ..verified }
}

fn targets() -> Targets {
    Targets { rank: 4, linears: vec![Linear::Query, Linear::Down] }
}

fn backend() -> Backend {
    Backend::Cpu { threads: 1, choose: cpu::fastest }
}

impl Court {
    fn new(params: Params) -> Self {
        let config = ModelConfig {
            layers: 1,
            width: 48,
            heads: 4,
            kv_heads: 2,
            head_dim: 8,
            ffn_width: 80,
            vocab: 72,
            context: 512,
            rope_theta: 10_000,
            norm_epsilon: 1e-5,
            residual_fraction_bits: 20,
        };
        let model = seeded(config.clone(), [7; 32]).unwrap();
        let mut adapter = LoraAdapter::seeded(4, 8, &targets().shapes(&config), [3; 32]).unwrap();
        for (at, value) in adapter.matrices.iter_mut().flat_map(|matrix| &mut matrix.values).enumerate() {
            *value = (threefry([1, 5], [at as u32, 0])[0] as i32) >> 4;
        }
        let token = |chunk: u32| move |at: u32| threefry([2 + chunk, 5], [at, 0])[0] % 72;
        let chunk = |number| Chunk::new((0..2048).map(token(number)).collect(), 72).unwrap();
        let chunks: Vec<Chunk> = (0..2).map(chunk).collect();
        let mut genesis = genesis(2, params, &NODES);
        genesis.job.targets = targets().linears.iter().map(|linear| linear.name().to_owned()).collect();
        let spec = |matrix: &crate::model::lora::LoraMatrix| MatrixSpec {
            name: matrix.name.clone(),
            rows: matrix.rows as u32,
            columns: matrix.columns as u32,
            exponent: -40,
        };
        genesis.job.matrices = adapter.matrices.iter().map(spec).collect();
        let (ground, packing) = Ground::of(&model, &targets(), &genesis.job.matrices, genesis.job.transport);
        genesis.ground = ground;
        genesis.packed = packing.root(&adapter, &genesis.job.matrices).unwrap();
        genesis.chunks = chunks.iter().map(|chunk| chunk.block().cid()).collect();
        Self { world: World::new(genesis), model, adapter, chunks }
    }

    fn chunk(&self, task: &Task) -> &Chunk {
        self.chunks.iter().find(|chunk| chunk.block().cid() == task.chunk).unwrap()
    }

    /// Of the task; what a forger plays has another token.
    fn material(&self, task: &Task, forged: bool) -> Material {
        let mut tokens = self.chunk(task).tokens().to_vec();
        tokens[1900] = (tokens[1900] + u32::from(forged)) % 72;
        let (matrices, transport) = (task.job.matrices.clone(), task.job.transport);
        Material { adapter: self.adapter.clone(), tokens, task_key: task.key(), matrices, transport }
    }

    fn party(&self, task: &Task, forged: bool, lie: Option<Lie>) -> Party {
        let material = self.material(task, forged);
        let mut replay = block_on(Replay::new(&self.model, &targets(), &material, &backend())).unwrap();
        replay.lie = lie;
        block_on(Party::new(replay)).unwrap()
    }

    fn artifact(&self, task: &Task, forged: bool) -> Artifact {
        let material = self.material(task, forged);
        let step = Step::new(&self.model, &targets(), 2);
        let player = block_on(backend().player(&std::sync::Arc::new(step.recording.clone()))).unwrap();
        let mut trainer = Trainer::new(step, player);
        block_on(trainer.load(&material.adapter, &vec![-40; material.matrices.len()])).unwrap();
        let found = block_on(trainer.gradient(&material.tokens, &material.task_key, 0)).unwrap();
        assert!(!found.saturated);
        let gradient = Gradient { loss: found.loss, tokens: found.supervised as u32, matrices: found.matrices };
        Artifact::gradient(task, &gradient).unwrap()
    }

    /// Claims a task and submits for it; its number, the task, and the manifest of its artifact.
    fn submit(&mut self, number: u8, forged: bool) -> (u64, Task, Vec<u8>) {
        let claim = self.world.claim(number, self.world.free());
        self.world.done(number, claim);
        let task = self.world.ledger.held(&address(number)).unwrap().unwrap().task;
        let artifact = self.artifact(&task, forged);
        let dag = artifact.dag().unwrap();
        let mut message = self.world.submission(number, |task| Commitment::new(task, &artifact.gradient_root()));
        message.ipfs_hash = dag.root.to_string();
        self.world.done(number, Message::SubmitGradient(Box::new(message)));
        (self.world.head().submissions, task, dag.get(&dag.root).unwrap())
    }

    /// A submission that counts.
    fn accepted(&mut self, number: u8, forged: bool) -> (u64, Task, Vec<u8>) {
        let submitted = self.submit(number, forged);
        self.world.block(vec![]);
        assert_eq!(self.status(submitted.0), Status::Accepted);
        submitted
    }

    fn status(&self, id: u64) -> Status {
        self.world.ledger.state().submission(id).unwrap().status
    }

    fn opening(&self, number: u8, (id, task, manifest): &(u64, Task, Vec<u8>)) -> Message {
        let chunk = self.chunk(task).block().bytes().to_vec();
        let (challenger, stored_gradient_id, manifest) = (address(number), *id, manifest.clone());
        Message::OpenDispute(Box::new(MsgOpenDispute { challenger, stored_gradient_id, chunk, manifest }))
    }

    fn open(&mut self, number: u8, submitted: &(u64, Task, Vec<u8>)) -> u64 {
        let opening = self.opening(number, submitted);
        self.world.done(number, opening);
        self.world.head().disputes
    }

    fn appeal(&mut self, number: u8, (_, task, manifest): &(u64, Task, Vec<u8>)) -> (u32, String) {
        let challenge_id = self.world.head().challenges;
        let (chunk, manifest) = (self.chunk(task).block().bytes().to_vec(), manifest.clone());
        let appeal = MsgAppeal { sender: address(number), challenge_id, chunk, manifest };
        self.world.send(number, Message::Appeal(Box::new(appeal)))
    }

    fn answer(&mut self, number: u8, dispute_id: u64, party: &Party) {
        let (sender, answer) = (address(number), party.answer().unwrap().encode());
        self.world.done(number, Message::AnswerDispute(MsgAnswerDispute { sender, dispute_id, answer }));
    }

    /// The next move of each game that one of the players has one in.
    fn moves(&self, dispute_id: u64, players: &mut [(u8, &mut Party)]) -> Vec<(u8, Message)> {
        let mut moves = Vec::new();
        let Some(contest) = self.world.ledger.state().disputes.get(&dispute_id) else { return moves };
        for (number, (answerer, _)) in contest.answers.iter().enumerate() {
            let game = contest.dispute.game(number).unwrap();
            let mover = if game.turn() == crate::dispute::Side::Miner { answerer } else { &contest.challenger };
            let player = players.iter_mut().find(|(player, _)| address(*player) == *mover);
            let Some((player, party)) = player.filter(|_| game.winner().is_none()) else { continue };
            // a liar comes to where it has nothing to say
            let Ok(Some(step)) = block_on(party.next(game)) else { continue };
            let (sender, answer) = (address(*player), number as u64);
            let step = MsgMoveDispute { sender, dispute_id, answer, step: step.encode() };
            moves.push((*player, Message::MoveDispute(step)));
        }
        moves
    }

    /// Plays disputes to their ends; who has no move, or only refused ones, lets the deadline pass.
    fn play(&mut self, disputes: &[u64], players: &mut [(u8, &mut Party)]) {
        for count in 0.. {
            assert!(count < 300, "no end");
            if disputes.iter().all(|dispute| !self.world.ledger.state().disputes.contains_key(dispute)) {
                return;
            }
            let mut moves = std::collections::BTreeMap::<u8, Vec<Message>>::new();
            for dispute in disputes {
                self.moves(*dispute, players)
                    .into_iter()
                    .for_each(|(who, step)| moves.entry(who).or_default().push(step));
            }
            let txs = moves.iter().map(|(who, steps)| self.world.sign(*who, steps)).collect();
            self.world.block(txs);
            if count % 7 == 0 {
                self.world.check();
            }
        }
    }

    /// Verifiers are drawn and say what they find; the panel stays silent.
    fn speak(&mut self, find: impl Fn(u8) -> Finding) {
        for _ in 0..3 {
            let words = NODES.map(|(number, _)| (number, self.world.words(number, &|number, _, _| find(number))));
            let spoken = words.iter().filter(|(_, words)| !words.is_empty());
            let txs = spoken.map(|(number, words)| self.world.sign(*number, words)).collect();
            self.world.block(txs);
        }
    }

    fn stage(&self) -> Stage {
        self.world.ledger.state().challenges.values().next().unwrap().stage
    }

    fn wait(&mut self, blocks: u64) {
        (0..blocks).for_each(|_| drop(self.world.block(vec![])));
    }

    fn escrow(&self, number: u8) -> u64 {
        self.world.ledger.state().standing(&address(number)).escrow
    }

    fn stake(&mut self, number: u8, stake: u64) {
        let register = crate::chain::MsgRegisterNode {
            node_address: address(number),
            node_type: 1,
            stake: format!("{stake}uremes"),
            ..Default::default()
        };
        self.world.done(number, Message::RegisterNode(register));
    }
}

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
    assert_eq!((court.status(forged.0), court.world.free()), (Status::Disputed, place), "nobody waits for the game");
    assert_eq!(court.world.head().accepted_in_round, 0);
    // it is defended, to the end
    let mut liar = court.party(&forged.1, true, None);
    let mut right = court.party(&forged.1, false, None);
    court.answer(1, dispute, &liar);
    court.play(&[dispute], &mut [(1, &mut liar), (2, &mut right)]);
    assert_eq!(court.status(forged.0), Status::Rejected(Finding::Mismatch));
    // half of the stake is lost, and the bond; of both the finder gets its part
    assert_eq!(court.world.slashed(1), 10_000_000);
    assert_eq!(court.world.balance(1), COINS - 20_000_000 + REWARD - ANSWER);
    assert_eq!(court.world.balance(2), COINS + BOND + ANSWER / 2);
    let standing = court.world.ledger.state().standing(&address(1));
    assert_eq!((standing.accepted, standing.rejected, standing.trust), (0, 1, 4_100));
    // its place is another's
    let honest = court.accepted(3, false);
    assert_eq!(court.world.ledger.state().submission(honest.0).unwrap().position, place);
    court.world.check();
}

#[test]
fn a_gradient_that_nobody_stands_for_falls_and_its_escrow_with_it() {
    let mut court = Court::new(Params { probation: 3, verifiers: 0, ..trusting() });
    let forged = court.accepted(1, true);
    assert_eq!((court.world.balance(1), court.escrow(1)), (COINS, REWARD));
    court.open(2, &forged);
    court.wait(6);
    assert_eq!(court.status(forged.0), Status::Rejected(Finding::Mismatch));
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
    assert_eq!(court.status(right.0), Status::Accepted);
    assert_eq!(court.world.balance(1), COINS + REWARD, "the miner has what it earned");
    assert_eq!(court.world.balance(2), COINS - BOND);
    assert_eq!(court.world.balance(5), COINS + BOND / 2);
    assert_eq!(court.world.head().accepted_in_round, 1, "it is in its round again");
    court.world.check();
    // one that only opens, and never moves
    let dispute = court.open(2, &right);
    court.answer(5, dispute, &defender);
    court.play(&[dispute], &mut [(5, &mut defender)]);
    assert_eq!((court.status(right.0), court.world.balance(2)), (Status::Accepted, COINS - 2 * BOND));
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
    assert_eq!((court.status(right.0), court.world.head().accepted_in_round), (Status::Accepted, 2));
    assert_eq!(court.world.balance(1), COINS + REWARD + BOND / 2);
    let counts = court.world.ledger.state().accepted_ids();
    assert_eq!(counts, [2, 3], "its position is another's");
    court.world.check();
}

#[test]
fn a_wrong_answer_costs_only_who_gave_it() {
    let mut court = Court::new(Params { move_blocks: 40, ..trusting() });
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
    assert_eq!(court.status(right.0), Status::Accepted);
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
    assert_eq!(court.status(1), Status::Rejected(Finding::Mismatch));
    assert_eq!((court.world.slashed(1), court.world.balance(2)), (10_000_000, COINS + BOND));
    court.world.check();
}

#[test]
fn what_is_not_to_be_disputed_is_refused_with_a_reason() {
    let mut court = Court::new(Params { challenge_blocks: 9, disputes_per_challenger: 1, ..trusting() });
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
    let mut court = Court::new(Params { move_blocks: 10_000, ..trusting() });
    let right = court.accepted(1, false);
    let dispute = court.open(2, &right);
    let mut defender = court.party(&right.1, false, None);
    let mut griefer = court.party(&right.1, true, None);
    court.answer(1, dispute, &defender);
    let mut refused = 0;
    while let [(player, Message::MoveDispute(step)), ..] =
        &court.moves(dispute, &mut [(1, &mut defender), (2, &mut griefer)])[..]
    {
        for number in 0..8 {
            let mut altered = step.clone();
            let at = threefry([number, 9], [altered.step.len() as u32, 0])[0] as usize % altered.step.len();
            altered.step[at] ^= 1 << (number % 8);
            let tx = court.world.sign(*player, &[Message::MoveDispute(altered)]);
            let block = Block::sealed(court.world.head().height + 1, 2_000, court.world.ledger.root(), vec![Tx(tx)]);
            let (after, applied) = court.world.ledger.apply(&block);
            if applied.outcomes[0].code != 0 {
                refused += 1;
                let (was, is) = (court.world.ledger.state(), after.state());
                assert_eq!((&was.disputes, &was.submissions), (&is.disputes, &is.submissions));
            }
        }
        let (player, step) = (*player, Message::MoveDispute(step.clone()));
        let tx = court.world.sign(player, &[step]);
        assert_eq!(court.world.block(vec![tx])[0].log, "");
    }
    assert!(refused > 60, "{refused}");
    court.world.check();
}

/// Two of three verifiers let a forged gradient pass: the third disputes it, and need not win any vote.
#[test]
fn a_minority_that_is_right_overrules_a_panel() {
    let mut court = Court::new(Params { move_blocks: 4, ..all() });
    court.stake(1, 20_000_000);
    let forged = court.submit(1, true);
    court.speak(|number| if number == 9 { Finding::Mismatch } else { Finding::Match });
    assert_eq!(court.stage(), Stage::Panel);
    let dispute = court.open(9, &forged);
    assert_eq!(court.stage(), Stage::Contested);
    let mut liar = court.party(&forged.1, true, None);
    let mut right = court.party(&forged.1, false, None);
    court.answer(4, dispute, &liar);
    court.play(&[dispute], &mut [(4, &mut liar), (9, &mut right)]);
    assert_eq!(court.status(forged.0), Status::Rejected(Finding::Mismatch));
    assert_eq!([7, 8, 9].map(|number| court.world.slashed(number)), [5_000_000, 5_000_000, 0]);
    assert_eq!(court.world.slashed(1), 10_000_000);
    court.world.check();
}

/// A friend of the forger's opens a dispute and loses it on purpose; the verifier's own word is still to be judged.
#[test]
fn a_dispute_that_is_thrown_does_not_save_a_forger() {
    let mut court = Court::new(Params { move_blocks: 4, ..all() });
    let forged = court.submit(1, true);
    court.speak(|number| if number == 9 { Finding::Mismatch } else { Finding::Match });
    let thrown = court.open(2, &forged);
    let mut liar = court.party(&forged.1, true, None);
    court.answer(4, thrown, &liar);
    court.play(&[thrown], &mut [(4, &mut liar)]);
    assert!(matches!(court.status(forged.0), Status::Challenged(_)), "others have their time yet");
    assert_eq!(court.appeal(9, &forged), (0, String::new()));
    let dispute = court.world.head().disputes;
    let mut right = court.party(&forged.1, false, None);
    court.answer(4, dispute, &liar);
    court.play(&[dispute], &mut [(4, &mut liar), (9, &mut right)]);
    assert_eq!(court.status(forged.0), Status::Rejected(Finding::Mismatch));
    assert_eq!(court.world.slashed(9), 0);
    court.world.check();
}

/// All that were drawn say that a right gradient is wrong: the miner loses nothing, they do.
#[test]
fn an_honest_miner_is_not_slashed_by_verifiers_who_lie_together() {
    let mut court = Court::new(Params { challenge_blocks: 100, move_blocks: 4, ..all() });
    court.stake(1, 20_000_000);
    let right = court.submit(1, false);
    let place = court.world.ledger.state().submission(right.0).unwrap().position;
    court.speak(|_| Finding::Mismatch);
    assert_eq!((court.stage(), court.world.free()), (Stage::Appeal, place), "nobody waits for an appeal");
    assert_eq!(court.appeal(5, &right), (0, String::new()));
    assert_eq!(court.appeal(5, &right).0, 1102, "once");
    let mut defender = court.party(&right.1, false, None);
    (1..=3).for_each(|dispute| court.answer(5, dispute, &defender));
    court.play(&[1, 2, 3], &mut [(5, &mut defender)]);
    assert_eq!([7, 8, 9].map(|number| court.world.slashed(number)), [5_000_000; 3]);
    assert_eq!(court.world.balance(5), COINS + 3 * 2_500_000);
    court.wait(100);
    assert_eq!((court.status(right.0), court.world.slashed(1)), (Status::Accepted, 0));
    assert_eq!(court.world.balance(1), COINS - 20_000_000 + REWARD);
    court.world.check();
}

/// The same, of all validators.
#[test]
fn nor_by_a_panel() {
    let mut court = Court::new(Params { challenge_blocks: 100, move_blocks: 4, ..all() });
    court.stake(1, 20_000_000);
    let right = court.submit(1, false);
    court.speak(|number| if number == 9 { Finding::Match } else { Finding::Mismatch });
    assert_eq!(court.stage(), Stage::Panel);
    court.world.serve(&[7, 8], |_, _, _| Finding::Mismatch);
    assert_eq!((court.stage(), court.world.slashed(1)), (Stage::Appeal, 0));
    assert_eq!(court.appeal(9, &right), (0, String::new()));
    let mut defender = court.party(&right.1, false, None);
    (1..=2).for_each(|dispute| court.answer(9, dispute, &defender));
    court.play(&[1, 2], &mut [(9, &mut defender)]);
    court.wait(100);
    assert_eq!((court.status(right.0), court.world.slashed(1)), (Status::Accepted, 0));
    assert_eq!([7, 8, 9].map(|number| court.world.slashed(number)), [5_000_000, 5_000_000, 0]);
    court.world.check();
}

#[test]
fn what_all_find_wrong_is_rejected_when_nobody_appeals() {
    let mut court = Court::new(Params { challenge_blocks: 10, ..all() });
    court.stake(1, 20_000_000);
    let forged = court.submit(1, true);
    court.speak(|_| Finding::Mismatch);
    assert!(court.world.ledger.waits());
    court.wait(9);
    assert!(matches!(court.status(forged.0), Status::Challenged(_)));
    let leave = crate::chain::MsgUnregisterNode { node_address: address(1) };
    assert_eq!(court.world.send(1, Message::UnregisterNode(leave)).0, 1102, "its stake answers for it");
    assert_eq!((court.status(forged.0), court.world.slashed(1)), (Status::Rejected(Finding::Mismatch), 10_000_000));
    assert_eq!([7, 8, 9].map(|number| court.world.slashed(number)), [0; 3]);
    court.world.check();
}

#[test]
fn the_last_answer_is_the_miners() {
    let mut court = Court::new(Params { answer_bond: 1, move_blocks: 100, ..trusting() });
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

#[test]
fn a_trap_finds_verifiers_who_agree_on_what_they_did_not_look_at() {
    let trapping = Params { trap_share: ALL, verifiers: 1, challenge_blocks: 0, ..all() };
    for commitment in [wrong as fn(&Task) -> Commitment, honest] {
        let mut world = World::new(genesis(2, trapping.clone(), &NODES));
        world.mine(1, commitment);
        world.block(vec![]);
        let drawn = |world: &World| world.ledger.state().challenges.get(&1).unwrap().drawn[0].verifier.clone();
        let first = drawn(&world);
        let lazy = move |number: u8, task: &Task, claimed| {
            if address(number) == first { Finding::Match } else { truth(number, task, claimed) }
        };
        world.serve(&[7, 8, 9], &lazy);
        let standing = world.ledger.state().standing(&address(1));
        let task = world.ledger.task(0, &address(1)).unwrap();
        let right = u64::from(commitment(&task) == honest(&task));
        assert_eq!((standing.accepted, standing.rejected), (right, 1 - right));
        let slashed = [7, 8, 9].map(|number| u64::from(world.slashed(number) > 0)).iter().sum::<u64>();
        assert_eq!(slashed, 1 - right, "the first alone");
        let drawn = world.events.iter().filter(|event| matches!(event, Event::Drawn { .. })).count();
        assert_eq!(drawn, 2);
        world.check();
    }
    let mut world = World::small(2);
    let named = MsgSubmitTrapJobResult { miner: address(1), trap_job_id: "trap-7".to_owned(), ..Default::default() };
    assert!(world.send(1, Message::AnswerTrap(named)).1.contains("drawn after it was submitted"));
}

#[test]
fn a_miner_whose_gpu_fails_takes_its_work_back_before_it_is_drawn_for_and_not_after() {
    let params = Params { draw_blocks: 3, quarantine_blocks: 20, claim_bond: 50, challenge_blocks: 0, ..all() };
    let mut world = World::new(genesis(2, params, &NODES));
    let register =
        |stake| crate::chain::MsgRegisterNode { node_address: address(1), node_type: 1, stake, ..Default::default() };
    world.done(1, Message::RegisterNode(register("20000000uremes".to_owned())));
    let (owned, place) = (world.balance(1), world.free());
    world.mine(1, wrong);
    assert!(!world.ledger.hurries() && world.ledger.waits());
    world.block(vec![]);
    world.done(1, Message::Withdraw(MsgWithdraw { miner: address(1) }));
    let known = world.ledger.state().submission(1).unwrap();
    assert_eq!((known.status, world.free()), (Status::Withdrawn, place));
    assert_eq!((world.balance(1), world.slashed(1)), (owned, 0));
    let claim = world.claim(1, place);
    assert!(world.send(1, claim).1.contains("claims nothing until block"));
    (0..20).for_each(|_| drop(world.block(vec![])));
    // once it is drawn for, it is too late
    world.mine(1, wrong);
    (0..3).for_each(|_| drop(world.block(vec![])));
    world.done(1, Message::Withdraw(MsgWithdraw { miner: address(1) }));
    world.serve(&[7, 8, 9], truth);
    assert_eq!(world.ledger.state().submission(2).unwrap().status, Status::Rejected(Finding::Mismatch));
    assert_eq!(world.slashed(1), 10_000_000);
    // what it only claimed it gives back
    (0..20).for_each(|_| drop(world.block(vec![])));
    let claim = world.claim(1, world.free());
    world.done(1, claim);
    world.done(1, Message::Withdraw(MsgWithdraw { miner: address(1) }));
    assert_eq!(world.balance(1), owned);
    world.check();
}
