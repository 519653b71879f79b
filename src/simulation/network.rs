//! A simulated network: a ledger, and numbered accounts that act as miners, verifiers and proposers. No gradients are
//! computed.

use crate::{
    dispute::judge::{DisputeContext, Hash},
    ledger::{
        BeaconDuty, ChainBlock, ChainHead, ChallengeStage, Event, Finding, Genesis, Ledger, LedgerParams,
        SubmissionStatus, Tx, TxOutcome,
    },
    protocol::{CHUNK_TOKENS, Commitment, Job, MatrixSpec, Task, TaskKind, Transport, merkle_root},
    store::Codec,
    tx::{
        Fee, Message, MsgClaimTask, MsgCommitAggregation, MsgCommitAttestation, MsgRegisterNode, MsgRevealAggregation,
        MsgRevealAttestation, MsgRevealBeacon, MsgSubmitCPUVerification, MsgSubmitGradient, SessionKey,
    },
};
use data_encoding::HEXLOWER;
use std::{collections::BTreeMap, sync::OnceLock};

/// Name of the chain of every simulated network.
pub const CHAIN: &str = "simulation-1";
/// Initial balance of each account in micro-units.
pub const COINS: u64 = 1_000_000_000;

/// The parameters of a network without fees and without a beacon. The hash of each block is a random value, and the
/// hash of the tenth block after a submission decides whether the gradient is recomputed.
pub const NETWORK: LedgerParams =
    LedgerParams { epoch_blocks: 0, draw_after: 10, fee_per_byte: 0, fee_per_row: 0, ..LedgerParams::NETWORK };

/// Returns the key of account `number`, which must be 1 to 254. Deriving a key takes longer than applying a block, so
/// each key is derived only once.
pub fn key(number: u8) -> &'static SessionKey {
    static KEYS: [OnceLock<SessionKey>; 256] = [const { OnceLock::new() }; 256];
    KEYS[usize::from(number)].get_or_init(|| SessionKey::new(&[number; 32]).expect("a number from 1 to 254"))
}

/// Returns the address of account `number`, which must be 1 to 254.
pub fn address(number: u8) -> String {
    key(number).address().to_owned()
}

/// Returns a job with two small matrices and a model that does not exist.
pub fn job() -> Job {
    let matrix = |factor: &str| MatrixSpec {
        name: format!("layers.0.attention.q.{factor}"),
        rows: 4,
        columns: 6,
        exponent: -40,
    };
    Job {
        arithmetic_version: 1,
        model: Codec::DagCbor.cid(b"model"),
        rank: 4,
        targets: vec!["attention.q".to_owned()],
        matrices: vec![matrix("a"), matrix("b")],
        kind: TaskKind::Gradient,
        transport: Transport::Int8,
    }
}

/// Returns a genesis with [`job`], seven chunks, and accounts 1 to 9, which own [`COINS`] each. A round has `quota`
/// gradients. `nodes` are the accounts that verify and propose, each with its stake in micro-units.
pub fn genesis(quota: u32, params: LedgerParams, nodes: &[(u8, u64)]) -> Genesis {
    Genesis {
        chain_id: CHAIN.to_owned(),
        params,
        job: job(),
        seed: [3; 32],
        quota,
        adapter: Codec::DagCbor.cid(b"adapter 0"),
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
        accounts: (1..=9).map(|number| (address(number), COINS)).collect(),
        nodes: nodes.iter().map(|(number, stake)| (address(*number), *stake, vec![3, 4])).collect(),
        consensus_keys: BTreeMap::new(),
    }
}

/// Returns the commitment that a miner submits if it has computed the correct gradient of a task. Simulations compute
/// no gradients, so a constant stands for the gradient root.
pub fn honest(task: &Task) -> Commitment {
    Commitment::new(task, &[7; 32])
}

/// Returns the commitment that a miner submits if its gradient of a task is wrong. Simulations compute no gradients, so
/// a constant stands for the gradient root.
pub fn wrong(task: &Task) -> Commitment {
    Commitment::new(task, &[8; 32])
}

/// Returns what an honest verifier finds: a match if `claimed` is the commitment that [`honest`] returns for the task,
/// and a mismatch otherwise.
pub fn honest_finding(_verifier: u8, task: &Task, claimed: Commitment) -> Finding {
    if claimed == honest(task) { Finding::Match } else { Finding::Mismatch }
}

