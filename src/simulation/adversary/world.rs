//! The network of a simulation: the ledger, the mempool, and the artifacts with the parties that can fetch them.

use super::gradient::{Gradients, chunk};
use crate::{
    client::{ClaimedGradient, ClientError, DisputableGradient, DisputeList, GivenAnswer, OpenDispute},
    ledger::{
        Applied, Event, Genesis, Ledger, LedgerParams, MAX_BLOCK_BYTES, PROPOSER, Submission, TxOutcome, VALIDATOR,
        fee_waiver,
    },
    simulation::{COINS, genesis},
    store::{Cid, Codec, StoreError},
    tx::{Fee, MAX_TX_BYTES, Message, MinimumFee, Signed, code},
};
use sha2::{Digest, Sha256};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    rc::Rc,
};

/// The number of honest operators. Each of them is a verifier, a proposer and a challenger.
pub(super) const OPERATORS: usize = 5;
/// The stake of an honest operator in micro-units.
pub(super) const OPERATOR_STAKE: u64 = 1_000_000_000;
/// The mempool contains at most this number of duties (messages that the ledger expects from an account), and at most
/// this number of other transactions. The mempool of a real node has the same limits.
const MEMPOOL_CAPACITY: usize = 8192;
/// Size of a transaction in bytes, unless it opens a dispute or is an appeal.
pub(super) const TX_BYTES: usize = 700;

/// A simulated network, which all parties share. The parties run in one thread.
pub(super) type Shared = Rc<RefCell<World>>;

/// A submitted gradient and its state.
pub(super) struct Submitted {
    pub(super) miner: String,
    /// CID of the task.
    pub(super) task: Cid,
    pub(super) chunk: Cid,
    pub(super) artifact: Cid,
    /// The commitment in hexadecimal.
    pub(super) gradient_hash: String,
    /// Whether the commitment and the artifact are those of the task's correct gradient.
    pub(super) right: bool,
    pub(super) accepted: bool,
    pub(super) decided: bool,
}

/// Which operators can fetch an artifact, and from which block height on.
#[derive(Clone, Copy)]
pub(super) struct Served {
    /// A bit mask of the operators that can fetch the artifact at any time. Bit `n` stands for operator `n`.
    pub(super) operators: u8,
    /// Height from which on all operators can fetch the artifact.
    pub(super) to_all_from: u64,
    /// Whether all operators can fetch the artifact's manifest at any time.
    pub(super) manifest: bool,
    /// Which error an operator gets while it cannot fetch the artifact: if true, status 503 (the source is busy),
    /// otherwise 404 (the block is missing).
    pub(super) busy: bool,
}

impl Served {
    pub(super) const ALL: Self = Self { operators: !0, to_all_from: 0, manifest: true, busy: false };
}

struct PendingTx {
    ticket: u64,
    signer: String,
    messages: Vec<Message>,
    bytes: usize,
    of_coalition: bool,
}

impl PendingTx {
    /// Returns whether the transaction belongs to the dishonest coalition and does not just fill blocks. Transactions
    /// that just fill blocks have the largest possible size.
    fn is_move(&self) -> bool {
        self.of_coalition && self.bytes < MAX_TX_BYTES
    }
}

pub(super) struct World {
    pub(super) ledger: Ledger,
    pub(super) gradients: Gradients,
    /// The operators that can fetch each artifact, by the CID of its root block. Nobody can fetch an artifact that is
    /// not in this map.
    pub(super) served: HashMap<Cid, Served>,
    /// Adapters that every party can fetch.
    pub(super) adapters: BTreeSet<Cid>,
    pub(super) submitted: BTreeMap<u64, Submitted>,
    /// Events of the last block.
    pub(super) events: Vec<Event>,
    pub(super) random: Random,
    /// The pending transactions, in two queues: duties (messages that the ledger expects from an account), and all
    /// other transactions.
    mempool: [VecDeque<PendingTx>; 2],
    /// The number of pending transactions of the dishonest coalition, without those that just fill blocks.
    moves: usize,
    outcomes: HashMap<u64, TxOutcome>,
    tickets: u64,
    list: Option<(u64, DisputeList)>,
}

