//! Long values, which are split into leaves. A leaf is a raw block of 1 MiB; only the last leaf of a value may be
//! shorter.

use super::{Block, Codec, Fetch, MAX_BLOCK_BYTES, StoreError};
use cid::Cid;

/// The size of a leaf, in bytes (1 MiB). Only the last leaf of a value may be smaller.
pub const LEAF_BYTES: usize = MAX_BLOCK_BYTES;

/// Splits a value into leaves of 1 MiB, of which the last one may be shorter. An empty value has no leaves.
pub fn split(bytes: &[u8]) -> Vec<Block> {
    let block = |leaf: &[u8]| Block::new(Codec::Raw, leaf.to_vec()).expect("a leaf is within the block limit");
    bytes.chunks(LEAF_BYTES).map(block).collect()
}

/// Fetches the leaves of a value, checks each leaf against its CID, and joins the leaves. Fails unless the value has
/// exactly `bytes` bytes.
///
/// Memory is allocated only for leaves that have been checked. It is never allocated on the basis of the number
/// `bytes`, which may come from an untrusted source.
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
