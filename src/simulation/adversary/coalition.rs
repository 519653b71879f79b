//! The coalition of a simulation: all dishonest accounts. They follow a common strategy, and share the results of their
//! computations.

use super::{
    gradient::{TraceProver, leaf},
    honest::{next_adapter, submission},
    strategy::Strategy,
    world::{OPERATOR_STAKE, OPERATORS, Served, Submitted, TX_BYTES, World},
};
use crate::{
    dispute::judge::Role,
    ledger::{Aggregation, Applied, Assignment, BeaconDuty, ChallengeStage, Event},
    protocol::{CHUNK_TOKENS, Commitment, merkle_root},
    store::{Cid, Codec},
    tx::{
        MAX_TX_BYTES, Message, MsgAnswerDispute, MsgAppeal, MsgClaimTask, MsgCommitAggregation, MsgCommitAttestation,
        MsgMoveDispute, MsgOpenDispute, MsgRevealAggregation, MsgRevealAttestation, MsgRevealBeacon,
        MsgSubmitCPUVerification, MsgUnregisterNode, Transfer,
    },
};
use data_encoding::HEXLOWER;
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

    fn mine(&mut self, world: &mut World) {
        let (pace, joined, leave) =
            (self.strategy.get("pace"), self.strategy.get("join"), self.strategy.number("leave"));
        let later = world.ledger.at(world.ledger.state().head().time + 1);
        let free = later.state().available().filter(|position| !self.used.contains(position));
        let free: Vec<u64> = free.take(self.miners.len()).collect();
        let (mut free, height) = (free.into_iter(), world.height());
        let pause = if joined == "one" { 1 } else { 2 };
        let mut budget = self.tasks.saturating_sub(self.submitted);
        for at in 0..self.miners.len() {
            let Miner { address, since, claimed_at, open, .. } = &self.miners[at];
            let address = address.clone();
            let may_leave = !self.miners[at].has_left || self.strategy.get("leaves") == "always";
            if leave > 0 && *since >= leave && may_leave {
                let state = world.ledger.state();
                if state.reputation(&address).escrow == 0 && state.node(&address).is_none() {
                    self.miners[at].since = 0;
                    self.miners[at].has_left = true;
                } else if open.is_empty() {
                    let leaves = MsgUnregisterNode { node_address: address.clone() };
                    send(world, &address, vec![Message::UnregisterNode(leaves)]);
                }
                continue;
            }
            if world.ledger.state().holds_claim(&address) {
                if let Some(message) = self.submission(world, at, None) {
                    send(world, &address, vec![message]);
                }
                budget = budget.saturating_sub(1);
                continue;
            }
            let is_waiting =
                (pace == "decided" && !open.is_empty()) || (*claimed_at > 0 && height < claimed_at + pause);
            if is_waiting || budget == 0 {
                continue;
            }
            let Some(chunk_id) = free.next() else { break };
            budget -= 1;
            self.used.insert(chunk_id);
            let claim = Message::ClaimTask(MsgClaimTask { miner: address.clone(), pool_id: 0, chunk_id });
            self.miners[at].claimed_at = height;
            let submission = if joined == "one" { self.submission(world, at, Some(chunk_id)) } else { None };
            send(world, &address, [claim].into_iter().chain(submission).collect());
        }
    }

    /// Returns the message in which the miner with the index `at` submits a gradient. If `position` is given, the
    /// gradient is for the chunk slot (the ledger's entry for one chunk) at this position, and the miner claims the
    /// slot in the same transaction. If `position` is `None`, the gradient is for the chunk slot that the miner has
    /// already claimed. Returns `None` if the slot does not exist, or if the miner has claimed no slot.
    fn submission(&self, world: &mut World, at: usize, position: Option<u64>) -> Option<Message> {
        let Miner { address, submissions, .. } = &self.miners[at];
        let task = match position {
            Some(position) => world.ledger.task(position, address).ok()?,
            None => world.ledger.held(address).ok()??.task,
        };
        let later = submissions.checked_sub(self.strategy.number("count"));
        let work = match later {
            None => self.strategy.get("first"),
            Some(later) if later.is_multiple_of(self.strategy.number("every")) => self.strategy.get("then"),
            Some(_) => "honest",
        };
        let gradients = world.gradients.of(&task);
        let withheld = Served {
            operators: u8::from_str_radix(self.strategy.get("serve"), 2).unwrap_or_default(),
            to_all_from: match self.strategy.number("after") {
                0 => u64::MAX,
                blocks => world.height() + blocks,
            },
            manifest: self.strategy.get("manifest") == "yes",
            busy: self.strategy.get("absence") == "busy",
        };
        let (version, served) = match work {
            "honest" => (&gradients.right, Served::ALL),
            "forged" => (&gradients.wrong, Served::ALL),
            "withheld" => (&gradients.right, withheld),
            "hidden" => (&gradients.wrong, withheld),
            _ => {
                let commitment = Commitment::new(&task, &[9; 32]);
                let nothing = Codec::DagCbor.cid(&commitment.0);
                return Some(Message::SubmitGradient(Box::new(submission(
                    &world.ledger,
                    address,
                    nothing,
                    commitment,
                ))));
            }
        };
        world.served.insert(version.root, served);
        Some(Message::SubmitGradient(Box::new(submission(&world.ledger, address, version.root, version.commitment))))
    }

    /// Reveals secret numbers of the coalition's validators, from which the beacon computes its random value. The
    /// strategy determines whether the coalition reveals all of its numbers, none, or the ones that lead to the random
    /// value that is best for the coalition.
    fn reveal(&mut self, world: &mut World) {
        let when = self.strategy.get("beacon");
        let state = world.ledger.state();
        let duties = self.nodes.iter().filter_map(|node| Some((node.clone(), world.ledger.beacon_duty(node)?)));
        let message = |(validator, BeaconDuty { epoch, reveals }): (String, BeaconDuty)| {
            let number = |epoch: u64| [validator.as_bytes(), &epoch.to_le_bytes(), &[0; 24]].concat()[..32].to_vec();
            let next = MsgRevealBeacon::commitment(&validator, &number(epoch + 1)).to_vec();
            let number = if reveals { number(epoch) } else { Vec::new() };
            (validator.clone(), Message::RevealBeacon(MsgRevealBeacon { validator, epoch, number, next }))
        };
        let mut messages: Vec<(String, Message)> = duties.map(message).collect();
        let left =
            world.ledger.genesis().params.epoch_blocks.saturating_sub(state.head().clock - state.head().beacon.since);
        if messages.is_empty() || when == "silent" || (when == "choose" && left > 1) {
            return;
        }
        if when == "choose" {
            // the first candidate withholds no number
            let candidates = (0..1u32 << messages.len().min(4)).rev();
            let chosen = |set: u32| messages.iter().enumerate().filter(move |(at, _)| *at >= 4 || set >> at & 1 == 1);
            let value = |set: &u32| {
                let txs = chosen(*set).map(|(_, message)| message.clone()).collect();
                std::cmp::Reverse(self.score(&world.foresee(txs)))
            };
            if let Some(best) = candidates.min_by_key(value) {
                messages = chosen(best).map(|(_, message)| message.clone()).collect();
            }
        }
        for (node, message) in messages {
            send(world, &node, vec![message]);
        }
    }

    /// Sends the attestations and votes of all the coalition's verifiers.
    fn verify(&mut self, world: &mut World) {
        for node in self.nodes.clone() {
            let duties = world.ledger.assignments(&node);
            for duty in duties.into_iter().filter(|duty| !duty.done) {
                if let Some(message) = self.statement(world, &node, &duty) {
                    send(world, &node, vec![message]);
                }
            }
        }
    }

    fn statement(&mut self, world: &mut World, verifier: &str, duty: &Assignment) -> Option<Message> {
        let Assignment { challenge: challenge_id, stage, selector, id, submission, .. } = duty;
        let is_own = self.addresses.contains(&submission.miner);
        let finding = self.strategy.get(match (is_own, *stage == ChallengeStage::Panel) {
            (true, false) => "own",
            (false, false) => "others",
            (true, true) => "vote",
            (false, true) => "against",
        });
        let result = match finding {
            "honest" => {
                self.computed.insert(world.submitted.get(id)?.task);
                if world.submitted.get(id)?.right { "match" } else { "mismatch" }
            }
            "silent" => return None,
            fixed => fixed,
        };
        let task = world.ledger.task_of(submission).ok()?;
        let leaf = match self.computed.contains(&world.submitted.get(id)?.task) {
            true => HEXLOWER.encode(&leaf(&task, selector)),
            false => "guess".to_owned(),
        };
        let (verifier, claimed) = (verifier.to_owned(), submission.commitment.to_string());
        let gradient_hash = match result {
            "match" => claimed.clone(),
            "mismatch" => Commitment::new(&task, &[8; 32]).to_string(),
            _ => String::new(),
        };
        if *stage == ChallengeStage::Panel {
            return Some(Message::Arbitrate(MsgSubmitCPUVerification {
                validator: verifier,
                challenge_id: *challenge_id,
                is_valid: result == "match",
                computed_hash: gradient_hash,
                expected_hash: claimed,
                leaf,
            }));
        }
        let salt = vec![7; 8];
        let result = result.to_owned();
        let reveal = MsgRevealAttestation { verifier, challenge_id: *challenge_id, result, gradient_hash, leaf, salt };
        Some(match stage {
            ChallengeStage::Commit => Message::CommitAttestation(MsgCommitAttestation {
                verifier: reveal.verifier.clone(),
                challenge_id: *challenge_id,
                commitment: reveal.commitment().to_vec(),
            }),
            _ => Message::RevealAttestation(Box::new(reveal)),
        })
    }

    /// Sends the messages by which the coalition's proposers commit to aggregates and reveal them.
    fn propose(&mut self, world: &mut World) {
        let what = self.strategy.get("propose");
        if what == "silent" {
            return;
        }
        for node in self.nodes.clone() {
            let Some(job) = world.ledger.aggregation(&node) else { return };
            let Aggregation { round, adapter, gradients, own, .. } = job;
            if own.as_ref().is_some_and(|(_, proposal)| proposal.adapter.is_some()) {
                continue;
            }
            let is_summed = |miner: &str| what != "empty" && (what != "partial" || self.addresses.contains(miner));
            let summed = gradients.iter().filter(|(_, submission)| is_summed(&submission.miner));
            let summed: Vec<_> = summed.map(|(id, submission)| (*id, submission)).collect();
            let artifacts: Vec<Cid> = summed.iter().map(|(_, submission)| submission.artifact).collect();
            let commitments: Vec<[u8; 32]> = summed.iter().map(|(_, submission)| submission.commitment.0).collect();
            let ids: Vec<u64> = summed.iter().map(|(id, _)| *id).collect();
            let next = match what {
                "other" => Codec::DagCbor.cid(b"another adapter"),
                _ => next_adapter(&adapter, &artifacts).expect("a small block").cid(),
            };
            if what != "other" {
                world.adapters.insert(next);
            }
            let reveal = MsgRevealAggregation {
                proposer: node.clone(),
                commitment_id: own.as_ref().map_or(0, |(id, _)| *id),
                adapter: next.to_string(),
                layout_root: HEXLOWER.encode(&[0; 32]),
                merkle_root: HEXLOWER.encode(&merkle_root(&commitments)),
                gradient_ids: ids.clone(),
                training_round_id: round,
                model_version: world.ledger.genesis().job.model.to_string(),
                salt: vec![7; 8],
            };
            let message = match own {
                Some(_) => Message::RevealAggregation(Box::new(reveal)),
                None => Message::CommitAggregation(MsgCommitAggregation {
                    proposer: node.clone(),
                    commitment_hash: HEXLOWER.encode(&reveal.commitment()),
                    training_round_id: round,
                    gradient_ids: ids,
                }),
            };
            send(world, &node, vec![message]);
        }
    }

    /// Appeals, opens disputes, gives answers and makes moves in disputes, as the strategy states.
    fn dispute(&mut self, world: &mut World) {
        let Some(node) = self.nodes.first().cloned() else { return };
        let (appeal, griefs) = (self.strategy.get("appeal"), self.strategy.number("grief"));
        let defends = self.strategy.get("defend") == "yes";
        if appeal == "none" && self.disputes >= griefs && !defends {
            return;
        }
        let list = world.disputes();
        for found in list.gradients {
            let id = found.gradient.stored_gradient_id;
            let Some(Submitted { chunk, miner, right, .. }) = world.submitted.get(&id) else { continue };
            let (is_own, right) = (self.addresses.contains(miner), *right);
            let Some(manifest) = world.gradients.manifest(&found.gradient.ipfs_hash) else { continue };
            let chunk = world.gradients.block(chunk).unwrap_or_default();
            if let Some(challenge_id) = found.appealable.filter(|_| appeal == "all" || (appeal == "own" && is_own)) {
                let message = MsgAppeal { sender: node.clone(), challenge_id, chunk, manifest };
                send(world, &node, vec![Message::Appeal(message.into())]);
            } else if found.disputable && right && !is_own && self.disputes < griefs {
                self.disputes += 1;
                let message = MsgOpenDispute { challenger: node.clone(), stored_gradient_id: id, chunk, manifest };
                send(world, &node, vec![Message::OpenDispute(message.into())]);
            }
        }
        for dispute in list.disputes.into_iter().filter(|_| defends) {
            let Some(submitted) = world.submitted.get(&dispute.gradient.stored_gradient_id) else { continue };
            if !self.addresses.contains(&submitted.miner) {
                continue;
            }
            let right = submitted.right;
            let Some(gradients) = world.gradients.known(&submitted.task) else { continue };
            let prover = TraceProver::new(if right { &gradients.right } else { &gradients.wrong });
            let own = dispute.answers.iter().position(|answer| answer.sender == node);
            let message = match own {
                None if dispute.answerable => {
                    let answer = prover.answer().encode();
                    (
                        usize::MAX,
                        answer.clone(),
                        Message::AnswerDispute(MsgAnswerDispute {
                            sender: node.clone(),
                            dispute_id: dispute.dispute_id,
                            answer,
                        }),
                    )
                }
                None => continue,
                Some(number) => {
                    let Ok(game) = dispute.answers[number].game() else { continue };
                    let step =
                        prover.next(&game).filter(|step| game.winner().is_none() && step.role() != Role::Challenger);
                    let Some(step) = step.map(|step| step.encode()) else { continue };
                    let message = MsgMoveDispute {
                        sender: node.clone(),
                        dispute_id: dispute.dispute_id,
                        answer: number as u64,
                        step: step.clone(),
                    };
                    (number, step, Message::MoveDispute(message))
                }
            };
            if self.moves.insert((dispute.dispute_id, message.0, message.1)) {
                send(world, &node, vec![message.2]);
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
