//! A search for strategies with which a coalition of dishonest accounts earns more than by honest work, or harms
//! others.
//!
//! A *game* is one simulation. It runs a whole network in this process: the ledger, five honest operators (the agents
//! of [`crate::agents`]), three honest miners, and a coalition that follows a [`Strategy`]. The coalition may consist
//! of miners, verifiers and proposers, and it decides who can fetch its artifacts. No gradient is computed and no
//! transaction is signed. Games are deterministic: the same conditions, strategy and seed yield the same [`Outcome`].
//!
//! Simplifications: computations and transfers take no time, the nodes do not copy artifacts from each other, and the
//! coalition does not keep the transactions of others out of the blocks that it proposes.

mod coalition;
mod gradient;
mod honest;
mod search;
mod strategy;
#[cfg(test)]
mod tests;
mod world;

pub use search::{OBJECTIVES, Objective, Search};
pub use strategy::Strategy;
pub use world::Random;

use crate::ledger::{Event, LedgerParams, SubmissionStatus};
use coalition::{COST, Coalition, MINER_STAKE};
use std::{
    cell::RefCell,
    collections::BTreeMap,
    rc::Rc,
    task::{Context, Waker},
};
use world::{OPERATORS, World};

/// The chain counts as halted if no round has ended for `STALL` times `challenge_blocks + epoch_blocks · quota` blocks.
/// An accepted gradient can be disputed for `challenge_blocks` blocks, an epoch of the beacon has at least
/// `epoch_blocks` blocks, and a round has `quota` gradients.
const STALL: u64 = 8;
/// The number of rounds without a submission by the coalition after which a simulation ends.
const IDLE_ROUNDS: u64 = 8;
/// The largest number of blocks that are applied at once while no transaction is pending. Miners and the coalition can
/// react only before and after these blocks.
const SKIPPED_BLOCKS: u64 = 20;
/// The number of honest miners. The first one has no coins; the others have a stake.
const MINERS: usize = 3;

/// The conditions of a simulation that do not depend on the strategy of the dishonest coalition.
#[derive(Clone, Debug)]
pub struct Conditions {
    /// The number of gradients in a round.
    pub quota: u32,
    /// The number of gradients that the dishonest coalition may submit.
    pub tasks: u64,
    /// The parameters of the ledger.
    pub params: LedgerParams,
}

impl Conditions {
    /// Returns the same conditions with all deadlines divided by `factor`, so that a simulation takes fewer blocks.
    pub fn shortened(self, factor: u64) -> Self {
        let LedgerParams { epoch_blocks, attestation_blocks, decision_blocks, challenge_blocks, .. } = self.params;
        let LedgerParams { move_blocks, quarantine_blocks, unbonding_blocks, .. } = self.params;
        let params = LedgerParams {
            epoch_blocks: epoch_blocks / factor,
            attestation_blocks: attestation_blocks / factor,
            decision_blocks: decision_blocks / factor,
            challenge_blocks: challenge_blocks / factor,
            move_blocks: move_blocks / factor,
            quarantine_blocks: quarantine_blocks / factor,
            unbonding_blocks: unbonding_blocks / factor,
            ..self.params
        };
        Self { params, ..self }
    }
}

/// The result of a simulation in which a coalition of dishonest accounts follows a strategy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The dishonest coalition's profit for each gradient that it submitted, in units of the reward for a gradient. The
    /// profit is what the coalition earned, minus the cost of the gradients that it computed.
    pub profit: f64,
    /// What honest parties lost: slashed stakes, lost bonds of disputes, and the rewards of correct gradients that were
    /// rejected, in units of the reward for a gradient.
    pub loss: f64,
    /// The amount of coins minted for each correct gradient that was accepted and not rejected later, in units of the
    /// reward for a gradient.
    pub supply: f64,
    /// The number of blocks in the simulation.
    pub blocks: u64,
    /// The number of rounds that ended.
    pub rounds: u64,
    /// The number of rounds that ended with a wrong adapter: it was not computed from gradients, or the sum of the
    /// gradients lacked correct gradients of honest miners.
    pub captured: u64,
    /// Whether the chain came to a halt: rounds no longer end.
    pub halted: bool,
    /// The numbers of correct and of wrong gradients, in this order, that were accepted and not rejected later.
    pub kept: [u64; 2],
    /// The number of gradients that the dishonest coalition submitted.
    pub submitted: u64,
    /// The number of gradients, of all miners, that were settled: they can no longer be rejected. The coalition's
    /// verifiers are paid for settled gradients.
    pub settled: u64,
}

