//! The coalition of a simulation: all dishonest accounts. They follow a common strategy, and share the results of their
//! computations.

mod mining;
mod operating;

use super::{
    strategy::Strategy,
    world::{OPERATOR_STAKE, OPERATORS, TX_BYTES, World},
};
use crate::{
    ledger::{Applied, Event},
    protocol::CHUNK_TOKENS,
    store::Cid,
    tx::{MAX_TX_BYTES, Message, Transfer},
};
use std::collections::BTreeSet;

/// Cost of computing one gradient, in micro-units: 60 % of the reward.
pub(super) const COST: i64 = 600_000;
/// The initial balance of a dishonest miner that has coins, in micro-units.
const WALLET: u64 = 10_000_000;
/// The initial balance, in micro-units, of each account of the coalition that does not mine. These accounts are its
/// verifiers and proposers, which also have stakes, and the account that fills blocks with large transactions.
const PURSE: u64 = 100_000_000;
/// The stake, in micro-units, of each miner that has a stake.
pub(super) const MINER_STAKE: u64 = 100_000_000;

/// A miner of the coalition: its address, and what it has claimed and submitted.
#[derive(Default)]
struct Miner {
    address: String,
    submissions: u64,
    /// The number of submissions since the address last unregistered as a miner, or of all submissions if it never did.
    since: u64,
    /// Height at which the address last sent a claim.
    claimed_at: u64,
    /// IDs of the gradients that this address has submitted and that are not yet accepted, rejected or void.
    open: BTreeSet<u64>,
    has_left: bool,
}

pub(super) struct Coalition {
    strategy: Strategy,
    miners: Vec<Miner>,
    /// All addresses that the coalition has used.
    pub(super) addresses: BTreeSet<String>,
    nodes: Vec<String>,
    /// CIDs of the tasks whose gradients the coalition has computed.
    pub(super) computed: BTreeSet<Cid>,
    /// The number of gradients that the coalition has submitted.
    pub(super) submitted: u64,
    /// The number of gradients that the coalition may submit.
    tasks: u64,
    /// Positions of the chunk slots (the ledger's entries for chunks) that the coalition has claimed. The coalition
    /// claims each slot only once, because the ledger refuses a second claim while the miner's earlier gradient for the
    /// slot is not settled.
    used: BTreeSet<u64>,
    disputes: u64,
    stuffed: bool,
    moves: BTreeSet<(u64, usize, Vec<u8>)>,
}

impl Coalition {
    pub(super) fn new(strategy: &Strategy, tasks: u64) -> Self {
        let miner = |number| Miner { address: format!("miner{number}"), ..Miner::default() };
        let miners: Vec<Miner> = (0..strategy.number("miners")).map(miner).collect();
        let nodes: Vec<String> = match strategy.number("coins") {
            0 => Vec::new(),
            // a stake of less than the minimum is refused
            coins => (0..strategy.number("nodes").min(coins / 100)).map(|number| format!("node{number}")).collect(),
        };
        let addresses = miners.iter().map(|miner| miner.address.clone()).chain(nodes.iter().cloned());
        Self {
            strategy: strategy.clone(),
            addresses: addresses.chain(["stuffer".to_owned()]).collect(),
            miners,
            nodes,
            computed: BTreeSet::new(),
            submitted: 0,
            tasks,
            used: BTreeSet::new(),
            disputes: 0,
            stuffed: false,
            moves: BTreeSet::new(),
        }
    }

    /// Returns the coalition's stakes in micro-units, by address: first those of its verifiers and proposers, then
    /// those of its miners.
    pub(super) fn stakes(&self) -> [Vec<(String, u64)>; 2] {
        let each = 1_000_000 * self.strategy.number("coins") / self.nodes.len().max(1) as u64;
        let staked = self.miners.iter().filter(|_| self.strategy.get("wallet") == "stake");
        [
            self.nodes.iter().map(|node| (node.clone(), each)).collect(),
            staked.map(|miner| (miner.address.clone(), MINER_STAKE)).collect(),
        ]
    }

    /// Returns the initial balances of the coalition's addresses, in micro-units.
    pub(super) fn balances(&self) -> Vec<(String, u64)> {
        let coins = match self.strategy.get("wallet") {
            "coins" | "stake" => WALLET,
            _ => 0,
        };
        let miners = self.miners.iter().map(|miner| (miner.address.clone(), coins));
        let nodes = self.nodes.iter().cloned().chain(["stuffer".to_owned()]);
        miners.chain(nodes.map(|node| (node, PURSE))).collect()
    }