impl World {
    /// Creates a network with the honest operators and the given participants. `nodes` are further verifiers and
    /// proposers, and `miners` are miners with a stake, each as an address and a stake. `accounts` are addresses with
    /// their initial balances. Stakes and balances are in micro-units.
    pub(super) fn new(
        quota: u32,
        params: &LedgerParams,
        seed: u64,
        [nodes, miners]: [Vec<(String, u64)>; 2],
        accounts: &[(String, u64)],
    ) -> Self {
        let operators = (0..OPERATORS).map(|number| (operator(number), OPERATOR_STAKE));
        let operator_coins = (0..OPERATORS).map(|number| (operator(number), COINS));
        let genesis = Genesis {
            chunks: (0..quota.max(7)).map(|number| Codec::Raw.cid(&chunk(number))).collect(),
            accounts: operator_coins.chain(accounts.iter().cloned()).collect(),
            nodes: operators
                .chain(nodes)
                .map(|(address, stake)| (address, stake, vec![VALIDATOR, PROPOSER]))
                .chain(miners.into_iter().map(|(address, stake)| (address, stake, vec![1])))
                .collect(),
            // a proof of work takes time, but no coins
            ..genesis(quota, LedgerParams { unbonded_work_bits: 0, ..params.clone() }, &[])
        };
        let adapter = genesis.adapter;
        Self {
            ledger: Ledger::unchecked(genesis).expect("fewer coins than 2^64"),
            gradients: Gradients::new(quota.max(7)),
            served: HashMap::new(),
            adapters: BTreeSet::from([adapter]),
            submitted: BTreeMap::new(),
            events: Vec::new(),
            random: Random(seed),
            mempool: Default::default(),
            moves: 0,
            outcomes: HashMap::new(),
            tickets: 0,
            list: None,
        }
    }

    pub(super) fn height(&self) -> u64 {
        self.ledger.state().head().height
    }

    /// Adds a transaction of `bytes` bytes to the mempool. Returns a number with which [`Self::outcome`] finds the
    /// outcome of the transaction. Fails if the mempool is full.
    pub(super) fn send(
        &mut self,
        signer: &str,
        messages: Vec<Message>,
        bytes: usize,
        of_coalition: bool,
    ) -> Result<u64, ClientError> {
        let queue = &mut self.mempool[usize::from(!Message::all_are_duties(&messages))];
        if queue.len() >= MEMPOOL_CAPACITY {
            let (hash, log) = (String::new(), "the mempool is full".to_owned());
            return Err(ClientError::Failed { hash, code: code::MEMPOOL_FULL, log });
        }
        self.tickets += 1;
        let (ticket, signer) = (self.tickets, signer.to_owned());
        let tx = PendingTx { ticket, signer, messages, bytes, of_coalition };
        self.moves += usize::from(tx.is_move());
        queue.push_back(tx);
        Ok(ticket)
    }

    /// Returns the outcome of the transaction for which [`Self::send`] returned `ticket`; `None` if it is still
    /// pending. The outcome is returned only once.
    pub(super) fn outcome(&mut self, ticket: u64) -> Option<TxOutcome> {
        self.outcomes.remove(&ticket)
    }

    /// Returns whether a transaction of the dishonest coalition is pending, apart from those that just fill blocks.
    pub(super) fn has_pending_of_coalition(&self) -> bool {
        self.moves > 0
    }

    pub(super) fn mempool_is_empty(&self) -> bool {
        self.mempool.iter().all(VecDeque::is_empty)
    }