impl Outcome {
    /// Returns how much more the coalition earned for each gradient that it submitted than honest accounts would have
    /// earned, in units of the reward for a gradient. `honest` is the outcome of a simulation with honest accounts
    /// instead of the coalition.
    ///
    /// Honest miners would have earned the reward minus the cost of computing the gradient. What honest verifiers earn
    /// for one settled gradient is computed from `honest`. This amount is multiplied by the number of gradients that
    /// were settled in the coalition's simulation, so that the coalition does not gain merely because more gradients
    /// were settled.
    fn gain(&self, honest: &Self) -> f64 {
        let own = 1.0 - COST as f64 / 1e6;
        let per_gradient = (honest.profit - own) * honest.submitted as f64 / honest.settled.max(1) as f64;
        self.profit - own - per_gradient * self.settled as f64 / self.submitted.max(1) as f64
    }
}

/// Runs one simulation in which a coalition follows `strategy`, and returns its outcome. `seed` determines all random
/// values.
pub fn play(conditions: &Conditions, strategy: &Strategy, seed: u64) -> Outcome {
    let mut coalition = Coalition::new(strategy, conditions.tasks);
    let miner = |number: usize| format!("honest{number}");
    let [nodes, mut miners] = coalition.stakes();
    miners.extend((1..MINERS).map(|number| (miner(number), MINER_STAKE)));
    let mut accounts = coalition.balances();
    accounts.extend((1..MINERS).map(|number| (miner(number), MINER_STAKE)));
    let world = World::new(conditions.quota, &conditions.params, seed, [nodes, miners], &accounts);
    let reward = conditions.params.reward as f64;
    let minted = world.ledger.state().head().minted;
    let before = wealth(&world, &coalition);
    let world = Rc::new(RefCell::new(world));
    let operators = (0..OPERATORS).map(|number| honest::run_operator(&world, number));
    let miners = (0..MINERS).map(|number| honest::run_miner(&world, miner(number)));
    let mut lives: Vec<honest::Life> = operators.chain(miners).collect();
    let threshold = (coalition.share() * 4_294_967_296.0) as u64;
    let candidates = strategy.number("grind");
    let LedgerParams { challenge_blocks, epoch_blocks, .. } = conditions.params;
    let stall_blocks = STALL * (challenge_blocks + epoch_blocks * u64::from(conditions.quota));
    let (mut tally, mut round_began, mut last_round) = (Tally::default(), 0, None);
    // the round in which the coalition last submitted a gradient, and how many gradients it had submitted by then
    let mut active = (0, 0);
    loop {
        let height = world.borrow().height();
        coalition.act(&mut world.borrow_mut());
        let mut context = Context::from_waker(Waker::noop());
        for life in &mut lives {
            // the future of an honest party never completes
            let _ = life.as_mut().poll(&mut context);
        }
        let mut world = world.borrow_mut();
        let is_idle = world.mempool_is_empty() && world.events.is_empty();
        let by_coalition = world.random.below(1 << 32) < threshold;
        world.block(by_coalition, candidates, |applied| coalition.score(applied));
        tally.add(&world);
        if is_idle && world.events.is_empty() {
            let full = world.ledger.state().head().full_since;
            let head = world.ledger.state().head();
            let waits =
                full.is_some_and(|since| since + conditions.params.challenge_blocks > head.clock + SKIPPED_BLOCKS);
            world.skip(if waits { SKIPPED_BLOCKS } else { 3 });
            tally.add(&world);
        }
        let round = world.ledger.state().head().round;
        if world.events.iter().any(|event| matches!(event, Event::RoundClosed { .. })) {
            round_began = height;
        }
        if coalition.submitted > active.1 {
            active = (round, coalition.submitted);
        }
        if (coalition.is_done() || round > active.0 + IDLE_ROUNDS) && last_round.is_none() {
            last_round = Some(round);
        }
        tally.outcome.halted = height > round_began + stall_blocks;
        let is_over = last_round.is_some_and(|last| round > last && is_settled(&world, &coalition));
        if is_over || tally.outcome.halted {
            tally.outcome.blocks = height;
            break;
        }
    }
    let world = world.borrow();
    let mut outcome = tally.outcome;
    let cost = COST * coalition.computed.len() as i64;
    outcome.submitted = coalition.submitted;
    outcome.profit = (wealth(&world, &coalition) - before - cost) as f64 / reward / coalition.submitted.max(1) as f64;
    for submitted in world.submitted.values().filter(|submitted| submitted.accepted) {
        outcome.kept[usize::from(!submitted.right)] += 1;
    }
    let minted = world.ledger.state().head().minted - minted;
    outcome.supply = minted as f64 / reward / outcome.kept[0].max(1) as f64;
    outcome.loss = tally.lost as f64 / reward;
    outcome
}

