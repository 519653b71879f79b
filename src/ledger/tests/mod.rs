//! The ledger as accounts meet it: blocks of signed transactions, and nothing else.

mod appeals;
mod coins;
mod court;
mod disputes;
mod laws;
mod rounds;
mod traps;
mod verifying;

use super::*;
use crate::{
    dispute::judge::{DisputeContext, Hash},
    protocol::{CHUNK_TOKENS, Commitment, Job, MatrixSpec, Task, TaskKind, Transport, merkle_root},
    store::Codec,
    tx::{
        Fee, Message, MsgClaimTask, MsgCommitAggregation, MsgCommitAttestation, MsgRevealAggregation,
        MsgSubmitCPUVerification, MsgSubmitGradient, MsgSubmitRandomVerifierResult, SessionKey,
    },
};

const CHAIN: &str = "test-1";
const COINS: u64 = 1_000_000_000;

fn key(number: u8) -> SessionKey {
    SessionKey::new(&[number; 32]).unwrap()
}

fn address(number: u8) -> String {
    key(number).address().to_owned()
}

/// A network of accounts 1 to 9, each with coins; verifiers and proposers as given.
fn genesis(quota: u32, params: LedgerParams, nodes: &[(u8, u64)]) -> Genesis {
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
        chain_id: CHAIN.to_owned(),
        params,
        job,
        seed: [3; 32],
        quota,
        adapter: Codec::DagCbor.cid(b"adapter 0"),
        layout_root: Hash([0; 32]),
        ground: DisputeContext {
            program: Hash([0; 32]),
            step: 1,
            closing: 1,
            adapter: 10,
            context: 2048,
            streams: Vec::new(),
        },
        chunks: (0..7u8).map(|number| Codec::Raw.cid(&[number])).collect(),
        accounts: (1..=9).map(|number| (address(number), COINS)).collect(),
        nodes: nodes.iter().map(|(number, stake)| (address(*number), *stake, vec![3, 4])).collect(),
    }
}

/// A ledger with the blocks that made it.
#[derive(Clone)]
struct World {
    ledger: Ledger,
    blocks: Vec<ChainBlock>,
    time: u64,
    /// Of all blocks.
    events: Vec<Event>,
    /// Verifiers that do not play the step.
    guessing: Vec<u8>,
}

/// What an honest recomputation comes to.
fn honest(task: &Task) -> Commitment {
    Commitment::new(task, &[7; 32])
}

impl World {
    fn new(genesis: Genesis) -> Self {
        Self {
            ledger: Ledger::new(genesis).unwrap(),
            blocks: Vec::new(),
            time: 1_000,
            events: Vec::new(),
            guessing: Vec::new(),
        }
    }

    /// One process that is verifier and proposer at once: account 9.
    fn small(quota: u32) -> Self {
        Self::new(genesis(quota, LedgerParams::EMBEDDED, &[(9, 1_000_000)]))
    }

    fn sign(&self, number: u8, messages: &[Message]) -> Vec<u8> {
        let sequence = self.ledger.state().account_of(&address(number)).sequence;
        key(number).sign(CHAIN, sequence, &Fee::default(), messages).unwrap()
    }

    /// A block of these transactions, a second after the one before.
    fn block(&mut self, txs: Vec<Vec<u8>>) -> Vec<TxOutcome> {
        self.time += 1;
        let txs = txs.into_iter().map(Tx).collect();
        let height = self.ledger.state().scalars().height + 1;
        let block = ChainBlock::new(height, self.time, self.ledger.root(), txs);
        let (after, applied) = self.ledger.apply(&block);
        self.ledger = after;
        self.blocks.push(block);
        self.events.extend(applied.outcomes.iter().flat_map(|outcome| outcome.events.clone()));
        self.events.extend(applied.events);
        applied.outcomes
    }

    /// A block of one transaction; its code and log.
    fn send(&mut self, number: u8, message: Message) -> (u32, String) {
        let tx = self.sign(number, &[message]);
        let outcome = self.block(vec![tx]).remove(0);
        (outcome.code, outcome.log)
    }

    fn done(&mut self, number: u8, message: Message) {
        assert_eq!(self.send(number, message), (0, String::new()));
    }

    fn claim(&self, number: u8, chunk_id: u64) -> Message {
        Message::ClaimTask(MsgClaimTask { miner: address(number), pool_id: 0, chunk_id })
    }

    /// The first position that can be claimed.
    fn free(&self) -> u64 {
        self.ledger.at(self.time + 1).state().available().next().expect("a free position")
    }

    /// What a miner submits for the task that it holds; the commitment is of its choice.
    fn submission(&self, number: u8, commitment: impl Fn(&Task) -> Commitment) -> MsgSubmitGradient {
        let held = self.ledger.held(&address(number)).unwrap().expect("a claim");
        let commitment = commitment(&held.task);
        MsgSubmitGradient {
            miner: address(number),
            ipfs_hash: Codec::DagCbor.cid(&commitment.0).to_string(),
            model_version: held.task.job.model.to_string(),
            training_round_id: held.round,
            shard_id: held.shard,
            gradient_hash: commitment.to_string(),
            nonce: u64::from_le_bytes(commitment.0[..8].try_into().unwrap()) | 1,
            global_seed: held.global_seed,
            token_count: CHUNK_TOKENS as u64,
            ..Default::default()
        }
    }

    /// Claims the next position and submits for it.
    fn mine(&mut self, number: u8, commitment: impl Fn(&Task) -> Commitment) {
        let claim = self.claim(number, self.free());
        self.done(number, claim);
        let message = self.submission(number, commitment);
        self.done(number, Message::SubmitGradient(Box::new(message)));
    }

