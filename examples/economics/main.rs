//! Simulates strategies of miners, verifiers and challengers with the actual ledger code and the parameters
//! `LedgerParams::NETWORK`, and prints what each strategy earns.
//!
//! Every transaction is signed and executed. Gradients are computed only for the strategies with disputes. For all
//! other strategies, a hash stands for the gradient: an honest miner submits the hash that honest verifiers expect, and
//! a forger submits another one.

mod games;

use data_encoding::HEXLOWER;
use r3mes_wgpu::{
    dispute::judge::{DisputeContext, Hash},
    ledger::{ChainBlock, ChallengeStage, Finding, Genesis, Ledger, LedgerParams, SubmissionStatus, Tx},
    protocol::{CHUNK_TOKENS, Commitment, Job, MatrixSpec, Task, TaskKind, Transport, merkle_root},
    store::Codec,
    tx::{
        Fee, Message, MsgClaimTask, MsgCommitAggregation, MsgCommitAttestation, MsgRegisterNode, MsgRevealAggregation,
        MsgRevealAttestation, MsgSubmitCPUVerification, MsgSubmitGradient, SessionKey,
    },
};
use std::{collections::BTreeMap, sync::LazyLock};

/// The number of tasks that each strategy without disputes gets.
const TASKS: u32 = 300;
/// Initial balance of each account, in micro-units.
const COINS: u64 = 1_000_000_000;
/// Cost of computing one gradient, in micro-units: 60 % of the reward.
const COST: i64 = 600_000;
/// Account indexes of the five operators. Each is a verifier and a proposer.
const VERIFIERS: [u8; 5] = [201, 202, 203, 204, 205];

fn key(number: u8) -> SessionKey {
    SessionKey::new(&[number; 32]).expect("a small number is a key")
}

/// Returns the address of the account with index `number`. The addresses of all accounts are derived once and kept,
/// because deriving them takes longer than executing a block.
fn address(number: u8) -> String {
    static ADDRESSES: LazyLock<Vec<String>> =
        LazyLock::new(|| (1..=VERIFIERS[4]).map(|number| key(number).address().to_owned()).collect());
    ADDRESSES[usize::from(number) - 1].clone()
}

/// A simulated network: its ledger, and what its verifiers know and do.
struct World {
    ledger: Ledger,
    time: u64,
    /// Account indexes of the verifiers that attest "match" without recomputing the gradient.
    lazy: Vec<u8>,
    /// The number of gradients that the first verifier has attested. Unless it is lazy, it has recomputed each of them
    /// once.
    recomputed: i64,
    /// For each gradient that was really computed: its commitment, as text, and whether the gradient is correct.
    rights: BTreeMap<String, bool>,
}

/// Returns the genesis from which every simulation starts.
fn genesis() -> Genesis {
    let matrix = |factor: &str| MatrixSpec {
        name: format!("layers.0.attention.q.{factor}"),
        rows: 4,
        columns: 6,
        exponent: -40,
    };
    let job = Job {
        arithmetic_version: 1,
        model: Codec::DagCbor.cid(b"model"),
        rank: 4,
        targets: vec!["attention.q".to_owned()],
        matrices: vec![matrix("a"), matrix("b")],
        kind: TaskKind::Gradient,
        transport: Transport::Int8,
    };
    Genesis {
        chain_id: "economics-1".to_owned(),
        params: LedgerParams::NETWORK,
        job,
        seed: [3; 32],
        quota: 7,
        adapter: Codec::DagCbor.cid(b"adapter"),
        layout_root: Hash([0; 32]),
        dispute_context: DisputeContext {
            program: Hash([0; 32]),
            run_dispatches: 1,
            encoding_dispatches: 1,
            adapter_buffers: 10,
            sequence_tokens: 2048,
            streams: Vec::new(),
        },
        chunks: (0..7u8).map(|number| Codec::Raw.cid(&[number])).collect(),
        accounts: (1..=99).map(|number| (address(number), COINS)).collect(),
        nodes: VERIFIERS
            .iter()
            .map(|number| (address(*number), 10 * LedgerParams::NETWORK.min_stake, vec![3, 4]))
            .collect(),
    }
}

impl World {
    fn new(genesis: Genesis) -> Self {
        Self {
            ledger: Ledger::new(genesis).expect("a genesis within its limits"),
            time: 0,
            lazy: Vec::new(),
            recomputed: 0,
            rights: BTreeMap::new(),
        }
    }

