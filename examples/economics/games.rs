//! Strategies around disputes: the tasks are a small model's, computed and played for real.

use super::{COINS, COST, World, address, genesis, per_task};
use pollster::block_on;
use r3mes_wgpu::{
    compute::{Backend, cpu},
    dispute::{
        judge::{DisputeContext, Side},
        prover::{Prover, Replay, TaskInputs},
    },
    ledger::{Genesis, LedgerParams, SubmissionStatus},
    model::{
        config::{Linear, ModelConfig},
        generator::seeded,
        transformer::{RecordedStep, Targets},
        weights::Model,
    },
    numbers::lora::LoraAdapter,
    protocol::{Artifact, Chunk, Commitment, Gradient, MatrixSpec, Task},
    training::step::Trainer,
    tx::{Message, MsgAnswerDispute, MsgClaimTask, MsgMoveDispute, MsgOpenDispute, MsgRegisterNode},
};
use std::{collections::BTreeMap, sync::Arc};

/// Tasks that each strategy is tried for.
const TASKS: u32 = 40;
const MINER: u8 = 1;
const GRIEFER: u8 = 2;
/// Who recomputes what others submit.
const WATCHER: u8 = 3;

/// A small model, its adapter, and the text.
struct Job {
    model: Model,
    targets: Targets,
    adapter: LoraAdapter,
    chunks: Vec<Chunk>,
    backend: Backend,
}

impl Job {
    fn new() -> (Self, Genesis) {
        let config = ModelConfig {
            layers: 1,
            width: 32,
            heads: 2,
            kv_heads: 1,
            head_dim: 16,
            ffn_width: 48,
            vocab: 64,
            context: 512,
            rope_theta: 10_000,
            norm_epsilon: 1e-5,
            residual_fraction_bits: 20,
        };
        let targets = Targets { rank: 4, linears: vec![Linear::Query] };
        let model = seeded(config.clone(), [7; 32]).expect("a model within its limits");
        let adapter = LoraAdapter::seeded(4, 8, &targets.shapes(&config), [3; 32]).expect("an adapter of this rank");
        let chunk = |number: u32| Chunk::new((0..2048).map(|at| (at * at / 7 + number) % 64).collect(), 64);
        let chunks: Vec<Chunk> = (0..7).map(|number| chunk(number).expect("2048 tokens")).collect();
        let mut genesis = genesis();
        let spec = |matrix: &r3mes_wgpu::numbers::lora::LoraMatrix| MatrixSpec {
            name: matrix.name.clone(),
            rows: matrix.rows as u32,
            columns: matrix.columns as u32,
            exponent: -40,
        };
        genesis.job.matrices = adapter.matrices.iter().map(spec).collect();
        let (ground, packing) = DisputeContext::of(&model, &targets, &genesis.job.matrices, genesis.job.transport);
        genesis.layout_root = packing.root(&adapter, &genesis.job.matrices).expect("the job's adapter");
        genesis.ground = ground;
        genesis.chunks = chunks.iter().map(|chunk| chunk.block().cid()).collect();
        let backend = Backend::Cpu { threads: 1, choose: cpu::fastest };
        (Self { model, targets, adapter, chunks, backend }, genesis)
    }

    fn chunk(&self, task: &Task) -> &Chunk {
        self.chunks.iter().find(|chunk| chunk.block().cid() == task.chunk).expect("a chunk of the text")
    }

    /// What a task is played from; a forger changes a token.
    fn material(&self, task: &Task, forged: bool) -> TaskInputs {
        let mut tokens = self.chunk(task).tokens().to_vec();
        tokens[1000] ^= u32::from(forged);
        let (matrices, transport) = (task.job.matrices.clone(), task.job.transport);
        TaskInputs { adapter: self.adapter.clone(), tokens, task_key: task.key(), matrices, transport }
    }

    fn party(&self, task: &Task, forged: bool) -> Prover {
        let material = self.material(task, forged);
        let replay = Replay::new(&self.model, &self.targets, &material, &self.backend);
        block_on(Prover::new(block_on(replay).expect("a task of the job"))).expect("a task that can be played")
    }

    fn artifact(&self, task: &Task, forged: bool) -> Artifact {
        let material = self.material(task, forged);
        let step = RecordedStep::new(&self.model, &self.targets, 1);
        let gradient = async {
            let executor = self.backend.executor(&Arc::new(step.recording.clone())).await?;
            let mut trainer = Trainer::new(step, executor);
            trainer.load(&material.adapter, &vec![-40; material.matrices.len()]).await?;
            trainer.gradient(&material.tokens, &material.task_key, 0).await
        };
        let found = block_on(gradient).expect("a task that can be computed");
        let gradient = Gradient { loss: found.loss, tokens: found.supervised as u32, matrices: found.matrices };
        Artifact::gradient(task, &gradient).expect("a gradient of the task")
    }
}

