//! A test network with a real model, so small that tests can compute its gradients and play whole disputes about them.

use super::*;
use crate::{
    compute::{Backend, cpu},
    dispute::prover::{Prover, Replay, Tampering, TaskInputs},
    model::{
        config::{Linear, ModelConfig},
        generator::seeded,
        transformer::{RecordedStep, Targets},
        weights::Model,
    },
    numbers::{lora::LoraAdapter, rng::threefry},
    protocol::{Artifact, Chunk, Gradient},
    training::step::Trainer,
    tx::{MsgAnswerDispute, MsgAppeal, MsgMoveDispute, MsgOpenDispute},
};
use pollster::block_on;

pub(super) const NODES: [(u8, u64); 3] = [(7, 10_000_000), (8, 10_000_000), (9, 10_000_000)];
pub(super) const BOND: u64 = LedgerParams::NETWORK.dispute_bond;
pub(super) const ANSWER: u64 = LedgerParams::NETWORK.answer_bond;
pub(super) const REWARD: u64 = LedgerParams::NETWORK.reward;

/// A test network whose gradients can be computed and disputed.
pub(super) struct DisputeNetwork {
    pub(super) world: World,
    model: Model,
    adapter: LoraAdapter,
    chunks: Vec<Chunk>,
}

/// Returns ledger parameters under which every gradient is accepted without recomputation, so that only a dispute can
/// reject it.
pub(super) fn trusting() -> LedgerParams {
    LedgerParams { sampling: 0, challenge_blocks: 200, move_blocks: 4, ..all() }
}

/// Returns ledger parameters under which three verifiers recompute every gradient.
pub(super) fn all() -> LedgerParams {
    let verified = LedgerParams { sampling: ALL, verifiers: 3, trap_share: 0, draw_blocks: 1, ..LedgerParams::NETWORK };
    LedgerParams { min_stake: 1_000_000, probation: 0, claim_bond: 0, ..verified }
}

fn targets() -> Targets {
    Targets { rank: 4, linears: vec![Linear::Query, Linear::Down] }
}

fn backend() -> Backend {
    Backend::Cpu { threads: 1, kernels: cpu::fastest }
}

impl DisputeNetwork {
    pub(super) fn new(params: LedgerParams) -> Self {
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
        let spec = |matrix: &crate::numbers::lora::LoraMatrix| MatrixSpec {
            name: matrix.name.clone(),
            rows: matrix.rows as u32,
            columns: matrix.columns as u32,
            exponent: -40,
        };
        genesis.job.matrices = adapter.matrices.iter().map(spec).collect();
        let (context, layout) =
            DisputeContext::for_job(&model, &targets(), &genesis.job.matrices, genesis.job.transport);
        genesis.dispute_context = context;
        genesis.layout_root = layout.root(&adapter, &genesis.job.matrices).unwrap();
        genesis.chunks = chunks.iter().map(|chunk| chunk.block().cid()).collect();
        Self { world: World::new(genesis), model, adapter, chunks }
    }

    pub(super) fn chunk(&self, task: &Task) -> &Chunk {
        self.chunks.iter().find(|chunk| chunk.block().cid() == task.chunk).unwrap()
    }

    /// Returns the inputs from which the gradient of a task is computed. If `forged` is true, one token is wrong.
    pub(super) fn inputs(&self, task: &Task, forged: bool) -> TaskInputs {
        let mut tokens = self.chunk(task).tokens().to_vec();
        tokens[1900] = (tokens[1900] + u32::from(forged)) % 72;
        let (matrices, transport) = (task.job.matrices.clone(), task.job.transport);
        TaskInputs { adapter: self.adapter.clone(), tokens, task_key: task.key(), matrices, transport }
    }

    pub(super) fn prover(&self, task: &Task, forged: bool, tampering: Option<Tampering>) -> Prover {
        let inputs = self.inputs(task, forged);
        let mut replay = block_on(Replay::new(&self.model, &targets(), &inputs, &backend())).unwrap();
        replay.tampering = tampering;
        block_on(Prover::new(replay)).unwrap()
    }

    pub(super) fn artifact(&self, task: &Task, forged: bool) -> Artifact {
        let inputs = self.inputs(task, forged);
        let step = RecordedStep::new(&self.model, &targets(), 2);
        let executor = block_on(backend().executor(&std::sync::Arc::new(step.recording.clone()))).unwrap();
        let mut trainer = Trainer::new(step, executor);
        block_on(trainer.load(&inputs.adapter, &vec![-40; inputs.matrices.len()])).unwrap();
        let found = block_on(trainer.gradient(&inputs.tokens, &inputs.task_key, 0)).unwrap();
        assert!(!found.saturated);
        let gradient = Gradient { loss: found.loss, tokens: found.supervised as u32, matrices: found.matrices };
        Artifact::gradient(task, &gradient).unwrap()
    }