    /// Lets nodes do what they are to do until they have nothing left; `find` says what one finds of a task's commitment.
    fn serve(&mut self, nodes: &[u8], find: impl Fn(u8, &Task, Commitment) -> Finding) {
        for _ in 0..12 {
            let mut txs = Vec::new();
            for number in nodes {
                let words = self.words(*number, &find);
                if !words.is_empty() {
                    txs.push(self.sign(*number, &words));
                }
            }
            if txs.is_empty() && !self.ledger.wants_block() {
                return;
            }
            for outcome in self.block(txs) {
                assert_eq!((outcome.code, outcome.log.as_str()), (0, ""));
            }
        }
    }

    fn words(&self, number: u8, find: &impl Fn(u8, &Task, Commitment) -> Finding) -> Vec<Message> {
        let verifier = address(number);
        let mut words = Vec::new();
        for duty in self.ledger.assignments(&verifier).unwrap().into_iter().filter(|duty| !duty.done) {
            let claimed = duty.submission.commitment;
            let finding = find(number, &duty.task, claimed);
            let (challenge_id, matches) = (duty.challenge, finding == Finding::Match);
            if duty.stage == ChallengeStage::Panel {
                words.push(Message::Arbitrate(MsgSubmitCPUVerification {
                    validator: verifier.clone(),
                    challenge_id,
                    is_valid: matches,
                    computed_hash: if matches { claimed.to_string() } else { String::new() },
                    expected_hash: claimed.to_string(),
                    leaf: self.leaf(number).to_owned(),
                }));
                continue;
            }
            let shown = MsgSubmitRandomVerifierResult {
                verifier: verifier.clone(),
                challenge_id,
                result: ["match", "mismatch", "unavailable"][finding as usize].to_owned(),
                gradient_hash: if matches { claimed.to_string() } else { String::new() },
                evidence: format!("{}:{number}", self.leaf(number)),
                ..Default::default()
            };
            words.push(match duty.stage {
                ChallengeStage::Commit => Message::CommitAttestation(MsgCommitAttestation {
                    verifier: verifier.clone(),
                    challenge_id,
                    commitment: shown.commitment().to_vec(),
                }),
                _ => Message::Attest(Box::new(shown)),
            });
        }
        words.extend(self.aggregate(number, b"next"));
        words
    }

    /// The next part of a round's aggregate, with an adapter that a proposer makes of the round and `salt`.
    fn aggregate(&self, number: u8, salt: &[u8]) -> Option<Message> {
        self.aggregate_without(number, salt, 0)
    }

    /// The same, where the bytes of one gradient can not be had.
    fn aggregate_without(&self, number: u8, salt: &[u8], missing: u64) -> Option<Message> {
        let proposer = address(number);
        let sum = self.ledger.aggregation(&proposer).unwrap()?;
        let summed = || sum.gradients.iter().filter(|(id, ..)| *id != missing);
        let ids: Vec<u64> = summed().map(|(id, ..)| *id).collect();
        let shown = MsgRevealAggregation {
            proposer: proposer.clone(),
            commitment_id: sum.own.as_ref().map_or(0, |(id, _)| *id),
            aggregated_gradient_ipfs_hash: Codec::DagCbor.cid(&[salt, &sum.round.to_le_bytes()].concat()).to_string(),
            merkle_root: hex(&merkle_root(&summed().map(|(_, _, known)| known.commitment.0).collect::<Vec<_>>())),
            gradient_ids: ids.clone(),
            training_round_id: sum.round,
            model_version: self.ledger.genesis().job.model.to_string(),
            salt: format!("{}:{number}", "0".repeat(64)),
        };
        match sum.own {
            None => Some(Message::CommitAggregation(MsgCommitAggregation {
                proposer,
                commitment_hash: hex(&shown.commitment()),
                training_round_id: sum.round,
                gradient_ids: ids,
            })),
            Some((_, proposal)) if proposal.adapter.is_none() => Some(Message::RevealAggregation(Box::new(shown))),
            Some(_) => None,
        }
    }

    /// The leaf that a verifier shows.
    fn leaf(&self, number: u8) -> &'static str {
        if self.guessing.contains(&number) { "guess" } else { "leaf" }
    }

    fn balance(&self, number: u8) -> u64 {
        self.ledger.state().account_of(&address(number)).balance
    }

    fn head(&self) -> ChainState {
        self.ledger.state().scalars().clone()
    }

    fn slashed(&self, number: u8) -> u64 {
        let of = |event: &Event| match event {
            Event::Slashed { node, amount } if *node == address(number) => *amount,
            _ => 0,
        };
        self.events.iter().map(of).sum()
    }

    /// What must hold of every ledger: no coin appears or is lost, and its root is that of its rows and of its blocks.
    fn check(&self) {
        let head = self.head();
        assert_eq!(self.ledger.state().coins(), u128::from(head.minted - head.burned), "coins");
        let genesis = self.ledger.genesis().clone();
        let restored = Ledger::restore(genesis.clone(), &self.ledger.rows()).unwrap();
        assert_eq!((restored.root(), restored.state()), (self.ledger.root(), self.ledger.state()), "from its rows");
        let fresh = Ledger::new(genesis).unwrap();
        let replayed = self.blocks.iter().fold(fresh, |ledger, block| ledger.apply(block).0);
        assert_eq!(replayed.root(), self.ledger.root(), "from its blocks");
    }
}

fn truth(_: u8, task: &Task, claimed: Commitment) -> Finding {
    if claimed == honest(task) { Finding::Match } else { Finding::Mismatch }
}

fn wrong(task: &Task) -> Commitment {
    Commitment::new(task, &[8; 32])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
