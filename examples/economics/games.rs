//! Simulates the strategies that lead to disputes. Their tasks use a small model, so that the gradients and all moves
//! of a dispute can be computed.

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

/// The number of tasks that each strategy with disputes gets.
const TASKS: u32 = 40;
/// The account index of the miner.
const MINER: u8 = 1;
/// The account index of the griefer, which disputes correct gradients.
const GRIEFER: u8 = 2;
/// The account index of the watcher, which recomputes the gradients of others, disputes wrong ones and defends correct
/// ones.
const WATCHER: u8 = 3;

/// Everything that the gradient of a task is computed from: a small model, its adapter, and a text.
struct SmallJob {
    model: Model,
    targets: Targets,
    adapter: LoraAdapter,
    chunks: Vec<Chunk>,
    backend: Backend,
}

impl SmallJob {
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
        let (context, layout) = DisputeContext::for_job(&model, &targets, &genesis.job.matrices, genesis.job.transport);
        genesis.layout_root = layout.root(&adapter, &genesis.job.matrices).expect("the job's adapter");
        genesis.dispute_context = context;
        genesis.chunks = chunks.iter().map(|chunk| chunk.block().cid()).collect();
        let backend = Backend::Cpu { threads: 1, kernels: cpu::fastest };
        (Self { model, targets, adapter, chunks, backend }, genesis)
    }

    fn chunk(&self, task: &Task) -> &Chunk {
        self.chunks.iter().find(|chunk| chunk.block().cid() == task.chunk).expect("a chunk of the text")
    }

    /// Returns the inputs of a task. If `forged` is true, one token is changed, so that the gradient is wrong.
    fn inputs(&self, task: &Task, forged: bool) -> TaskInputs {
        let mut tokens = self.chunk(task).tokens().to_vec();
        tokens[1000] ^= u32::from(forged);
        let (matrices, transport) = (task.job.matrices.clone(), task.job.transport);
        TaskInputs { adapter: self.adapter.clone(), tokens, task_key: task.key(), matrices, transport }
    }

    fn prover(&self, task: &Task, forged: bool) -> Prover {
        let inputs = self.inputs(task, forged);
        let replay = Replay::new(&self.model, &self.targets, &inputs, &self.backend);
        block_on(Prover::new(block_on(replay).expect("a task of the job"))).expect("a task that can be run")
    }

    fn artifact(&self, task: &Task, forged: bool) -> Artifact {
        let inputs = self.inputs(task, forged);
        let step = RecordedStep::new(&self.model, &self.targets, 1);
        let gradient = async {
            let executor = self.backend.executor(&Arc::new(step.recording.clone())).await?;
            let mut trainer = Trainer::new(step, executor);
            trainer.load(&inputs.adapter, &vec![-40; inputs.matrices.len()]).await?;
            trainer.gradient(&inputs.tokens, &inputs.task_key, 0).await
        };
        let found = block_on(gradient).expect("a task that can be computed");
        let gradient = Gradient { loss: found.loss, tokens: found.supervised as u32, matrices: found.matrices };
        Artifact::gradient(task, &gradient).expect("a gradient of the task")
    }
}

/// Makes the miner claim a task and submit its gradient, which is wrong if `forged` is true, and waits until the
/// gradient is accepted or rejected. Returns the submission's ID, the task and the artifact, or `None` if no task can
/// be claimed.
fn mine(world: &mut World, job: &SmallJob, forged: bool) -> Option<(u64, Task, Artifact)> {
    let chunk_id = world.ledger.at(world.time + 1).state().available().next()?;
    let claim = Message::ClaimTask(MsgClaimTask { miner: address(MINER), pool_id: 0, chunk_id });
    world.send(MINER, claim);
    let task = world.ledger.held(&address(MINER)).ok()??.task;
    let artifact = job.artifact(&task, forged);
    let mut message = world.submission(MINER, Commitment::new(&task, &artifact.gradient_root()))?;
    message.ipfs_hash = artifact.dag().expect("an artifact within its limits").root.to_string();
    world.rights.insert(message.gradient_hash.clone(), !forged);
    world.send(MINER, Message::SubmitGradient(Box::new(message)));
    let id = world.ledger.state().head().submissions;
    world.until(|world| matches!(world.status(id), SubmissionStatus::Accepted | SubmissionStatus::Rejected(_)));
    Some((id, task, artifact))
}

