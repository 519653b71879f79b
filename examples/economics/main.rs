//! Simulates strategies of miners, verifiers and challengers with the actual ledger code, and prints what each strategy
//! earns. The parameters are those of `LedgerParams::NETWORK`, but without fees and without a beacon.
//!
//! Every transaction is signed and executed. Gradients are computed only for the strategies with disputes. For all
//! other strategies, a hash stands for the gradient: an honest miner submits the hash that honest verifiers expect, and
//! a forger submits another one.

mod games;

use r3mes_wgpu::{
    ledger::{Finding, Genesis, SubmissionStatus},
    protocol::{Commitment, Task},
    simulation::{NETWORK, Network, address, genesis, honest, honest_finding, wrong},
    tx::Message,
};
use std::collections::BTreeMap;

/// The number of tasks in the simulation of each strategy without disputes: 43 full rounds of 7 tasks. The number is a
/// multiple of 7, so that the last round also closes and pays its rewards if all gradients are accepted.
const TASKS: u32 = 301;
/// The assumed cost of computing one gradient, in micro-units: 60 % of the reward.
const COST: i64 = 600_000;
/// Account indexes of the five operators. Each is a verifier and a proposer.
const VERIFIERS: [u8; 5] = [201, 202, 203, 204, 205];

/// A simulated network, and what its verifiers know about the gradients.
struct World {
    network: Network,
    /// The number of gradients that the first verifier has attested. This verifier has also recomputed each of these
    /// gradients once, except in the simulation of a lazy verifier, which attests without recomputing.
    recomputed: i64,
    /// Says for the commitment of a gradient whether the gradient is correct. Contains only gradients that were
    /// computed: in most simulations, a miner computes no gradient and submits a hash instead.
    rights: BTreeMap<Commitment, bool>,
}

/// Returns the genesis from which every simulation starts.
fn network_genesis() -> Genesis {
    let nodes = VERIFIERS.map(|number| (number, 10 * NETWORK.min_stake));
    genesis(7, NETWORK, &nodes)
}

impl World {
    fn new(genesis: Genesis) -> Self {
        Self { network: Network::new(genesis), recomputed: 0, rights: BTreeMap::new() }
    }

    /// Makes a miner claim a task and submit a gradient. Then applies blocks until the gradient is accepted or rejected
    /// and, if the round is full, until the round has been aggregated. Does nothing if no task can be claimed.
    fn mine(&mut self, number: u8, commitment: impl Fn(&Task) -> Commitment) {
        let Some(position) = self.network.next_free() else { return };
        if self.network.send(number, self.network.claim(number, position)).0 != 0 {
            return;
        }
        let message = self.network.submission(number, commitment);
        self.network.send(number, Message::SubmitGradient(Box::new(message)));
        self.settled(self.network.head().submissions);
        self.until(|network| network.head().full_since.is_none());
    }

    /// Applies blocks until the ledger has decided about the submission with the ID `id`: it is accepted, settled
    /// (finally accepted), rejected or voided.
    fn settled(&mut self, id: u64) {
        use SubmissionStatus::{Challenged, Disputed, Pending};
        self.until(|network| !matches!(network.status(id), Pending | Challenged(_) | Disputed));
    }

    /// Applies blocks until `done` returns true. Panics after 10,000 blocks.
    fn until(&mut self, done: impl Fn(&Network) -> bool) {
        for _ in 0..10_000 {
            if done(&self.network) {
                return;
            }
            self.serve();
        }
        unreachable!("the condition must hold within 10,000 blocks");
    }

    /// Applies one block with all messages that the verifiers and proposers have to send now.
    fn serve(&mut self) {
        let find = |number: u8, task: &Task, claimed: Commitment| match self.rights.get(&claimed) {
            _ if self.network.guessing.contains(&number) => Finding::Match,
            Some(true) => Finding::Match,
            Some(false) => Finding::Mismatch,
            None => honest_finding(number, task, claimed),
        };
        let own = self.network.pending_messages(VERIFIERS[0], &find);
        self.recomputed += own.iter().filter(|message| matches!(message, Message::CommitAttestation(_))).count() as i64;
        let txs = self.network.pending_txs(&VERIFIERS, &find);
        self.network.block(txs);
    }

    /// Returns the sum of the account's balance, stake and escrow, in micro-units.
    fn wealth(&self, number: u8) -> i64 {
        let (state, address) = (self.network.ledger.state(), address(number));
        let stake = state.node(&address).map_or(0, |node| node.stake);
        (state.account_of(&address).balance + stake + state.reputation(&address).escrow) as i64
    }
}

/// Simulates a miner and prints what it earns per task, minus the cost of the gradients that it computes. `forges`
/// returns whether the miner forges the gradient of the task with the given index. Forged gradients cost nothing.
fn miner(name: &str, staked: bool, forges: fn(u32) -> bool) {
    let mut world = World::new(network_genesis());
    if staked {
        world.network.stake(1, NETWORK.min_stake);
    }
    let (before, mut cost) = (world.wealth(1), 0);
    for task in 0..TASKS {
        let forge = forges(task);
        world.mine(1, if forge { wrong } else { honest });
        cost += if forge { 0 } else { COST };
    }
    let earned = world.wealth(1) - before - cost;
    let reputation = world.network.ledger.state().reputation(&address(1));
    println!("| {name} | {} | {} | {:+.3} |", reputation.accepted, reputation.rejected, per_task(earned, TASKS));
}

/// Simulates an honest miner, and prints the average net income of one verifier per task of this miner: the verifier's
/// rewards minus the cost of the gradients that it recomputes. If `lazy` is true, the verifier recomputes no gradient
/// and attests that every gradient is correct.
fn verifier(name: &str, lazy: bool) {
    let mut world = World::new(network_genesis());
    if lazy {
        world.network.guessing.push(VERIFIERS[0]);
    }
    let before = world.wealth(VERIFIERS[0]);
    for _ in 0..TASKS {
        world.mine(1, honest);
    }
    let cost = if lazy { 0 } else { world.recomputed * COST };
    let earned = world.wealth(VERIFIERS[0]) - before - cost;
    println!("| {name} | | | {:+.3} |", per_task(earned, TASKS));
}

fn per_task(amount: i64, tasks: u32) -> f64 {
    amount as f64 / 1e6 / f64::from(tasks)
}

fn main() {
    println!(
        "{TASKS} tasks for each strategy without disputes. A task pays 1; computing its gradient costs {}.\n",
        COST as f64 / 1e6
    );
    println!("| strategy | gradients accepted | gradients rejected | net earnings per task |\n|---|---|---|---|");
    miner("honest, with a stake", true, |_| false);
    miner("honest, without a stake", false, |_| false);
    miner("forges all, with a stake", true, |_| true);
    miner("forges all, without a stake", false, |_| true);
    miner("forges every tenth, with a stake", true, |task| task.is_multiple_of(10));
    miner("forges every tenth, without a stake", false, |task| task.is_multiple_of(10));
    miner("honest for 32 tasks, then forges, without a stake", false, |task| task >= 32);
    verifier("verifies", false);
    verifier("attests \"match\" without recomputing", true);
    games::forges_and_defends();
    games::griefs();
}