    fn block(&mut self, txs: Vec<Vec<u8>>) -> Vec<u32> {
        self.time += 1;
        let height = self.ledger.state().head().height + 1;
        let block = ChainBlock::new(height, self.time, self.ledger.root(), txs.into_iter().map(Tx).collect());
        let (after, applied) = self.ledger.apply(&block);
        self.ledger = after;
        applied.outcomes.iter().map(|outcome| outcome.code).collect()
    }

    fn sign(&self, number: u8, messages: &[Message]) -> Vec<u8> {
        let sequence = self.ledger.state().account_of(&address(number)).sequence;
        key(number).sign("economics-1", sequence, &Fee::default(), messages).expect("messages that can be signed")
    }

    /// Applies a block with one transaction of the account with index `number`. Returns the transaction's error code,
    /// which is 0 on success.
    fn send(&mut self, number: u8, message: Message) -> u32 {
        let tx = self.sign(number, &[message]);
        self.block(vec![tx])[0]
    }

    /// Returns the submission message for the task that a miner has claimed, or `None` if the miner has claimed none.
    fn submission(&self, number: u8, commitment: Commitment) -> Option<MsgSubmitGradient> {
        let held = self.ledger.held(&address(number)).ok()??;
        Some(MsgSubmitGradient {
            miner: address(number),
            ipfs_hash: Codec::DagCbor.cid(&commitment.0).to_string(),
            model_version: held.task.job.model.to_string(),
            training_round_id: held.round,
            shard_id: held.shard,
            gradient_hash: commitment.to_string(),
            nonce: u64::from(self.time as u32) + 1,
            global_seed: held.global_seed,
            token_count: CHUNK_TOKENS as u64,
            ..Default::default()
        })
    }

    /// Makes a miner claim a task and submit a gradient. Then applies blocks until the gradient is accepted or rejected
    /// and, if the round is full, until the round has been aggregated.
    fn mine(&mut self, number: u8, forge: bool) {
        let Some(chunk_id) = self.ledger.at(self.time + 1).state().available().next() else { return };
        self.send(number, Message::ClaimTask(MsgClaimTask { miner: address(number), pool_id: 0, chunk_id }));
        let Ok(Some(held)) = self.ledger.held(&address(number)) else { return };
        let commitment = if forge { Commitment::new(&held.task, &[8; 32]) } else { honest(&held.task) };
        let Some(message) = self.submission(number, commitment) else { return };
        self.send(number, Message::SubmitGradient(Box::new(message)));
        let id = self.ledger.state().head().submissions;
        self.until(|world| matches!(world.status(id), SubmissionStatus::Accepted | SubmissionStatus::Rejected(_)));
        self.until(|world| world.ledger.state().head().full_since.is_none());
    }

    /// Applies blocks until `done` returns true, at most 10,000.
    fn until(&mut self, done: impl Fn(&Self) -> bool) {
        for _ in 0..10_000 {
            if done(self) {
                return;
            }
            self.serve();
        }
        unreachable!("the condition must hold within 10,000 blocks");
    }

    /// Returns the status of a submission. A submission that the ledger no longer stores counts as accepted.
    fn status(&self, id: u64) -> SubmissionStatus {
        self.ledger.state().submission(id).map_or(SubmissionStatus::Accepted, |submission| submission.status)
    }

    /// Applies one block with all messages that the verifiers and proposers have to send now.
    fn serve(&mut self) {
        let mut txs = Vec::new();
        for number in VERIFIERS {
            let messages = self.pending_messages(number);
            let committed = messages.iter().filter(|message| matches!(message, Message::CommitAttestation(_))).count();
            self.recomputed += if number == VERIFIERS[0] { committed as i64 } else { 0 };
            if !messages.is_empty() {
                txs.push(self.sign(number, &messages));
            }
        }
        self.block(txs);
    }

