//! The setup of a node: a genesis and the data blocks that it names.

use super::chain;
use anyhow::{Result, ensure};
use r3mes_wgpu::{
    dispute::judge::{DisputeContext, Hash},
    ledger::{Genesis, LedgerParams},
    protocol::{AdapterState, Chunk, Job},
    store::Block,
};

/// A genesis, and the blocks of its chunks and of its initial adapter.
pub(crate) struct Setup {
    pub(super) genesis: Genesis,
    pub(super) blocks: Vec<Block>,
}

/// The parts of a genesis that are not derived from the model and the text.
pub(crate) struct GenesisTerms {
    pub(crate) chain_id: String,
    pub(crate) params: LedgerParams,
    /// Rank of the adapter.
    pub(crate) rank: u32,
    pub(crate) seed: [u8; 32],
    /// The number of accepted tasks that fill a round. Limited to the number of chunks of the text.
    pub(crate) quota: u32,
    /// Address of each account, and its coins in micro-units.
    pub(crate) accounts: Vec<(String, u64)>,
    /// Address of each operator, its stake in micro-units, and the codes of its roles.
    pub(crate) nodes: Vec<(String, u64, Vec<u32>)>,
}

impl GenesisTerms {
    /// Returns the terms that a genesis contains.
    pub(crate) fn of(genesis: &Genesis) -> Self {
        let Genesis { chain_id, params, job, seed, quota, accounts, nodes, .. } = genesis.clone();
        Self { chain_id, params, rank: job.rank, seed, quota, accounts, nodes }
    }
}

impl Setup {
    /// Builds a genesis. The last parameter is a pair: the job's dispute context and the adapter's layout root.
    ///
    /// Returns an error if the terms, the job, the adapter and the text do not belong together.
    pub(crate) fn new(
        terms: GenesisTerms,
        job: Job,
        (dispute_context, layout_root): (DisputeContext, Hash),
        adapter: &AdapterState,
        chunks: Vec<Chunk>,
    ) -> Result<Self> {
        let GenesisTerms { chain_id, params, seed, quota, accounts, nodes, .. } = terms;
        job.check_adapter(&adapter.adapter)?;
        let mut blocks: Vec<Block> = chunks.iter().map(Chunk::block).collect();
        ensure!(!blocks.is_empty(), "the text is shorter than one chunk of 2048 tokens");
        let chunks: Vec<_> = blocks.iter().map(Block::cid).collect();
        let dag = adapter.dag()?;
        let (quota, adapter) = (quota.min(chunks.len() as u32), dag.root);
        blocks.extend(dag.blocks);
        let genesis = Genesis {
            chain_id,
            params,
            job,
            seed,
            quota,
            adapter,
            layout_root,
            dispute_context,
            chunks,
            accounts,
            nodes,
        };
        genesis.validate()?;
        Ok(Self { genesis, blocks })
    }

    /// Returns the genesis of this setup.
    pub(crate) fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// Returns the name of this network's subfolder in the data folder.
    pub(crate) fn folder(&self) -> String {
        chain::folder_name(&self.genesis)
    }
}
