//! A block is a list of transactions with a height, a time and a hash: all that a ledger ever hears.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A block, as a ledger takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainBlock {
    /// One more than that of the block before.
    pub height: u64,
    /// Seconds since 1970; not before that of the block before.
    pub time: u64,
    /// Where consensus gives one, its own; else [`ChainBlock::new`]'s. The ledger's only randomness.
    #[serde(with = "serde_bytes")]
    pub hash: [u8; 32],
    /// `TxRaw` bytes, as they came.
    pub txs: Vec<Tx>,
}

/// The bytes of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tx(#[serde(with = "serde_bytes")] pub Vec<u8>);

impl ChainBlock {
    /// A block whose hash is that of its height, time, transactions, and of the root that the ledger had before.
    pub fn new(height: u64, time: u64, root: [u8; 32], txs: Vec<Tx>) -> Self {
        let mut hash = Sha256::new().chain_update("r3mes/block/1").chain_update(height.to_le_bytes());
        hash.update(time.to_le_bytes());
        hash.update(root);
        txs.iter().for_each(|tx| hash.update(Sha256::digest(&tx.0)));
        Self { height, time, hash: hash.finalize().into(), txs }
    }
}