    /// Applies the next block. It contains as many transactions of the mempool as fit: first duties (messages that the
    /// ledger expects from an account), then other transactions, each group in order of arrival. If the dishonest
    /// coalition proposes the block, its own transactions come first in each of the two groups. The coalition also
    /// chooses among `candidates` blocks with different hashes: it proposes the one with the highest `score`.
    pub(super) fn block(&mut self, by_coalition: bool, candidates: u64, score: impl Fn(&Applied) -> i64) {
        if by_coalition {
            let own_first =
                |queue: &mut VecDeque<PendingTx>| queue.make_contiguous().sort_by_key(|tx| !tx.of_coalition);
            self.mempool.iter_mut().for_each(own_first);
        }
        let head = self.ledger.state().head();
        let (height, time) = (head.height + 1, head.time.max(1_000) + 1);
        let mut admission = if self.mempool_is_empty() { self.ledger.clone() } else { self.ledger.next().at(time) };
        let (mut tickets, mut txs) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        let fits = |bytes: usize| move |tx: &mut PendingTx| bytes + tx.bytes <= MAX_BLOCK_BYTES;
        while let Some(tx) = self.mempool.iter_mut().find_map(|queue| queue.pop_front_if(fits(bytes))) {
            self.moves -= usize::from(tx.is_move());
            let PendingTx { ticket, signer, messages, bytes: size, .. } = tx;
            let sequence = admission.state().account_of(&signer).sequence;
            let fee = self.fee(&admission, &signer, &messages, size);
            let signed = Signed { signer, sequence, fee, timeout_height: 0, bytes: size, messages };
            match admission.reserve(&signed) {
                Ok(()) => {
                    bytes += size;
                    txs.push(signed);
                    tickets.push(ticket);
                }
                Err(refusal) => drop(self.outcomes.insert(ticket, refusal.into())),
            }
        }
        let entropy = self.random.next();
        let mut best = None::<(i64, Ledger, Applied)>;
        for nonce in 0..if by_coalition { candidates.max(1) } else { 1 } {
            let hash = Sha256::new().chain_update(entropy.to_le_bytes()).chain_update(height.to_le_bytes());
            let hash = hash.chain_update(nonce.to_le_bytes()).finalize().into();
            let (ledger, applied) = self.ledger.apply_opened(time, hash, &txs);
            let value = if candidates > 1 { score(&applied) } else { 0 };
            if best.as_ref().is_none_or(|(best, ..)| value > *best) {
                best = Some((value, ledger, applied));
            }
        }
        let Some((_, ledger, applied)) = best else { return };
        self.ledger = ledger;
        self.events = applied.events;
        for (ticket, outcome) in tickets.into_iter().zip(applied.outcomes) {
            self.events.extend(outcome.events.iter().cloned());
            self.outcomes.insert(ticket, outcome);
        }
        self.record();
    }

    /// Computes, without changing the ledger, what would happen in the next two blocks. The first block would contain
    /// only `messages`, each in a transaction of its signer, and the second block would be empty. Returns the results
    /// of the first block, with the events of both blocks.
    pub(super) fn foresee(&self, messages: Vec<(String, Message)>) -> Applied {
        let head = self.ledger.state().head();
        let txs = messages.into_iter().map(|(signer, message)| Signed {
            sequence: self.ledger.state().account_of(&signer).sequence,
            signer,
            fee: Fee::default(),
            timeout_height: 0,
            bytes: TX_BYTES,
            messages: vec![message],
        });
        let (ledger, mut applied) = self.ledger.apply_opened(head.time + 1, head.hash, &txs.collect::<Vec<_>>());
        applied.events.extend(ledger.apply_opened(head.time + 2, head.hash, &[]).1.events);
        applied
    }

    /// Returns the fee that a transaction of `signer` states: 0 for duties (messages that the ledger expects from an
    /// account), and the minimum fee for other messages. If the account has fewer coins than the fee, the transaction
    /// asks the ledger to waive the fee.
    fn fee(&self, ledger: &Ledger, signer: &str, messages: &[Message], bytes: usize) -> Fee {
        if Message::all_are_duties(messages) {
            return Fee::default();
        }
        let LedgerParams { fee_per_byte: per_byte, fee_per_row: per_row, .. } = ledger.genesis().params;
        let account = ledger.state().account_of(signer);
        let amount = MinimumFee { floor: 0, per_byte, per_row }.of(bytes, messages, account.sequence == 0);
        Fee { amount, granter: (account.balance < amount).then(fee_waiver) }
    }

    /// Applies at most `most` blocks without new transactions. Stops after a block that causes an event, or that
    /// changes any row of the ledger's state other than the head (the row with the height and the time of the last
    /// block).
    pub(super) fn skip(&mut self, most: u64) {
        for _ in 0..most {
            let before = self.ledger.clone();
            self.block(false, 1, |_| 0);
            if !self.events.is_empty() || !self.ledger.state().differs_by_head(before.state()) {
                return;
            }
        }
    }

