//! Tests that use the ledger as a node does: they apply blocks of signed transactions and examine the results.

mod appeals;
mod attestations;
mod coins;
mod dispute_network;
mod disputes;
mod invariants;
mod rounds;
mod traps;

use super::*;
use crate::{
    dispute::judge::{DisputeContext, Hash},
    protocol::{CHUNK_TOKENS, Commitment, Job, MatrixSpec, Task, TaskKind, Transport, merkle_root},
    store::Codec,
    tx::{
        Fee, Message, MsgClaimTask, MsgCommitAggregation, MsgCommitAttestation, MsgRevealAggregation,
        MsgRevealAttestation, MsgSubmitCPUVerification, MsgSubmitGradient, SessionKey,
    },
};
use data_encoding::HEXLOWER;

const CHAIN: &str = "test-1";
const COINS: u64 = 1_000_000_000;

fn key(number: u8) -> SessionKey {
    SessionKey::new(&[number; 32]).unwrap()
}

fn address(number: u8) -> String {
    key(number).address().to_owned()
}

/// Returns a genesis in which accounts 1 to 9 own coins. `nodes`, given as (account, stake), are verifiers and
/// proposers.
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
    }
}

/// A ledger, with all blocks that it has applied and the events that they caused.
#[derive(Clone)]
struct World {
    ledger: Ledger,
    blocks: Vec<ChainBlock>,
    time: u64,
    /// The events of all applied blocks, in order.
    events: Vec<Event>,
    /// Accounts that attest without recomputing the gradient, so they have to guess the leaf.
    guessing: Vec<u8>,
}

