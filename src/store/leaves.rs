//! Long values, stored as leaves: raw blocks of 1 MiB each, of which the last one can be shorter.

use super::{Block, Codec, Fetch, MAX_BLOCK_BYTES, StoreError};
use cid::Cid;

/// Size of every leaf except the last one, in bytes.
pub const LEAF_BYTES: usize = MAX_BLOCK_BYTES;

/// Splits a value into leaves. An empty value has no leaves.
pub fn split(bytes: &[u8]) -> Vec<Block> {
    let block = |leaf: &[u8]| Block::new(Codec::Raw, leaf.to_vec()).expect("a leaf is within the block limit");
    bytes.chunks(LEAF_BYTES).map(block).collect()
}

/// Fetches, checks and joins the leaves of a value of exactly `bytes` bytes.
///
/// Memory grows with the checked leaves. Nothing is allocated from the stated length.
pub fn join(leaves: &[Cid], bytes: u64, fetch: Fetch) -> Result<Vec<u8>, StoreError> {
    let length = |found| StoreError::Length { expected: bytes, leaves: leaves.len(), found };
    if bytes.div_ceil(LEAF_BYTES as u64) != leaves.len() as u64 {
        return Err(length(0));
    }
    let mut value = Vec::new();
    for (at, cid) in leaves.iter().enumerate() {
        let leaf = Block::fetch(Codec::Raw, cid, fetch)?;
        value.extend_from_slice(leaf.bytes());
        if at + 1 < leaves.len() && leaf.bytes().len() != LEAF_BYTES {
            return Err(length(value.len() as u64));
        }
    }
    if value.len() as u64 == bytes { Ok(value) } else { Err(length(value.len() as u64)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Dag;

    #[test]
    fn split_values_are_joined_again() {
        for bytes in [0, 1, LEAF_BYTES - 1, LEAF_BYTES, LEAF_BYTES + 1, 2 * LEAF_BYTES + 5] {
            let value: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
            let leaves = split(&value);
            let cids: Vec<Cid> = leaves.iter().map(Block::cid).collect();
            let dag = Dag::new(Block::new(Codec::DagCbor, vec![0xa0]).unwrap(), leaves);
            let fetch = |cid: &Cid| dag.get(cid);
            assert_eq!(join(&cids, bytes as u64, &fetch).as_ref(), Ok(&value));
            assert!(matches!(join(&cids, bytes as u64 + 1, &fetch), Err(StoreError::Length { .. })));
            if cids.len() > 1 {
                let swapped: Vec<Cid> = cids.iter().rev().copied().collect();
                assert!(matches!(join(&swapped, bytes as u64, &fetch), Err(StoreError::Length { .. })));
                assert!(matches!(join(&cids[1..], bytes as u64, &fetch), Err(StoreError::Length { .. })));
            }
        }
    }
}