/// A ledger, with all blocks that it has applied and the events that they caused. Methods that take `number` act for
/// the account with that number.
#[derive(Clone)]
pub struct Network {
    /// The ledger after the last block.
    pub ledger: Ledger,
    /// All blocks, in order.
    pub blocks: Vec<ChainBlock>,
    /// Time of the last block in seconds since 1970.
    pub time: u64,
    /// Events of all blocks, in order.
    pub events: Vec<Event>,
    /// The numbers of the accounts that attest without recomputing the gradient. Each of them has to guess the
    /// attestation leaf (the hash of one tile of the gradient) that it must reveal.
    pub guessing: Vec<u8>,
}

impl Network {
    /// Starts a network.
    ///
    /// # Panics
    ///
    /// Panics if the genesis is invalid.
    pub fn new(genesis: Genesis) -> Self {
        let ledger = Ledger::new(genesis).expect("a valid genesis");
        Self { ledger, blocks: Vec::new(), time: 1_000, events: Vec::new(), guessing: Vec::new() }
    }

    /// Returns a signed transaction of account `number`. It states the account's next sequence number and a fee of 0.
    pub fn sign(&self, number: u8, messages: &[Message]) -> Vec<u8> {
        let sequence = self.ledger.state().account_of(&address(number)).sequence;
        key(number).sign(CHAIN, sequence, &Fee::default(), messages).expect("messages that can be signed")
    }

    /// Applies a block with these transactions, one second after the previous block, and returns their outcomes.
    pub fn block(&mut self, txs: Vec<Vec<u8>>) -> Vec<TxOutcome> {
        self.time += 1;
        let txs = txs.into_iter().map(Tx).collect();
        let block = ChainBlock::new(self.head().height + 1, self.time, self.ledger.root(), txs);
        let (after, applied) = self.ledger.apply(&block);
        self.ledger = after;
        self.blocks.push(block);
        self.events.extend(applied.outcomes.iter().flat_map(|outcome| outcome.events.clone()));
        self.events.extend(applied.events);
        applied.outcomes
    }

    /// Applies `count` blocks without transactions.
    pub fn wait(&mut self, count: u64) {
        (0..count).for_each(|_| drop(self.block(vec![])));
    }

    /// Applies a block with one message, signed by account `number`. Returns the result code and the log of the
    /// transaction.
    pub fn send(&mut self, number: u8, message: Message) -> (u32, String) {
        let tx = self.sign(number, &[message]);
        let outcome = self.block(vec![tx]).remove(0);
        (outcome.code, outcome.log)
    }

    /// Applies a block with one message, signed by account `number`. Panics if the transaction fails.
    pub fn done(&mut self, number: u8, message: Message) {
        assert_eq!(self.send(number, message), (0, String::new()));
    }

    /// Registers account `number` as a miner with a stake of `stake` micro-units. Panics if the transaction fails.
    pub fn stake(&mut self, number: u8, stake: u64) {
        let (node_address, stake) = (address(number), format!("{stake}uremes"));
        let register = MsgRegisterNode { node_address, node_type: 1, stake, ..Default::default() };
        self.done(number, Message::RegisterNode(register));
    }

    /// Returns the message with which account `number` claims the chunk slot (the entry for one chunk in the current
    /// round) at position `chunk_id`.
    pub fn claim(&self, number: u8, chunk_id: u64) -> Message {
        Message::ClaimTask(MsgClaimTask { miner: address(number), pool_id: 0, chunk_id })
    }

    /// Returns the message with which account `number` reveals its secret number for the beacon, and commits to its
    /// next one. The numbers are a function of the account and the epoch, so they are the same in all simulations.
    pub fn beacon_message(&self, number: u8, duty: BeaconDuty) -> Message {
        let BeaconDuty { epoch, reveals } = duty;
        let secret = |epoch: u64| {
            let mut secret = vec![number; 32];
            secret[..8].copy_from_slice(&epoch.to_le_bytes());
            secret
        };
        let validator = address(number);
        let next = MsgRevealBeacon::commitment(&validator, &secret(epoch + 1)).to_vec();
        let number = if reveals { secret(epoch) } else { Vec::new() };
        Message::RevealBeacon(MsgRevealBeacon { validator, epoch, number, next })
    }

    /// Returns the position of the first chunk slot (the entry for one chunk in the current round) that can be claimed,
    /// or `None` if no chunk slot can be claimed.
    pub fn next_free(&self) -> Option<u64> {
        self.ledger.at(self.time + 1).state().available().next()
    }

    /// Returns the position of the first chunk slot (the entry for one chunk in the current round) that can be claimed.
    /// Panics if no chunk slot can be claimed.
    pub fn free(&self) -> u64 {
        self.next_free().expect("a free position")
    }