    /// Records the submissions of the last block, and which gradients it accepted, rejected, voided or withdrew.
    fn record(&mut self) {
        let events = std::mem::take(&mut self.events);
        for event in &events {
            match event {
                Event::Submitted { id, miner, .. } => {
                    let Some(stored) = self.ledger.state().submission(*id) else { continue };
                    let Submission { position, commitment, artifact, .. } = stored.clone();
                    let Ok(task) = self.ledger.task(position, miner) else { continue };
                    let right = &self.gradients.of(&task).right;
                    let right = right.commitment == commitment && right.root == artifact;
                    let miner = miner.clone();
                    let submitted = Submitted {
                        miner,
                        task: task.cid(),
                        chunk: task.chunk,
                        artifact,
                        gradient_hash: commitment.to_string(),
                        right,
                        accepted: false,
                        decided: false,
                    };
                    self.submitted.insert(*id, submitted);
                }
                Event::Accepted { id, .. }
                | Event::Rejected { id, .. }
                | Event::Voided { id, .. }
                | Event::Withdrawn { id, .. } => {
                    if let Some(submitted) = self.submitted.get_mut(id) {
                        submitted.accepted = matches!(event, Event::Accepted { .. });
                        submitted.decided = true;
                    }
                }
                _ => {}
            }
        }
        self.events = events;
    }

    /// Returns whether an operator can fetch all blocks of an artifact now.
    pub(super) fn can_fetch(&self, operator: usize, artifact: &Cid) -> bool {
        let served = |served: &Served| served.operators >> operator & 1 == 1 || self.height() >= served.to_all_from;
        self.served.get(artifact).is_some_and(served)
    }

    /// Lets all operators fetch an artifact from the next block on, because an operator has fetched it: the nodes of
    /// operators are gateways of each other.
    pub(super) fn pass_on(&mut self, artifact: &Cid) {
        let next = self.height() + 1;
        if let Some(served) = self.served.get_mut(artifact) {
            served.to_all_from = served.to_all_from.min(next);
        }
    }

    /// Returns the error of a request for a block of an artifact that cannot be fetched.
    pub(super) fn absence(&self, artifact: &Cid, block: &Cid) -> ClientError {
        match self.served.get(artifact).is_some_and(|served| served.busy) {
            true => ClientError::Refused { status: 503, message: String::new() },
            false => StoreError::Missing(*block).into(),
        }
    }

    /// Returns the gradients that can be contested, and the open disputes, as a node reports them.
    pub(super) fn disputes(&mut self) -> DisputeList {
        let (height, clock) = (self.height(), self.ledger.state().head().clock);
        if let Some((_, list)) = self.list.as_ref().filter(|(at, _)| *at == height) {
            return list.clone();
        }
        let claimed = |id: &u64| {
            let Submitted { task, artifact, gradient_hash, .. } = &self.submitted[id];
            let (task, ipfs_hash, gradient_hash) = (*task, *artifact, gradient_hash.clone());
            ClaimedGradient { stored_gradient_id: *id, task, ipfs_hash, gradient_hash }
        };
        let gradients = self.ledger.contestable().map(|found| DisputableGradient {
            gradient: claimed(&found.id),
            disputable: found.disputable,
            appealable: found.appealable,
        });
        let disputes = self.ledger.disputes().map(|(dispute_id, case, _)| OpenDispute {
            dispute_id,
            gradient: claimed(&case.submission),
            challenger: case.challenger.clone(),
            answerable: clock < case.dispute.deadline(),
            answers: case
                .answers
                .iter()
                .zip(case.dispute.games())
                .map(|((sender, _), game)| GivenAnswer::new(sender.clone(), game))
                .collect(),
        });
        let list = DisputeList { gradients: gradients.collect(), disputes: disputes.collect() };
        self.list = Some((height, list.clone()));
        list
    }
}

/// Returns the address of the honest operator with this number.
pub(super) fn operator(number: usize) -> String {
    format!("operator{number}")
}

/// A generator of pseudorandom numbers (SplitMix64), which yields the same numbers for the same seed.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// Returns the next pseudorandom number.
    #[expect(clippy::should_implement_trait, reason = "the numbers never end")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a pseudorandom number below `bound`, which must not be 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
