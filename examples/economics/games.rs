//! Simulates the strategies of miners and challengers that lead to disputes about gradients. The simulated tasks use a
//! small model, so that actually computing the gradients and all moves of a dispute takes little time.

use super::{COST, World, network_genesis, per_task};
use pollster::block_on;
use r3mes_wgpu::{
    dispute::{judge::Side, prover::Prover},
    ledger::SubmissionStatus,
    protocol::{Artifact, Commitment, Task},
    simulation::{COINS, NETWORK, SmallJob, address},
    tx::{Message, MsgAnswerDispute, MsgMoveDispute, MsgOpenDispute},
};
use std::collections::BTreeMap;

/// The number of tasks in the simulation of each strategy with disputes: six rounds of seven tasks.
const TASKS: u32 = 42;
/// The account index of the miner.
const MINER: u8 = 1;
/// The account index of the griefer, which disputes correct gradients.
const GRIEFER: u8 = 2;
/// The account index of the watcher, which recomputes the gradients of others, disputes wrong ones and defends correct
/// ones.
const WATCHER: u8 = 3;

/// Makes the miner claim a task and submit a gradient for it: a wrong one if `forged` is true, otherwise the correct
/// one. Then applies blocks until the gradient is accepted or rejected. Returns the submission's ID, the task and the
/// artifact, or `None` if no task can be claimed.
fn mine(world: &mut World, job: &SmallJob, forged: bool) -> Option<(u64, Task, Artifact)> {
    let network = &mut world.network;
    let claim = network.claim(MINER, network.next_free()?);
    network.send(MINER, claim);
    let task = network.ledger.held(&address(MINER)).ok()??.task;
    let artifact = block_on(job.artifact(&task, forged));
    let commitment = Commitment::new(&task, &artifact.gradient_root());
    let mut message = network.submission(MINER, |_| commitment);
    message.ipfs_hash = artifact.dag().expect("an artifact within its limits").root.to_string();
    network.send(MINER, Message::SubmitGradient(Box::new(message)));
    world.rights.insert(commitment, !forged);
    let id = world.network.head().submissions;
    world.settled(id);
    Some((id, task, artifact))
}

/// Plays a dispute about an accepted gradient to its end. The account `challenger` opens the dispute, the account
/// `answerer` answers it (defends the gradient), and both make their moves. If `provers` has a prover for an account,
/// this prover computes the account's answers and moves. An account without a prover lets the time for its answer or
/// move run out.
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
    world.network.send(challenger, Message::OpenDispute(opening.into()));
    let dispute_id = world.network.head().disputes;
    if let Some(answer) = provers.get(&answerer).and_then(Prover::answer) {
        let (sender, answer) = (address(answerer), answer.encode());
        world.network.send(answerer, Message::AnswerDispute(MsgAnswerDispute { sender, dispute_id, answer }));
    }
    while let Some(case) = world.network.ledger.state().dispute(dispute_id) {
        let game = case.dispute.game(0).cloned();
        let mover = match game.as_ref().map(|game| game.turn()) {
            Some(Side::Miner) => answerer,
            _ => challenger,
        };
        let prover = provers.get_mut(&mover);
        // a side that has no move, or whose move is refused, waits until its time for the move is over
        let step = game.zip(prover).and_then(|(game, prover)| block_on(prover.next(&game)).ok().flatten());
        let Some(step) = step else {
            world.until(|network| network.ledger.state().dispute(dispute_id).is_none());
            return;
        };
        let (sender, step) = (address(mover), step.encode());
        let step = Message::MoveDispute(MsgMoveDispute { sender, dispute_id, answer: 0, step });
        if world.network.send(mover, step).0 != 0 {
            world.until(|network| network.ledger.state().dispute(dispute_id).is_none());
        }
    }
}

/// Simulates a miner that forges every gradient and defends the forged gradients in disputes, and a watcher that
/// disputes every accepted one. Prints what each of the two earns per task.
pub(super) fn forges_and_defends() {
    let job = SmallJob::new(7);
    let mut world = World::new(job.genesis(network_genesis()));
    world.network.stake(MINER, NETWORK.min_stake);
    let before = [MINER, WATCHER].map(|number| world.wealth(number));
    let mut watched = 0;
    for _ in 0..TASKS {
        let Some(forged) = mine(&mut world, &job, true) else { continue };
        if world.network.status(forged.0) == SubmissionStatus::Accepted {
            // the task is run once to recompute the gradient, and twice more for the dispute
            watched += 3;
            let provers =
                [(MINER, block_on(job.prover(&forged.1, true))), (WATCHER, block_on(job.prover(&forged.1, false)))];
            dispute(&mut world, &job, &forged, WATCHER, MINER, &mut provers.into());
        }
    }
    let reputation = world.network.ledger.state().reputation(&address(MINER));
    let earned = world.wealth(MINER) - before[0];
    let row = |earned: i64| format!("{:+.3}", per_task(earned, TASKS));
    println!(
        "| forges all and defends them, with a stake | {} | {} | {} |",
        reputation.accepted,
        reputation.rejected,
        row(earned)
    );
    let earned = world.wealth(WATCHER) - before[1] - watched * COST;
    println!("| watcher: disputes a miner's forged gradients | | | {} |", row(earned));
}

/// Simulates an honest miner, a griefer that disputes all gradients of the miner, and a watcher that defends these
/// gradients. Prints what each of the three earns per task.
pub(super) fn griefs() {
    let job = SmallJob::new(7);
    let mut world = World::new(job.genesis(network_genesis()));
    let before = [MINER, GRIEFER, WATCHER].map(|number| world.wealth(number));
    for _ in 0..TASKS {
        let Some(right) = mine(&mut world, &job, false) else { continue };
        let provers =
            [(WATCHER, block_on(job.prover(&right.1, false))), (GRIEFER, block_on(job.prover(&right.1, true)))];
        dispute(&mut world, &job, &right, GRIEFER, WATCHER, &mut provers.into());
        world.until(|network| network.head().full_since.is_none());
    }
    let reputation = world.network.ledger.state().reputation(&address(MINER));
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
    println!("| watcher: defends correct gradients in disputes | | | {} |", rows[2]);
    assert!(world.wealth(GRIEFER) < COINS as i64, "griefing never pays");
}
