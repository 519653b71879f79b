//! For rounds of 16, 256, 1024 and 4096 tasks, measures how long the ledger takes to execute the claim of a task and
//! the submission of a gradient, and how large the ledger's state becomes.
//!
//! `cargo bench --bench ledger` executes signed transactions in blocks, as a node does, but without disk or network.
//! The sampling rate is 0, so no gradient is recomputed. The column `µs to admit a submission` gives the
//! time of checking whether a mempool may admit a submission.

use r3mes_wgpu::{
    ledger::{ChainBlock, Genesis, Ledger, LedgerParams, Tx},
    protocol::{CHUNK_TOKENS, Commitment},
    simulation::{CHAIN, NETWORK, genesis},
    store::Codec,
    tx::{Fee, Message, MsgClaimTask, MsgSubmitGradient, SessionKey},
};
use std::time::{Duration, Instant};

/// The maximum number of transactions in a block of this benchmark.
const BLOCK: usize = 256;

fn main() {
    println!(
        "tasks   µs to execute a claim   µs to execute a submission   µs to admit a submission   state rows   state bytes"
    );
    for quota in [16, 256, 1024, 4096] {
        let mut world = World::new(quota);
        let claims = world.each(|world, number| {
            let miner = world.keys[number].address().to_owned();
            Message::ClaimTask(MsgClaimTask { miner, pool_id: 0, chunk_id: number as u64 })
        });
        let submissions = world.each(World::submission);
        let rows = world.ledger.rows();
        let bytes: usize = rows.iter().map(|row| row.key.len() + row.value.as_ref().map_or(0, Vec::len)).sum();
        let micro = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(quota);
        println!(
            "{quota:>5} {:>23.0} {:>28.0} {:>26.0} {:>12} {bytes:>13}",
            micro(claims.applied),
            micro(submissions.applied),
            micro(submissions.admitted),
            rows.len(),
        );
    }
}

/// A ledger whose round has one task for each miner, and the keys of these miners.
struct World {
    ledger: Ledger,
    keys: Vec<SessionKey>,
    time: u64,
}

/// The time spent on a set of transactions, one from each miner.
struct Timing {
    /// Total time of checking whether a mempool may admit the transactions. Most of it goes into checking signatures.
    admitted: Duration,
    /// Total time to execute the transactions in blocks, which includes checking their signatures again.
    applied: Duration,
}

impl World {
    fn new(quota: u32) -> Self {
        let key = |number: u32| {
            let mut secret = [0x33; 32];
            secret[..4].copy_from_slice(&(number + 1).to_le_bytes());
            SessionKey::new(&secret).expect("a small number is a key")
        };
        let params = LedgerParams { sampling: 0, probation: 0, claim_bond: 0, ..NETWORK };
        let genesis = Genesis {
            chunks: (0..quota).map(|number| Codec::Raw.cid(&number.to_le_bytes())).collect(),
            ..genesis(quota, params, &[])
        };
        let ledger = Ledger::new(genesis).expect("a genesis within its limits");
        Self { ledger, keys: (0..quota).map(key).collect(), time: 1_000 }
    }

    /// Lets every miner send one transaction: checks whether a mempool may admit it, and executes it. Returns the time
    /// spent. Each transaction contains one message, which `message` returns for the index of the miner.
    fn each(&mut self, message: impl Fn(&Self, usize) -> Message) -> Timing {
        let mut spent = Timing { admitted: Duration::ZERO, applied: Duration::ZERO };
        for start in (0..self.keys.len()).step_by(BLOCK) {
            let numbers = start..(start + BLOCK).min(self.keys.len());
            let sign = |number: usize| {
                let sequence = self.ledger.state().account_of(self.keys[number].address()).sequence;
                let messages = [message(self, number)];
                Tx(self.keys[number].sign(CHAIN, sequence, &Fee::default(), &messages).expect("a message"))
            };
            let txs: Vec<Tx> = numbers.map(sign).collect();
            self.time += 1;
            let begun = Instant::now();
            let mut ahead = self.ledger.clone();
            for tx in &txs {
                ahead = ahead.at(self.time);
                ahead.admit(&tx.0).expect("admitted");
            }
            spent.admitted += begun.elapsed();
            let height = self.ledger.state().head().height + 1;
            let begun = Instant::now();
            let block = ChainBlock::new(height, self.time, self.ledger.root(), txs);
            let (after, applied) = self.ledger.apply(&block);
            spent.applied += begun.elapsed();
            assert!(applied.outcomes.iter().all(|outcome| outcome.code == 0), "{:?}", applied.outcomes[0]);
            self.ledger = after;
        }
        spent
    }

    fn submission(&self, number: usize) -> Message {
        let held = self.ledger.held(self.keys[number].address()).expect("a task").expect("a claim");
        let commitment = Commitment::new(&held.task, &[7; 32]);
        Message::SubmitGradient(Box::new(MsgSubmitGradient {
            miner: self.keys[number].address().to_owned(),
            ipfs_hash: Codec::DagCbor.cid(&commitment.0).to_string(),
            model_version: held.task.job.model.to_string(),
            training_round_id: held.round,
            shard_id: held.shard,
            gradient_hash: commitment.to_string(),
            nonce: number as u64 + 1,
            global_seed: held.global_seed,
            token_count: CHUNK_TOKENS as u64,
            ..Default::default()
        }))
    }
}