/// A miner's submission that counts, or was drawn and rejected; its number, and its task.
fn mine(world: &mut World, job: &Job, forged: bool) -> Option<(u64, Task, Artifact)> {
    let chunk_id = world.ledger.at(world.time + 1).state().available().next()?;
    let claim = Message::ClaimTask(MsgClaimTask { miner: address(MINER), pool_id: 0, chunk_id });
    world.send(MINER, claim);
    let task = world.ledger.held(&address(MINER)).ok()??.task;
    let artifact = job.artifact(&task, forged);
    let mut message = world.submission(MINER, Commitment::new(&task, &artifact.gradient_root()))?;
    message.ipfs_hash = artifact.dag().expect("an artifact within its limits").root.to_string();
    world.rights.insert(message.gradient_hash.clone(), !forged);
    world.send(MINER, Message::SubmitGradient(Box::new(message)));
    let id = world.ledger.state().scalars().submissions;
    world.until(|world| matches!(world.status(id), SubmissionStatus::Accepted | SubmissionStatus::Rejected(_)));
    Some((id, task, artifact))
}

/// Opens a dispute about a gradient that counts, has it answered and played, and waits for its end.
fn dispute(
    world: &mut World,
    job: &Job,
    (id, task, artifact): &(u64, Task, Artifact),
    challenger: u8,
    answerer: u8,
    parties: &mut BTreeMap<u8, Prover>,
) {
    let dag = artifact.dag().expect("an artifact within its limits");
    let opening = MsgOpenDispute {
        challenger: address(challenger),
        stored_gradient_id: *id,
        chunk: job.chunk(task).block().into_bytes(),
        manifest: dag.get(&dag.root).expect("its own root"),
    };
    world.send(challenger, Message::OpenDispute(opening.into()));
    let dispute_id = world.ledger.state().scalars().disputes;
    if let Some(answer) = parties.get(&answerer).and_then(Prover::answer) {
        let (sender, answer) = (address(answerer), answer.encode());
        world.send(answerer, Message::AnswerDispute(MsgAnswerDispute { sender, dispute_id, answer }));
    }
    while let Some(contest) = world.ledger.state().contest(dispute_id) {
        let game = contest.dispute.game(0).cloned();
        let mover = match game.as_ref().map(|game| game.turn()) {
            Some(Side::Miner) => answerer,
            _ => challenger,
        };
        let party = parties.get_mut(&mover);
        // who has nothing to say, or only what is refused, lets its time pass
        let step = game.zip(party).and_then(|(game, party)| block_on(party.next(&game)).ok().flatten());
        let Some(step) = step else {
            world.until(|world| world.ledger.state().contest(dispute_id).is_none());
            return;
        };
        let (sender, step) = (address(mover), step.encode());
        if world.send(mover, Message::MoveDispute(MsgMoveDispute { sender, dispute_id, answer: 0, step })) != 0 {
            world.until(|world| world.ledger.state().contest(dispute_id).is_none());
        }
    }
}

/// A miner that forges everything and defends it, and who watches: both with what they earn a task.
pub(super) fn forges_and_defends() {
    let (job, genesis) = Job::new();
    let mut world = World::new(genesis);
    let stake = format!("{}uremes", LedgerParams::NETWORK.min_stake);
    let register = MsgRegisterNode { node_address: address(MINER), node_type: 1, stake, ..Default::default() };
    world.send(MINER, Message::RegisterNode(register));
    let before = [MINER, WATCHER].map(|number| world.wealth(number));
    let mut watched = 0;
    for _ in 0..TASKS {
        let Some(forged) = mine(&mut world, &job, true) else { continue };
        if world.status(forged.0) == SubmissionStatus::Accepted {
            // a recomputation, then two plays
            watched += 3;
            let parties = [(MINER, job.party(&forged.1, true)), (WATCHER, job.party(&forged.1, false))];
            dispute(&mut world, &job, &forged, WATCHER, MINER, &mut parties.into());
        }
    }
    let reputation = world.ledger.state().reputation(&address(MINER));
    let earned = world.wealth(MINER) - before[0];
    let row = |earned: i64| format!("{:+.3}", per_task(earned, TASKS));
    println!(
        "| forges all and defends it, with a stake | {} | {} | {} |",
        reputation.accepted,
        reputation.rejected,
        row(earned)
    );
    let earned = world.wealth(WATCHER) - before[1] - watched * COST;
    println!("| watches the one who forges and defends it | | | {} |", row(earned));
}

/// One who disputes every gradient of an honest miner, and who answers for it.
pub(super) fn griefs() {
    let (job, genesis) = Job::new();
    let mut world = World::new(genesis);
    let before = [MINER, GRIEFER, WATCHER].map(|number| world.wealth(number));
    for _ in 0..TASKS {
        let Some(right) = mine(&mut world, &job, false) else { continue };
        let parties = [(WATCHER, job.party(&right.1, false)), (GRIEFER, job.party(&right.1, true))];
        dispute(&mut world, &job, &right, GRIEFER, WATCHER, &mut parties.into());
        world.until(|world| world.ledger.state().scalars().full_since.is_none());
    }
    let reputation = world.ledger.state().reputation(&address(MINER));
    let costs = [COST, 0, 2 * COST].map(|cost| cost * i64::from(TASKS));
    let rows: Vec<String> = [MINER, GRIEFER, WATCHER]
        .into_iter()
        .zip(before.into_iter().zip(costs))
        .map(|(number, (before, cost))| format!("{:+.3}", per_task(world.wealth(number) - before - cost, TASKS)))
        .collect();
    println!("| honest, all disputed | {} | {} | {} |", reputation.accepted, reputation.rejected, rows[0]);
    println!("| griefs by disputes | | | {} |", rows[1]);
    println!("| answers for the miner | | | {} |", rows[2]);
    assert!(world.wealth(GRIEFER) < COINS as i64, "griefing never pays");
}