    /// Returns the coalition's share of the stake of all verifiers and proposers, from 0 to 1. The coalition proposes
    /// the same share of the blocks.
    pub(super) fn share(&self) -> f64 {
        let own = 1e6 * self.strategy.number("coins") as f64;
        own / (own + (OPERATORS as u64 * OPERATOR_STAKE) as f64)
    }

    /// Returns whether the coalition has submitted as many gradients as it may submit.
    pub(super) fn is_done(&self) -> bool {
        self.submitted >= self.tasks
    }

    /// Evaluates the events of the last block, and sends the coalition's transactions for the next one.
    pub(super) fn act(&mut self, world: &mut World) {
        self.learn(world);
        self.stuff(world);
        if world.has_pending_of_coalition() {
            return;
        }
        self.reveal(world);
        self.verify(world);
        self.propose(world);
        self.dispute(world);
        self.mine(world);
    }

    fn learn(&mut self, world: &World) {
        for event in &world.events {
            match event {
                Event::Submitted { id, miner, .. } => {
                    let Some(own) = self.miners.iter_mut().find(|own| own.address == *miner) else { continue };
                    own.submissions += 1;
                    own.since += 1;
                    own.open.insert(*id);
                    self.submitted += 1;
                    let submitted = &world.submitted[id];
                    if submitted.right {
                        self.computed.insert(submitted.task);
                    }
                    if self.strategy.get("wallet") == "fresh" {
                        own.address = format!("fresh{}", self.submitted);
                        (own.submissions, own.since) = (0, 0);
                        own.claimed_at = 0;
                        own.open.clear();
                        self.addresses.insert(own.address.clone());
                    }
                }
                Event::Accepted { id, miner, .. } | Event::Rejected { id, miner, .. } | Event::Voided { id, miner } => {
                    if let Some(own) = self.miners.iter_mut().find(|own| own.address == *miner) {
                        own.open.remove(id);
                    }
                }
                _ => {}
            }
        }
    }

    /// Fills the mempool with large transactions at the time that the strategy states, so that blocks have no room for
    /// other transactions.
    fn stuff(&mut self, world: &mut World) {
        let blocks = self.strategy.number("stuff");
        let sampled = |event: &Event| matches!(event, Event::Sampled { .. });
        let is_time = match self.strategy.get("when") {
            "sampled" => world.events.iter().any(sampled),
            _ => {
                let full = world.ledger.state().head().full_since;
                let head = world.ledger.state().head();
                full.is_some_and(|since| since + world.ledger.genesis().params.challenge_blocks <= head.clock + 1)
            }
        };
        if blocks == 0 || !is_time || self.stuffed {
            self.stuffed &= !world.mempool_is_empty();
            return;
        }
        self.stuffed = true;
        for _ in 0..blocks * ((1 << 20) / MAX_TX_BYTES as u64) {
            let address = "stuffer".to_owned();
            let nothing = Transfer { from: address.clone(), to: address.clone(), amount: 0 };
            if world.send(&address, vec![Message::Send(nothing)], MAX_TX_BYTES, true).is_err() {
                return;
            }
        }
    }

    /// Rates a block by its events: how many of the coalition's gradients it accepts, and how many of the coalition's
    /// verifiers it samples. A higher result is better for the coalition.
    pub(super) fn score(&self, applied: &Applied) -> i64 {
        let value = |event: &Event| match event {
            Event::Accepted { miner, .. } if self.addresses.contains(miner) => 3,
            Event::Sampled { verifiers, .. } => {
                verifiers.iter().filter(|verifier| self.addresses.contains(*verifier)).count() as i64
            }
            _ => 0,
        };
        applied.events.iter().map(value).sum()
    }
}

fn send(world: &mut World, signer: &str, messages: Vec<Message>) {
    let large = messages.iter().any(|message| matches!(message, Message::OpenDispute(_) | Message::Appeal(_)));
    let bytes = TX_BYTES + if large { 4 * CHUNK_TOKENS } else { 0 };
    // an error means that the mempool is full; the coalition tries again in the next block
    let _ = world.send(signer, messages, bytes, true);
}