fn wealth(world: &World, coalition: &Coalition) -> i64 {
    coalition.addresses.iter().map(|address| world.ledger.state().wealth(address) as i64).sum()
}

/// Returns whether all gradients of the coalition are settled, rejected or voided, and no dispute is open.
fn is_settled(world: &World, coalition: &Coalition) -> bool {
    use SubmissionStatus::{Accepted, Challenged, Disputed, Pending};
    let is_open = |id: &u64| {
        let submission = world.ledger.state().submission(*id);
        submission.is_some_and(|own| matches!(own.status, Pending | Challenged(_) | Accepted | Disputed))
    };
    let mut own = world.submitted.iter().filter(|(_, submitted)| coalition.addresses.contains(&submitted.miner));
    !own.any(|(id, _)| is_open(id)) && world.ledger.disputes().next().is_none()
}

/// Totals that are computed from the events of a simulation.
#[derive(Default)]
struct Tally {
    outcome: Outcome,
    /// What honest parties have lost, in micro-units.
    lost: u64,
    /// The addresses of challengers, by the ID of the dispute.
    challengers: BTreeMap<u64, String>,
}

impl Tally {
    /// Adds the events of the last block to the totals.
    fn add(&mut self, world: &World) {
        let is_honest = |address: &String| address.starts_with("honest") || address.starts_with("operator");
        let params = &world.ledger.genesis().params;
        let mut honest_left_out = false;
        for event in &world.events {
            match event {
                Event::Slashed { node, amount } if is_honest(node) => self.lost += amount,
                Event::Rejected { id, miner, .. } if is_honest(miner) && world.submitted[id].right => {
                    self.lost += params.reward;
                    honest_left_out = true;
                }
                Event::Settled { .. } => self.outcome.settled += 1,
                Event::Disputed { dispute, challenger, .. } => {
                    self.challengers.insert(*dispute, challenger.clone());
                }
                Event::Judged { dispute, upheld: false, .. }
                    if self.challengers.get(dispute).is_some_and(is_honest) =>
                {
                    self.lost += params.dispute_bond;
                }
                Event::RoundClosed { adapter, .. } => {
                    self.outcome.rounds += 1;
                    let is_known = world.adapters.iter().any(|known| known.to_string() == *adapter);
                    self.outcome.captured += u64::from(honest_left_out || !is_known);
                }
                _ => {}
            }
        }
    }
}