    /// Returns a submission for the task that account `number` has claimed. It states the commitment that the function
    /// `commitment` returns for this task. Panics if the account has claimed no task.
    pub fn submission(&self, number: u8, commitment: impl Fn(&Task) -> Commitment) -> MsgSubmitGradient {
        let held = self.ledger.held(&address(number)).expect("a task").expect("a claim");
        let commitment = commitment(&held.task);
        MsgSubmitGradient {
            miner: address(number),
            ipfs_hash: Codec::DagCbor.cid(&commitment.0).to_string(),
            model_version: held.task.job.model.to_string(),
            training_round_id: held.round,
            shard_id: held.shard,
            gradient_hash: commitment.to_string(),
            nonce: self.time,
            global_seed: held.global_seed,
            token_count: CHUNK_TOKENS as u64,
            ..Default::default()
        }
    }

    /// Lets account `number` claim the next chunk slot and submit a gradient for it. The submission states the
    /// commitment that the function `commitment` returns. Panics if either transaction fails.
    pub fn mine(&mut self, number: u8, commitment: impl Fn(&Task) -> Commitment) {
        self.done(number, self.claim(number, self.free()));
        self.done(number, Message::SubmitGradient(Box::new(self.submission(number, commitment))));
    }

    /// Applies blocks in which `nodes` act as verifiers and proposers, until they have nothing left to do, but at most
    /// 12 blocks. The function `find` returns what a verifier finds out: the gradient is right, is wrong, or cannot be
    /// recomputed. Panics if a transaction fails.
    pub fn serve(&mut self, nodes: &[u8], find: impl Fn(u8, &Task, Commitment) -> Finding) {
        for _ in 0..12 {
            if self.pending_txs(nodes, &find).is_empty() && !self.ledger.wants_block() {
                return;
            }
            self.serve_once(nodes, &find);
        }
    }

    /// Applies a block in which `nodes` act as verifiers and proposers. The function `find` returns what a verifier
    /// finds out: the gradient is right, is wrong, or cannot be recomputed. Panics if a transaction fails.
    pub fn serve_once(&mut self, nodes: &[u8], find: &impl Fn(u8, &Task, Commitment) -> Finding) {
        for outcome in self.block(self.pending_txs(nodes, find)) {
            assert_eq!((outcome.code, outcome.log.as_str()), (0, ""));
        }
    }

    /// Returns one transaction for each of `nodes` that has something to send now as verifier or proposer.
    pub fn pending_txs(&self, nodes: &[u8], find: &impl Fn(u8, &Task, Commitment) -> Finding) -> Vec<Vec<u8>> {
        let pending = nodes.iter().map(|number| (*number, self.pending_messages(*number, find)));
        pending.filter(|(_, sent)| !sent.is_empty()).map(|(number, sent)| self.sign(number, &sent)).collect()
    }