/// Returns the commitment that the tests treat as that of the right gradient.
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

    /// Returns a network in which account 9 is the only verifier and the only proposer.
    fn small(quota: u32) -> Self {
        Self::new(genesis(quota, LedgerParams::EMBEDDED, &[(9, 1_000_000)]))
    }

    fn sign(&self, number: u8, messages: &[Message]) -> Vec<u8> {
        let sequence = self.ledger.state().account_of(&address(number)).sequence;
        key(number).sign(CHAIN, sequence, &Fee::default(), messages).unwrap()
    }

    /// Applies a block with these transactions, one second after the previous block, and returns their outcomes.
    fn block(&mut self, txs: Vec<Vec<u8>>) -> Vec<TxOutcome> {
        self.time += 1;
        let txs = txs.into_iter().map(Tx).collect();
        let height = self.ledger.state().head().height + 1;
        let block = ChainBlock::new(height, self.time, self.ledger.root(), txs);
        let (after, applied) = self.ledger.apply(&block);
        self.ledger = after;
        self.blocks.push(block);
        self.events.extend(applied.outcomes.iter().flat_map(|outcome| outcome.events.clone()));
        self.events.extend(applied.events);
        applied.outcomes
    }

    /// Applies a block with one message, signed by account `number`. Returns the code and the log of the transaction.
    fn send(&mut self, number: u8, message: Message) -> (u32, String) {
        let tx = self.sign(number, &[message]);
        let outcome = self.block(vec![tx]).remove(0);
        (outcome.code, outcome.log)
    }

    /// Applies a block with one message, signed by account `number`, which must succeed.
    fn done(&mut self, number: u8, message: Message) {
        assert_eq!(self.send(number, message), (0, String::new()));
    }

    fn claim(&self, number: u8, chunk_id: u64) -> Message {
        Message::ClaimTask(MsgClaimTask { miner: address(number), pool_id: 0, chunk_id })
    }

    /// Returns the lowest position at which a chunk slot can be claimed.
    fn free(&self) -> u64 {
        self.ledger.at(self.time + 1).state().available().next().expect("a free position")
    }

    /// Returns a submission for the task that account `number` has claimed. `commitment` computes what it commits to.
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

    /// Lets account `number` claim the next chunk slot and submit a gradient for it, with the commitment that
    /// `commitment` returns.
    fn mine(&mut self, number: u8, commitment: impl Fn(&Task) -> Commitment) {
        let claim = self.claim(number, self.free());
        self.done(number, claim);
        let message = self.submission(number, commitment);
        self.done(number, Message::SubmitGradient(Box::new(message)));
    }

    /// Applies blocks in which `nodes` act as verifiers and proposers, until they have nothing left to do. `find`
    /// returns the finding of a verifier.
    fn serve(&mut self, nodes: &[u8], find: impl Fn(u8, &Task, Commitment) -> Finding) {
        for _ in 0..12 {
            let mut txs = Vec::new();
            for number in nodes {
                let messages = self.pending_messages(*number, &find);
                if !messages.is_empty() {
                    txs.push(self.sign(*number, &messages));
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

    /// Returns the messages that account `number` has to send now as a verifier and a proposer.
    fn pending_messages(&self, number: u8, find: &impl Fn(u8, &Task, Commitment) -> Finding) -> Vec<Message> {
        let verifier = address(number);
        let mut messages = Vec::new();
        for duty in self.ledger.assignments(&verifier).unwrap().into_iter().filter(|duty| !duty.done) {
            let claimed = duty.submission.commitment;
            let finding = find(number, &duty.task, claimed);
            let (challenge_id, matches) = (duty.challenge, finding == Finding::Match);
            if duty.stage == ChallengeStage::Panel {
                messages.push(Message::Arbitrate(MsgSubmitCPUVerification {
                    validator: verifier.clone(),
                    challenge_id,
                    is_valid: matches,
                    computed_hash: if matches { claimed.to_string() } else { String::new() },
                    expected_hash: claimed.to_string(),
                    leaf: self.leaf(number).to_owned(),
                }));
                continue;
            }
            let reveal = MsgRevealAttestation {
                verifier: verifier.clone(),
                challenge_id,
                result: ["match", "mismatch", "unavailable"][finding as usize].to_owned(),
                gradient_hash: if matches { claimed.to_string() } else { String::new() },
                leaf: self.leaf(number).to_owned(),
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

    /// Returns the message that a proposer has to send next about the aggregate of the round. The CID of the aggregate
    /// depends on the round and on `salt`.
    fn aggregate(&self, number: u8, salt: &[u8]) -> Option<Message> {
        self.aggregate_without(number, salt, 0)
    }

    /// Returns the same message as [`Self::aggregate`], but for an aggregate without the gradient with the ID
    /// `missing`.
    fn aggregate_without(&self, number: u8, salt: &[u8], missing: u64) -> Option<Message> {
        let proposer = address(number);
        let job = self.ledger.aggregation(&proposer).unwrap()?;
        let summed = || job.gradients.iter().filter(|(id, ..)| *id != missing);
        let ids: Vec<u64> = summed().map(|(id, ..)| *id).collect();
        let reveal = MsgRevealAggregation {
            proposer: proposer.clone(),
            commitment_id: job.own.as_ref().map_or(0, |(id, _)| *id),
            adapter: Codec::DagCbor.cid(&[salt, &job.round.to_le_bytes()].concat()).to_string(),
            layout_root: "0".repeat(64),
            merkle_root: HEXLOWER
                .encode(&merkle_root(&summed().map(|(_, _, known)| known.commitment.0).collect::<Vec<_>>())),
            gradient_ids: ids.clone(),
            training_round_id: job.round,
            model_version: self.ledger.genesis().job.model.to_string(),
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

    /// Returns the leaf that account `number` reveals as a verifier.
    fn leaf(&self, number: u8) -> &'static str {
        if self.guessing.contains(&number) { "guess" } else { "leaf" }
    }

    fn balance(&self, number: u8) -> u64 {
        self.ledger.state().account_of(&address(number)).balance
    }

    fn head(&self) -> ChainHead {
        self.ledger.state().head().clone()
    }

    fn slashed(&self, number: u8) -> u64 {
        let amount = |event: &Event| match event {
            Event::Slashed { node, amount } if *node == address(number) => *amount,
            _ => 0,
        };
        self.events.iter().map(amount).sum()
    }

    /// Checks that the state contains exactly the coins that were minted and not burned, and that restoring the ledger
    /// from its rows or replaying its blocks gives the same root.
    fn check(&self) {
        let head = self.head();
        assert_eq!(self.ledger.state().coins(), u128::from(head.minted - head.burned), "minted minus burned coins");
        let genesis = self.ledger.genesis().clone();
        let restored = Ledger::restore(genesis.clone(), &self.ledger.rows()).unwrap();
        assert_eq!((restored.root(), restored.state()), (self.ledger.root(), self.ledger.state()), "from the rows");
        let fresh = Ledger::new(genesis).unwrap();
        let replayed = self.blocks.iter().fold(fresh, |ledger, block| ledger.apply(block).0);
        assert_eq!(replayed.root(), self.ledger.root(), "from the blocks");
    }
}

/// Returns the finding of a verifier that recomputes the gradient.
fn honest_finding(_: u8, task: &Task, claimed: Commitment) -> Finding {
    if claimed == honest(task) { Finding::Match } else { Finding::Mismatch }
}

/// Returns the commitment that the tests treat as that of a wrong gradient.
fn wrong(task: &Task) -> Commitment {
    Commitment::new(task, &[8; 32])
}
