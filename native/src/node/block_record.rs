//! Blocks and transactions with the results of their execution, as the node keeps them.

use anyhow::{Context, Result};
use r3mes_wgpu::ledger::{ChainBlock, TxOutcome};
use serde::{Deserialize, Serialize};

/// A block with the results of its execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BlockRecord {
    pub(crate) block: ChainBlock,
    /// The root hash of the ledger after the execution of the block.
    #[serde(with = "serde_bytes")]
    pub(crate) root: [u8; 32],
    pub(crate) outcomes: Vec<TxOutcome>,
}

/// A transaction in a block.
pub(crate) struct FoundTx {
    /// The height of the block.
    pub(crate) height: u64,
    /// The time of the block in seconds since 1970.
    pub(crate) time: u64,
    /// The position of the transaction in the block.
    pub(crate) index: u32,
    pub(crate) tx: Vec<u8>,
    pub(crate) outcome: TxOutcome,
}

impl BlockRecord {
    /// Returns the transaction at a position in this block.
    pub(super) fn transaction(&self, index: u32) -> Result<FoundTx> {
        let Self { block, outcomes, .. } = self;
        let tx = block.txs.get(index as usize).context("the block lacks the transaction")?.0.clone();
        let outcome = outcomes.get(index as usize).context("the block lacks the transaction's outcome")?.clone();
        Ok(FoundTx { height: block.height, time: block.time, index, tx, outcome })
    }
}