    /// Returns the messages that account `number` has to send now as a verifier and a proposer. The function `find`
    /// returns what a verifier finds out: the gradient is right, is wrong, or cannot be recomputed.
    pub fn pending_messages(&self, number: u8, find: &impl Fn(u8, &Task, Commitment) -> Finding) -> Vec<Message> {
        let verifier = address(number);
        let leaf = if self.guessing.contains(&number) { "guess" } else { "leaf" }.to_owned();
        let beacon = self.ledger.beacon_duty(&verifier);
        let mut messages: Vec<Message> = beacon.map(|duty| self.beacon_message(number, duty)).into_iter().collect();
        for duty in self.ledger.assignments(&verifier).into_iter().filter(|duty| !duty.done) {
            let claimed = duty.submission.commitment;
            let task = self.ledger.task_of(&duty.submission).expect("a task");
            let finding = find(number, &task, claimed);
            let (challenge_id, is_valid) = (duty.challenge, finding == Finding::Match);
            let computed_hash = match finding {
                Finding::Match => claimed.to_string(),
                Finding::Mismatch if claimed == honest(&task) => wrong(&task).to_string(),
                Finding::Mismatch => honest(&task).to_string(),
                Finding::Unavailable => String::new(),
            };
            if duty.stage == ChallengeStage::Panel {
                messages.push(Message::Arbitrate(MsgSubmitCPUVerification {
                    validator: verifier.clone(),
                    challenge_id,
                    is_valid,
                    computed_hash,
                    expected_hash: claimed.to_string(),
                    leaf: leaf.clone(),
                }));
                continue;
            }
            let reveal = MsgRevealAttestation {
                verifier: verifier.clone(),
                challenge_id,
                result: ["match", "mismatch", "unavailable"][finding as usize].to_owned(),
                gradient_hash: computed_hash,
                leaf: leaf.clone(),
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
        messages.extend(self.aggregate(number, b"next"));
        messages
    }

    /// Returns the message that account `number` has to send next as a proposer: it commits to the aggregate of the
    /// round, or reveals the aggregate. Returns `None` if the account has nothing to send. The CID of the next adapter
    /// depends on the round and on `salt`. No adapter is computed, so the layout root (the Merkle root over the buffers
    /// into which an adapter is packed) is always that of the first adapter.
    pub fn aggregate(&self, number: u8, salt: &[u8]) -> Option<Message> {
        self.aggregate_without(number, salt, 0)
    }

    /// Returns the message by which account `number` commits to the aggregate of the round, or reveals this aggregate.
    /// The aggregate contains all gradients of the round except the one with the ID `missing`. Returns `None` if the
    /// account has nothing to send. The message states an invented CID for the next adapter, which depends on the round
    /// and on `salt`.
    pub fn aggregate_without(&self, number: u8, salt: &[u8], missing: u64) -> Option<Message> {
        let proposer = address(number);
        let job = self.ledger.aggregation(&proposer)?;
        let summed = job.gradients.iter().filter(|(id, ..)| *id != missing);
        let (ids, commitments): (Vec<u64>, Vec<[u8; 32]>) =
            summed.map(|(id, submission)| (*id, submission.commitment.0)).unzip();
        let genesis = self.ledger.genesis();
        let reveal = MsgRevealAggregation {
            proposer: proposer.clone(),
            commitment_id: job.own.as_ref().map_or(0, |(id, _)| *id),
            adapter: Codec::DagCbor.cid(&[salt, &job.round.to_le_bytes()].concat()).to_string(),
            layout_root: HEXLOWER.encode(&genesis.layout_root.0),
            merkle_root: HEXLOWER.encode(&merkle_root(&commitments)),
            gradient_ids: ids.clone(),
            training_round_id: job.round,
            model_version: genesis.job.model.to_string(),
            salt: vec![number],
        };
        match job.own {
            None => Some(Message::CommitAggregation(MsgCommitAggregation {
                proposer,
                commitment_hash: HEXLOWER.encode(&reveal.commitment()),
                training_round_id: job.round,
                gradient_ids: ids,
            })),
            Some((_, proposal)) if proposal.adapter.is_none() => Some(Message::RevealAggregation(Box::new(reveal))),
            Some(_) => None,
        }
    }

    /// Returns data about the last block and the current round, and totals such as the number of all submissions.
    pub fn head(&self) -> &ChainHead {
        self.ledger.state().head()
    }

    /// Returns the status of a submission. A submission that is no longer stored counts as accepted.
    pub fn status(&self, id: u64) -> SubmissionStatus {
        self.ledger.state().submission(id).map_or(SubmissionStatus::Accepted, |submission| submission.status)
    }

    /// Returns the balance of an account in micro-units.
    pub fn balance(&self, number: u8) -> u64 {
        self.ledger.state().account_of(&address(number)).balance
    }

    /// Returns the amount that the ledger holds in escrow for an account, in micro-units.
    pub fn escrow(&self, number: u8) -> u64 {
        self.ledger.state().reputation(&address(number)).escrow
    }

    /// Returns the amount that an account has lost by slashing, in micro-units.
    pub fn slashed(&self, number: u8) -> u64 {
        let amount = |event: &Event| match event {
            Event::Slashed { node, amount } if *node == address(number) => *amount,
            _ => 0,
        };
        self.events.iter().map(amount).sum()
    }

    /// Checks that the state contains exactly the coins that were minted and not burned. Also checks that two other
    /// ledgers have the same state root as this one: a ledger that is restored from the rows of this ledger's tables,
    /// and a ledger that replays all blocks. Panics if a check fails.
    pub fn check(&self) {
        let (state, head, genesis) = (self.ledger.state(), self.head(), self.ledger.genesis());
        assert_eq!(state.coins(), u128::from(head.minted - head.burned), "minted minus burned coins");
        let restored = Ledger::restore(genesis.clone(), &self.ledger.rows()).expect("the ledger's own rows");
        assert_eq!((restored.root(), restored.state()), (self.ledger.root(), state), "from the rows");
        let fresh = Ledger::new(genesis.clone()).expect("a valid genesis");
        let replayed = self.blocks.iter().fold(fresh, |ledger, block| ledger.apply(block).0);
        assert_eq!(replayed.root(), self.ledger.root(), "from the blocks");
    }
}
