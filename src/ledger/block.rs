//! Blocks of the chain: lists of transactions, each with a height, a time and a hash. Blocks are the only input of the
//! ledger.

use crate::tx::MAX_TX_BYTES;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The maximum total size, in bytes, of the transactions in a block.
pub const MAX_BLOCK_BYTES: usize = 1 << 20;

/// Returns whether a block still has room for a transaction of the maximum size. `bytes` is the total size of the
/// transactions that the block already contains.
pub(super) fn has_room(bytes: usize) -> bool {
    bytes + MAX_TX_BYTES <= MAX_BLOCK_BYTES
}

/// A block of the chain: transactions that the ledger executes in order, with a height, a time and a hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainBlock {
    /// Height of the block: the height of the previous block plus 1.
    pub height: u64,
    /// Time of the block in seconds since 1970. It is not earlier than the time of the previous block.
    pub time: u64,
    /// Hash of the block. It is computed by the consensus engine or, if there is none, by [`ChainBlock::new`].
    #[serde(with = "serde_bytes")]
    pub hash: [u8; 32],
    /// The transactions of the block, in the order in which they are executed.
    pub txs: Vec<Tx>,
}

/// A transaction as bytes: an encoded `TxRaw`, the Cosmos SDK's message for signed transactions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tx(#[serde(with = "serde_bytes")] pub Vec<u8>);

impl ChainBlock {
    /// Creates a block. Its hash covers the height, the time, the transactions, and `root`: the ledger root (the hash
    /// of the ledger's state) before the block.
    pub fn new(height: u64, time: u64, root: [u8; 32], txs: Vec<Tx>) -> Self {
        let mut hash = Sha256::new().chain_update("r3mes/block/1").chain_update(height.to_le_bytes());
        hash.update(time.to_le_bytes());
        hash.update(root);
        txs.iter().for_each(|tx| hash.update(Sha256::digest(&tx.0)));
        Self { height, time, hash: hash.finalize().into(), txs }
    }
}
