//! The genesis is the terms that a ledger starts from and never changes.

use super::blocks;
use super::tables::*;
use anyhow::{Context, Result, bail, ensure};
use r3mes_wgpu::store::{Block, Cid, dag_cbor};
use r3mes_wgpu::work::{AdapterState, Aggregate, Chunk, Job, Task, TaskTerms, WorkError, merkle_root};
use redb::{ReadableTable, WriteTransaction};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const FORMAT: &str = "r3mes/genesis/1";

/// The terms of one training run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Genesis {
    /// What is computed for each chunk.
    pub(crate) job: Job,
    /// What all job seeds are derived from.
    #[serde(with = "serde_bytes")]
    pub(crate) seed: [u8; 32],
    /// Accepted tasks that make a round, 1..=256; at most as many as there are chunks.
    pub(crate) quota: u32,
    /// Micro-units for each accepted task.
    pub(crate) reward: u64,
    /// How long a claim holds, in the caller's unit of time (seconds or blocks).
    pub(crate) claim_lifetime: u64,
    /// Closed rounds whose artifacts and adapters are kept.
    pub(crate) retention_rounds: u64,
}

/// A genesis with the adapter and the text that it starts from.
pub(crate) struct Setup {
    pub(super) genesis: Genesis,
    adapter: AdapterState,
    chunks: Vec<Block>,
}

/// What is stored of a [`Setup`], to tell another one.
#[derive(Serialize, Deserialize)]
struct Record {
    genesis: Genesis,
    adapter: Cid,
    #[serde(with = "serde_bytes")]
    data: [u8; 32],
}

impl Setup {
    /// Checks that terms, adapter and text fit together.
    pub(crate) fn new(genesis: Genesis, adapter: AdapterState, chunks: impl Iterator<Item = Chunk>) -> Result<Self> {
        genesis.job.validate()?;
        genesis.job.check_adapter(&adapter.adapter)?;
        let chunks: Vec<Block> = chunks.map(|chunk| chunk.block()).collect();
        let quota = genesis.quota;
        ensure!((1..=Aggregate::MAX_ARTIFACTS).contains(&quota), "a round of {quota} tasks is not within 1..=256");
        let count = chunks.len();
        ensure!(count as u64 >= quota.into(), "the text has {count} chunks of 2048 tokens, a round needs {quota}");
        Ok(Self { genesis, adapter, chunks })
    }

    /// A folder's name for this run alone.
    pub(crate) fn folder(&self) -> Result<String> {
        let hash = Sha256::digest(dag_cbor::encode(FORMAT, &self.record(self.adapter.dag()?.root)));
        Ok(hash[..8].iter().fold("job-".to_owned(), |name, byte| name + &format!("{byte:02x}")))
    }

    fn record(&self, adapter: Cid) -> Record {
        let cids: Vec<Vec<u8>> = self.chunks.iter().map(|chunk| chunk.cid().to_bytes()).collect();
        Record { genesis: self.genesis.clone(), adapter, data: merkle_root(&cids) }
    }

    /// Fills an empty ledger; on another one, checks that it came of the same setup.
    pub(super) fn install(&self, write: &WriteTransaction) -> Result<()> {
        let dag = self.adapter.dag()?;
        let record = self.record(dag.root);
        // every table exists from here on, so that readers never miss one
        write.open_table(ACCOUNTS)?;
        write.open_table(PAYOUTS)?;
        write.open_table(TRANSACTIONS)?;
        write.open_table(TRANSACTION_HEIGHTS)?;
        write.open_table(LOOSE)?;
        write.open_table(OPEN)?;
        write.open_table(CLAIMS)?;
        write.open_table(ACCEPTED)?;
        write.open_table(COMMITMENTS)?;
        write.open_table(BALANCES)?;
        write.open_table(GRANTS)?;
        write.open_table(ALLOWANCES)?;
        write.open_table(SESSIONS)?;
        write.open_table(FEES)?;
        let mut meta = write.open_table(META)?;
        if let Some(stored) = meta.get("genesis")? {
            let stored: Record = dag_cbor::decode(FORMAT, stored.value()).context("reading its genesis")?;
            return record.compare(&stored);
        }
        meta.insert("genesis", dag_cbor::encode(FORMAT, &record).as_slice())?;
        drop(meta);
        let adapter = dag.root;
        write.open_table(ROUNDS)?.insert(0, adapter.to_bytes().as_slice())?;
        let (cursor, accepted_in_round, accepted_total, loose_bytes) = (0, 0, 0, 0);
        let mut ledger = Ledger { round: 0, adapter, cursor, accepted_in_round, accepted_total, loose_bytes };
        for block in dag.blocks {
            blocks::insert_pinned(write, &mut ledger, &block)?;
        }
        for (number, block) in self.chunks.iter().enumerate() {
            write.open_table(CHUNKS)?.insert(number as u64, block.cid().to_bytes().as_slice())?;
            blocks::insert_pinned(write, &mut ledger, block)?;
        }
        ledger.store(write)
    }
}

impl Record {
    fn compare(&self, stored: &Self) -> Result<()> {
        let (ours, theirs) = (&self.genesis, &stored.genesis);
        let difference = if ours.job.model != theirs.job.model {
            "model"
        } else if self.data != stored.data {
            "text"
        } else if self.adapter != stored.adapter {
            "first adapter"
        } else if ours.job != theirs.job {
            "job"
        } else if ours != theirs {
            "seed, quota, reward, claim lifetime or retention"
        } else {
            return Ok(());
        };
        bail!("belongs to another run: its {difference} is not the one given; use another data directory")
    }
}

impl Genesis {
    /// The task at `position` of a round, for one miner. `chunk` is the CID of [`chunk_number`].
    pub(super) fn task(&self, ledger: &Ledger, position: u64, chunk: Cid, miner: &str) -> Result<Task, WorkError> {
        let seed = Sha256::new().chain_update("r3mes/job-seed/1").chain_update(self.seed);
        let seed = seed.chain_update(ledger.round.to_le_bytes()).chain_update(position.to_le_bytes()).finalize().into();
        let (job, adapter, miner) = (self.job.clone(), ledger.adapter, miner.to_owned());
        Task::new(TaskTerms { job, adapter, chunk, seed, miner })
    }
}

/// Which of `chunks` chunks stands at `position`: every chunk once in `chunks` positions, neighbors far apart.
///
/// A walk in steps near `0.618 · chunks` that share no factor with it.
pub(super) fn chunk_number(position: u64, chunks: u64) -> u64 {
    let coprime = |step: &u64| {
        let (mut a, mut b) = (chunks, *step);
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a == 1
    };
    let start = (u128::from(chunks) * 618 / 1000) as u64;
    let step = (start.max(1)..=chunks).find(coprime).unwrap_or(1);
    (u128::from(position) * u128::from(step) % u128::from(chunks)) as u64
}
