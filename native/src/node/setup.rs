//! The setup of a node: a genesis, and the data blocks whose CIDs the genesis contains.

use super::chain;
use anyhow::{Result, ensure};
use r3mes_wgpu::{
    dispute::judge::{DisputeContext, Hash},
    ledger::{ConsensusKey, Genesis, LedgerParams},
    protocol::{AdapterState, Chunk, Job},
    store::Block,
};
use std::collections::BTreeMap;

/// A genesis, the data blocks of the training text, and the data blocks of the initial adapter.
pub(crate) struct Setup {
    pub(super) genesis: Genesis,
    pub(super) blocks: Vec<Block>,
}

/// The parts of a genesis that do not follow from the model and the training text.
pub(crate) struct GenesisTerms {
    pub(crate) chain_id: String,
    pub(crate) params: LedgerParams,
    /// The LoRA rank of the adapter.
    pub(crate) rank: u32,
    pub(crate) seed: [u8; 32],
    /// The number of tasks that must be accepted to complete a round. If it exceeds the number of chunks in the text,
    /// the number of chunks is used instead.
    pub(crate) quota: u32,
    /// The initial accounts, as pairs of an address and a balance in micro-units.
    pub(crate) accounts: Vec<(String, u64)>,
    /// The initial nodes, as triples of the operator's address, the stake in micro-units, and the IDs of the node's
    /// roles (3 is validator, 4 is proposer).
    pub(crate) nodes: Vec<(String, u64, Vec<u32>)>,
    /// The public keys of the CometBFT processes of the initial validators, by the address of the validator.
    pub(crate) consensus_keys: BTreeMap<String, ConsensusKey>,
}

impl GenesisTerms {
    /// Returns the terms of an existing genesis: the parts that do not follow from the model and the training text.
    pub(crate) fn of(genesis: &Genesis) -> Self {
        let Genesis { chain_id, params, job, seed, quota, accounts, nodes, consensus_keys, .. } = genesis.clone();
        Self { chain_id, params, rank: job.rank, seed, quota, accounts, nodes, consensus_keys }
    }
}

impl Setup {
    /// Builds a genesis and its data blocks. The third parameter is a pair: the dispute context (what all disputes
    /// about the job's tasks have in common), and the layout root (the Merkle root over the buffers that contain the
    /// adapter).
    ///
    /// Returns an error if the adapter does not match the job, the text is shorter than one chunk, or a value is out of
    /// range.
    pub(crate) fn new(
        terms: GenesisTerms,
        job: Job,
        (dispute_context, layout_root): (DisputeContext, Hash),
        adapter: &AdapterState,
        chunks: Vec<Chunk>,
    ) -> Result<Self> {
        let GenesisTerms { chain_id, params, seed, quota, accounts, nodes, consensus_keys, .. } = terms;
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
            consensus_keys,
        };
        genesis.validate()?;
        Ok(Self { genesis, blocks })
    }

    /// Returns the genesis of this setup.
    pub(crate) fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// Returns the name of this network's folder, which is a subfolder of the data folder.
    pub(crate) fn folder(&self) -> String {
        chain::folder_name(&self.genesis)
    }
}