    /// Lets account `number` claim a task and submit its gradient, a wrong one if `forged` is true. Returns the ID of
    /// the submission, the task, and the bytes of the artifact's manifest.
    pub(super) fn submit(&mut self, number: u8, forged: bool) -> (u64, Task, Vec<u8>) {
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

    /// Does what [`Self::submit`] does, and checks that the next block accepts the gradient.
    pub(super) fn accepted(&mut self, number: u8, forged: bool) -> (u64, Task, Vec<u8>) {
        let submitted = self.submit(number, forged);
        self.world.block(vec![]);
        assert_eq!(self.status(submitted.0), SubmissionStatus::Accepted);
        submitted
    }

    pub(super) fn status(&self, id: u64) -> SubmissionStatus {
        self.world.ledger.state().submission(id).unwrap().status
    }

    pub(super) fn opening(&self, number: u8, (id, task, manifest): &(u64, Task, Vec<u8>)) -> Message {
        let chunk = self.chunk(task).block().bytes().to_vec();
        let (challenger, stored_gradient_id, manifest) = (address(number), *id, manifest.clone());
        Message::OpenDispute(Box::new(MsgOpenDispute { challenger, stored_gradient_id, chunk, manifest }))
    }

    pub(super) fn open(&mut self, number: u8, submitted: &(u64, Task, Vec<u8>)) -> u64 {
        let opening = self.opening(number, submitted);
        self.world.done(number, opening);
        self.world.head().disputes
    }

    pub(super) fn appeal(&mut self, number: u8, (_, task, manifest): &(u64, Task, Vec<u8>)) -> (u32, String) {
        let challenge_id = self.world.head().challenges;
        let (chunk, manifest) = (self.chunk(task).block().bytes().to_vec(), manifest.clone());
        let appeal = MsgAppeal { sender: address(number), challenge_id, chunk, manifest };
        self.world.send(number, Message::Appeal(Box::new(appeal)))
    }

    pub(super) fn answer(&mut self, number: u8, dispute_id: u64, prover: &Prover) {
        let (sender, answer) = (address(number), prover.answer().unwrap().encode());
        self.world.done(number, Message::AnswerDispute(MsgAnswerDispute { sender, dispute_id, answer }));
    }

    /// Returns the moves that `parties` can make now in the games of a dispute, each with the account that must send
    /// it. `parties` are given as (account, prover).
    pub(super) fn moves(&self, dispute_id: u64, parties: &mut [(u8, &mut Prover)]) -> Vec<(u8, Message)> {
        let mut moves = Vec::new();
        let Some(case) = self.world.ledger.state().disputes.get(&dispute_id) else { return moves };
        for (number, (answerer, _)) in case.answers.iter().enumerate() {
            let game = case.dispute.game(number).unwrap();
            let mover = if game.turn() == crate::dispute::judge::Side::Miner { answerer } else { &case.challenger };
            let party = parties.iter_mut().find(|(party, _)| address(*party) == *mover);
            let Some((party, prover)) = party.filter(|_| game.winner().is_none()) else { continue };
            // a dishonest party may reach a phase in which it has no move
            let Ok(Some(step)) = block_on(prover.next(game)) else { continue };
            let (sender, answer) = (address(*party), number as u64);
            let step = MsgMoveDispute { sender, dispute_id, answer, step: step.encode() };
            moves.push((*party, Message::MoveDispute(step)));
        }
        moves
    }

    /// Applies blocks with the moves of `parties` until the disputes end. If a party has no move to make, its deadline
    /// passes.
    pub(super) fn run_games(&mut self, disputes: &[u64], parties: &mut [(u8, &mut Prover)]) {
        for count in 0.. {
            assert!(count < 300, "the disputes do not end");
            if disputes.iter().all(|dispute| !self.world.ledger.state().disputes.contains_key(dispute)) {
                return;
            }
            let mut moves = std::collections::BTreeMap::<u8, Vec<Message>>::new();
            for dispute in disputes {
                self.moves(*dispute, parties)
                    .into_iter()
                    .for_each(|(party, step)| moves.entry(party).or_default().push(step));
            }
            let txs = moves.iter().map(|(party, steps)| self.world.sign(*party, steps)).collect();
            self.world.block(txs);
            if count % 7 == 0 {
                self.world.check();
            }
        }
    }

    /// Applies blocks in which the sampled verifiers commit to and reveal the finding that `find` returns for their
    /// account. If the findings differ, nobody votes.
    pub(super) fn attest(&mut self, find: impl Fn(u8) -> Finding) {
        for _ in 0..3 {
            let pending =
                NODES.map(|(number, _)| (number, self.world.pending_messages(number, &|number, _, _| find(number))));
            let pending = pending.iter().filter(|(_, messages)| !messages.is_empty());
            let txs = pending.map(|(number, messages)| self.world.sign(*number, messages)).collect();
            self.world.block(txs);
        }
    }

    pub(super) fn stage(&self) -> ChallengeStage {
        self.world.ledger.state().challenges.values().next().unwrap().stage
    }

    pub(super) fn wait(&mut self, blocks: u64) {
        (0..blocks).for_each(|_| drop(self.world.block(vec![])));
    }

    pub(super) fn escrow(&self, number: u8) -> u64 {
        self.world.ledger.state().reputation(&address(number)).escrow
    }

    pub(super) fn stake(&mut self, number: u8, stake: u64) {
        let register = crate::tx::MsgRegisterNode {
            node_address: address(number),
            node_type: 1,
            stake: format!("{stake}uremes"),
            ..Default::default()
        };
        self.world.done(number, Message::RegisterNode(register));
    }
}