/// Plays a whole dispute about an accepted gradient: `challenger` opens it, `answerer` answers if `provers` has a
/// prover for that account, both sides make all their moves, and blocks are applied until the dispute has ended.
fn dispute(
    world: &mut World,
    job: &SmallJob,
    (id, task, artifact): &(u64, Task, Artifact),
    challenger: u8,
    answerer: u8,
    provers: &mut BTreeMap<u8, Prover>,
) {
    let dag = artifact.dag().expect("an artifact within its limits");
    let opening = MsgOpenDispute {
        challenger: address(challenger),
        stored_gradient_id: *id,
        chunk: job.chunk(task).block().into_bytes(),
        manifest: dag.get(&dag.root).expect("its own root"),
    };
    world.send(challenger, Message::OpenDispute(opening.into()));
    let dispute_id = world.ledger.state().head().disputes;
    if let Some(answer) = provers.get(&answerer).and_then(Prover::answer) {
        let (sender, answer) = (address(answerer), answer.encode());
        world.send(answerer, Message::AnswerDispute(MsgAnswerDispute { sender, dispute_id, answer }));
    }
    while let Some(case) = world.ledger.state().dispute(dispute_id) {
        let game = case.dispute.game(0).cloned();
        let mover = match game.as_ref().map(|game| game.turn()) {
            Some(Side::Miner) => answerer,
            _ => challenger,
        };
        let prover = provers.get_mut(&mover);
        // a side that has no move, or whose move is refused, waits until its time for the move is over
        let step = game.zip(prover).and_then(|(game, prover)| block_on(prover.next(&game)).ok().flatten());
        let Some(step) = step else {
            world.until(|world| world.ledger.state().dispute(dispute_id).is_none());
            return;
        };
        let (sender, step) = (address(mover), step.encode());
        if world.send(mover, Message::MoveDispute(MsgMoveDispute { sender, dispute_id, answer: 0, step })) != 0 {
            world.until(|world| world.ledger.state().dispute(dispute_id).is_none());
        }
    }
}

/// Simulates a miner that forges every gradient and defends it in disputes, and a watcher that disputes the accepted
/// ones. Prints what each of them earns per task.
pub(super) fn forges_and_defends() {
    let (job, genesis) = SmallJob::new();
    let mut world = World::new(genesis);
    let stake = format!("{}uremes", LedgerParams::NETWORK.min_stake);
    let register = MsgRegisterNode { node_address: address(MINER), node_type: 1, stake, ..Default::default() };
    world.send(MINER, Message::RegisterNode(register));
    let before = [MINER, WATCHER].map(|number| world.wealth(number));
    let mut watched = 0;
    for _ in 0..TASKS {
        let Some(forged) = mine(&mut world, &job, true) else { continue };
        if world.status(forged.0) == SubmissionStatus::Accepted {
            // the task is run once to recompute the gradient, and twice more for the dispute
            watched += 3;
            let provers = [(MINER, job.prover(&forged.1, true)), (WATCHER, job.prover(&forged.1, false))];
            dispute(&mut world, &job, &forged, WATCHER, MINER, &mut provers.into());
        }
    }
    let reputation = world.ledger.state().reputation(&address(MINER));
    let earned = world.wealth(MINER) - before[0];
    let row = |earned: i64| format!("{:+.3}", per_task(earned, TASKS));
    println!(
        "| forges all and defends them, with a stake | {} | {} | {} |",
        reputation.accepted,
        reputation.rejected,
        row(earned)
    );
    let earned = world.wealth(WATCHER) - before[1] - watched * COST;
    println!("| watcher: disputes the forged gradients | | | {} |", row(earned));
}

/// Simulates an honest miner, a griefer that disputes all its gradients, and a watcher that defends them. Prints what
/// each of them earns per task.
pub(super) fn griefs() {
    let (job, genesis) = SmallJob::new();
    let mut world = World::new(genesis);
    let before = [MINER, GRIEFER, WATCHER].map(|number| world.wealth(number));
    for _ in 0..TASKS {
        let Some(right) = mine(&mut world, &job, false) else { continue };
        let provers = [(WATCHER, job.prover(&right.1, false)), (GRIEFER, job.prover(&right.1, true))];
        dispute(&mut world, &job, &right, GRIEFER, WATCHER, &mut provers.into());
        world.until(|world| world.ledger.state().head().full_since.is_none());
    }
    let reputation = world.ledger.state().reputation(&address(MINER));
    let costs = [COST, 0, 2 * COST].map(|cost| cost * i64::from(TASKS));
    let rows: Vec<String> = [MINER, GRIEFER, WATCHER]
        .into_iter()
        .zip(before.into_iter().zip(costs))
        .map(|(number, (before, cost))| format!("{:+.3}", per_task(world.wealth(number) - before - cost, TASKS)))
        .collect();
    println!(
        "| honest, but all gradients are disputed | {} | {} | {} |",
        reputation.accepted, reputation.rejected, rows[0]
    );
    println!("| griefer: disputes correct gradients | | | {} |", rows[1]);
    println!("| watcher: defends the honest miner | | | {} |", rows[2]);
    assert!(world.wealth(GRIEFER) < COINS as i64, "griefing never pays");
}
