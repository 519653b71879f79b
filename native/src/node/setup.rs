//! A setup is a genesis with the bytes that it names.

use super::chain;
use anyhow::{Result, ensure};
use r3mes_wgpu::{
    dispute::judge::{DisputeContext, Hash},
    ledger::{Genesis, LedgerParams},
    protocol::{AdapterState, Chunk, Job},
    store::Block,
};

/// What a node starts from.
pub(crate) struct Setup {
    pub(super) genesis: Genesis,
    pub(super) blocks: Vec<Block>,
}

/// What a genesis says besides what follows from model and text.
pub(crate) struct Terms {
    pub(crate) chain_id: String,
    pub(crate) params: LedgerParams,
    /// Of the adapter.
    pub(crate) rank: u32,
    pub(crate) seed: [u8; 32],
    /// Tasks of a round; fewer, where the text is shorter.
    pub(crate) quota: u32,
    pub(crate) accounts: Vec<(String, u64)>,
    /// Address, stake, roles.
    pub(crate) nodes: Vec<(String, u64, Vec<u32>)>,
}

impl Terms {
    /// Those of a genesis.
    pub(crate) fn of(genesis: &Genesis) -> Self {
        let Genesis { chain_id, params, job, seed, quota, accounts, nodes, .. } = genesis.clone();
        Self { chain_id, params, rank: job.rank, seed, quota, accounts, nodes }
    }
}

impl Setup {
    /// Checks that terms, job, adapter and text fit together. `ground` is what disputes are about, and the root of what the
    /// adapter is packed as.
    pub(crate) fn new(
        terms: Terms,
        job: Job,
        (ground, layout_root): (DisputeContext, Hash),
        adapter: &AdapterState,
        chunks: Vec<Chunk>,
    ) -> Result<Self> {
        let Terms { chain_id, params, seed, quota, accounts, nodes, .. } = terms;
        job.check_adapter(&adapter.adapter)?;
        let mut blocks: Vec<Block> = chunks.iter().map(Chunk::block).collect();
        ensure!(!blocks.is_empty(), "the text has no chunk of 2048 tokens");
        let chunks: Vec<_> = blocks.iter().map(Block::cid).collect();
        let dag = adapter.dag()?;
        let (quota, adapter) = (quota.min(chunks.len() as u32), dag.root);
        blocks.extend(dag.blocks);
        let genesis =
            Genesis { chain_id, params, job, seed, quota, adapter, layout_root, ground, chunks, accounts, nodes };
        genesis.validate()?;
        Ok(Self { genesis, blocks })
    }

    /// What it starts from.
    pub(crate) fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// A folder's name for this run alone.
    pub(crate) fn folder(&self) -> String {
        chain::name(&self.genesis)
    }
}