    /// Returns the messages that the operator with account index `number` has to send now: attestations and votes as a
    /// verifier, and aggregations as a proposer.
    fn pending_messages(&self, number: u8) -> Vec<Message> {
        let verifier = address(number);
        let mut messages = Vec::new();
        for duty in self.ledger.assignments(&verifier).unwrap_or_default().into_iter().filter(|duty| !duty.done) {
            let (claimed, challenge_id) = (duty.submission.commitment, duty.challenge);
            let lazy = self.lazy.contains(&number);
            let right = self.rights.get(&claimed.to_string()).copied().unwrap_or(claimed == honest(&duty.task));
            let matches = lazy || right;
            let finding = if matches { Finding::Match } else { Finding::Mismatch };
            if duty.stage == ChallengeStage::Panel {
                messages.push(Message::Arbitrate(MsgSubmitCPUVerification {
                    validator: verifier.clone(),
                    challenge_id,
                    is_valid: matches,
                    computed_hash: if matches { claimed.to_string() } else { String::new() },
                    expected_hash: claimed.to_string(),
                    leaf: if lazy { "guess" } else { "leaf" }.to_owned(),
                }));
                continue;
            }
            let reveal = MsgRevealAttestation {
                verifier: verifier.clone(),
                challenge_id,
                result: if finding == Finding::Match { "match" } else { "mismatch" }.to_owned(),
                gradient_hash: if matches { claimed.to_string() } else { String::new() },
                // only a verifier that recomputed the gradient knows the leaf that the sampling block selects
                leaf: if lazy { "guess" } else { "leaf" }.to_owned(),
                salt: vec![number],
            };
            messages.push(match duty.stage {
                ChallengeStage::Commit => Message::CommitAttestation(MsgCommitAttestation {
                    verifier: verifier.clone(),
                    challenge_id,
                    commitment: reveal.commitment().to_vec(),
                }),
                _ => Message::RevealAttestation(Box::new(reveal)),
            });
        }
        let Ok(Some(job)) = self.ledger.aggregation(&verifier) else { return messages };
        let ids: Vec<u64> = job.gradients.iter().map(|(id, ..)| *id).collect();
        let reveal = MsgRevealAggregation {
            proposer: verifier.clone(),
            commitment_id: job.own.as_ref().map_or(0, |(id, _)| *id),
            adapter: Codec::DagCbor.cid(&job.round.to_le_bytes()).to_string(),
            merkle_root: HEXLOWER.encode(&merkle_root(
                &job.gradients.iter().map(|(_, _, known)| known.commitment.0).collect::<Vec<_>>(),
            )),
            gradient_ids: ids.clone(),
            training_round_id: job.round,
            model_version: self.ledger.genesis().job.model.to_string(),
            // the simulation computes no adapters, so every adapter gets the layout root of the first one
            layout_root: HEXLOWER.encode(&self.ledger.genesis().layout_root.0),
            salt: vec![number],
        };
        match job.own {
            None => messages.push(Message::CommitAggregation(MsgCommitAggregation {
                proposer: verifier,
                commitment_hash: HEXLOWER.encode(&reveal.commitment()),
                training_round_id: job.round,
                gradient_ids: ids,
            })),
            Some((_, proposal)) if proposal.adapter.is_none() => {
                messages.push(Message::RevealAggregation(Box::new(reveal)))
            }
            Some(_) => {}
        }
        messages
    }

    /// Returns the sum of the account's balance, stake and escrow, in micro-units.
    fn wealth(&self, number: u8) -> i64 {
        let (state, address) = (self.ledger.state(), address(number));
        let stake = state.node(&address).map_or(0, |node| node.stake);
        (state.account_of(&address).balance + stake + state.reputation(&address).escrow) as i64
    }
}

/// Returns the commitment that stands for the correct gradient of a task.
fn honest(task: &Task) -> Commitment {
    Commitment::new(task, &[7; 32])
}

/// Simulates a miner and prints what it earns per task, minus the cost of the gradients that it computes. `forges`
/// returns whether the miner forges the gradient of the task with the given index. Forged gradients cost nothing.
fn miner(name: &str, staked: bool, forges: fn(u32) -> bool) {
    let mut world = World::new(genesis());
    if staked {
        let stake = format!("{}uremes", LedgerParams::NETWORK.min_stake);
        let register = MsgRegisterNode { node_address: address(1), node_type: 1, stake, ..Default::default() };
        world.send(1, Message::RegisterNode(register));
    }
    let (before, mut cost) = (world.wealth(1), 0);
    for task in 0..TASKS {
        let forge = forges(task);
        world.mine(1, forge);
        cost += if forge { 0 } else { COST };
    }
    let earned = world.wealth(1) - before - cost;
    let reputation = world.ledger.state().reputation(&address(1));
    println!("| {name} | {} | {} | {:+.3} |", reputation.accepted, reputation.rejected, per_task(earned, TASKS));
}

/// Simulates an honest miner, and prints what one of the verifiers earns for each task of this miner, minus the cost of
/// the gradients that the verifier recomputes.
fn verifier(name: &str, lazy: bool) {
    let mut world = World::new(genesis());
    if lazy {
        world.lazy.push(VERIFIERS[0]);
    }
    let before = world.wealth(VERIFIERS[0]);
    for _ in 0..TASKS {
        world.mine(1, false);
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
