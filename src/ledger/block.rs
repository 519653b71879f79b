//! Blocks: transactions with a height, a time and a hash. They are the ledger's only input.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A block: the transactions that the ledger executes together, with a height, a time and a hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainBlock {
    /// Height, one more than the previous block's height.
    pub height: u64,
    /// Time in seconds since 1970, not earlier than the previous block's time.
    pub time: u64,
    /// Hash of the block, computed by the consensus engine if there is one, otherwise by [`ChainBlock::new`]. It is the
    /// ledger's only source of randomness.
    #[serde(with = "serde_bytes")]
    pub hash: [u8; 32],
    /// The transactions, as `TxRaw` bytes.
    pub txs: Vec<Tx>,
}

/// The bytes of a transaction, a `TxRaw`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tx(#[serde(with = "serde_bytes")] pub Vec<u8>);

impl ChainBlock {
    /// Makes a block whose hash covers its height, its time, its transactions, and the ledger's root before the block.
    pub fn new(height: u64, time: u64, root: [u8; 32], txs: Vec<Tx>) -> Self {
        let mut hash = Sha256::new().chain_update("r3mes/block/1").chain_update(height.to_le_bytes());
        hash.update(time.to_le_bytes());
        hash.update(root);
        txs.iter().for_each(|tx| hash.update(Sha256::digest(&tx.0)));
        Self { height, time, hash: hash.finalize().into(), txs }
    }
}
