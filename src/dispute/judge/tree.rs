//! Merkle trees, with proofs of leaves and with openings. An opening of a node reveals the nodes that lie a few levels
//! below it. The trees are those of RFC 6962, like the tree of [`merkle_root`](crate::protocol::merkle_root): in a tree
//! of n leaves, the number of leaves in the left subtree is the largest power of two below n.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{fmt, ops::Range};

/// The SHA-256 hash of a leaf or of a node of a Merkle tree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hash(#[serde(with = "serde_bytes")] pub [u8; 32]);

impl Hash {
    /// Returns the hash of a leaf: `H(0 ‖ bytes)`, where `H` is SHA-256.
    pub fn leaf(bytes: &[u8]) -> Self {
        Self(Sha256::new().chain_update([0]).chain_update(bytes).finalize().into())
    }

    /// Returns the hash of a node with two children: `H(1 ‖ left ‖ right)`, where `H` is SHA-256.
    pub fn node(left: Self, right: Self) -> Self {
        Self(Sha256::new().chain_update([1]).chain_update(left.0).chain_update(right.0).finalize().into())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0[..4]))
    }
}

/// An opening of a disputed node reveals the nodes that lie this many levels below it. These are up to 16 nodes.
pub const OPENED_LEVELS: u32 = 4;

/// Returns the index of the first leaf in the right subtree of a node. The node covers the leaves in `range`, of which
/// there must be at least two.
fn middle(range: &Range<usize>) -> usize {
    range.start + range.len().next_power_of_two() / 2
}

/// Returns the Merkle root over leaves with these hashes. If there are no leaves, the root is `H(2)`, where `H` is
/// SHA-256.
pub fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash(Sha256::digest([2]).into()),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(middle(&(0..leaves.len())));
            Hash::node(root(left), root(right))
        }
    }
}

/// Divides the node that covers the leaves in `range` into the nodes that lie `levels` levels below it. Returns the
/// range of the leaves that each of them covers, from left to right. If a leaf is reached after fewer levels, its range
/// is returned too.
pub fn parts(range: Range<usize>, levels: u32) -> Vec<Range<usize>> {
    if levels == 0 || range.len() < 2 {
        return vec![range];
    }
    let middle = middle(&range);
    [parts(range.start..middle, levels - 1), parts(middle..range.end, levels - 1)].concat()
}

/// Returns the hash of the node that covers the leaves in `range`. It is computed from `parts`, the hashes of the nodes
/// that lie `levels` levels below it, from left to right (see [`parts`]). Returns `None` if the number of hashes is
/// wrong.
pub fn fold(range: Range<usize>, levels: u32, parts: &[Hash]) -> Option<Hash> {
    fn down(range: Range<usize>, levels: u32, parts: &mut std::slice::Iter<Hash>) -> Option<Hash> {
        if levels == 0 || range.len() < 2 {
            return parts.next().copied();
        }
        let middle = middle(&range);
        let left = down(range.start..middle, levels - 1, parts)?;
        Some(Hash::node(left, down(middle..range.end, levels - 1, parts)?))
    }
    let mut rest = parts.iter();
    down(range, levels, &mut rest).filter(|_| rest.next().is_none())
}

/// Returns a proof of the leaves with the indexes `revealed` (ascending): the roots of the largest subtrees that
/// contain none of these leaves, from left to right. From the proof and these leaves, the root of the tree can be
/// computed.
pub fn prove(leaves: &[Hash], revealed: &[usize]) -> Vec<Hash> {
    fn down(leaves: &[Hash], first: usize, revealed: &[usize], proof: &mut Vec<Hash>) {
        if revealed.is_empty() {
            return proof.push(root(leaves));
        }
        if leaves.len() < 2 {
            return;
        }
        let middle = middle(&(0..leaves.len()));
        let cut = revealed.partition_point(|at| *at < first + middle);
        down(&leaves[..middle], first, &revealed[..cut], proof);
        down(&leaves[middle..], first + middle, &revealed[cut..], proof);
    }
    let mut proof = Vec::new();
    down(leaves, 0, revealed, &mut proof);
    proof
}

/// Returns the root of a tree of `count` leaves, computed from the `revealed` leaves (index and hash, ascending) and
/// from the `proof` that [`prove`] returned for them. Returns `None` if `count` is 0, if the indexes are not ascending
/// or not below `count`, or if the number of hashes in `proof` is wrong.
pub fn proven_root(count: usize, revealed: &[(usize, Hash)], proof: &[Hash]) -> Option<Hash> {
    fn down(range: Range<usize>, revealed: &[(usize, Hash)], proof: &mut std::slice::Iter<Hash>) -> Option<Hash> {
        match revealed {
            [] => proof.next().copied(),
            [(_, hash)] if range.len() == 1 => Some(*hash),
            _ if range.len() < 2 => None,
            _ => {
                let middle = middle(&range);
                let (left, right) = revealed.split_at(revealed.partition_point(|(at, _)| *at < middle));
                let left = down(range.start..middle, left, proof)?;
                Some(Hash::node(left, down(middle..range.end, right, proof)?))
            }
        }
    }
    let ascending = revealed.windows(2).all(|pair| pair[0].0 < pair[1].0);
    let inside = revealed.iter().all(|(at, _)| *at < count);
    if count == 0 || !ascending || !inside {
        return None;
    }
    let mut rest = proof.iter();
    down(0..count, revealed, &mut rest).filter(|_| rest.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::merkle_root;
    use proptest::prelude::*;

    fn leaves(count: usize) -> Vec<Hash> {
        (0..count).map(|at| Hash::leaf(&at.to_le_bytes())).collect()
    }

    #[test]
    fn roots_equal_those_of_the_protocol() {
        for count in 0..70 {
            let bytes: Vec<_> = (0..count).map(usize::to_le_bytes).collect();
            assert_eq!(root(&leaves(count)).0, merkle_root(&bytes), "{count} leaves");
        }
    }

    proptest! {
        #[test]
        fn revealed_leaves_and_their_proof_give_the_root(count in 1usize..300, picks in proptest::collection::btree_set(0usize..300, 1..9)) {
            let leaves = leaves(count);
            let revealed: Vec<usize> = picks.into_iter().filter(|at| *at < count).collect();
            prop_assume!(!revealed.is_empty());
            let proof = prove(&leaves, &revealed);
            let mut with: Vec<_> = revealed.iter().map(|at| (*at, leaves[*at])).collect();
            prop_assert_eq!(proven_root(count, &with, &proof), Some(root(&leaves)));
            with[0].1.0[0] ^= 1;
            prop_assert_ne!(proven_root(count, &with, &proof), Some(root(&leaves)));
            prop_assert_eq!(proven_root(count, &with, &[&proof[..], &[leaves[0]]].concat()), None);
        }

        #[test]
        fn opened_parts_give_their_node(count in 1usize..3000, levels in 1u32..6) {
            let leaves = leaves(count);
            let parts = parts(0..count, levels);
            let hashes: Vec<_> = parts.iter().map(|part| root(&leaves[part.clone()])).collect();
            prop_assert!(hashes.len() <= 1 << levels);
            prop_assert_eq!(fold(0..count, levels, &hashes), Some(root(&leaves)));
            prop_assert_eq!(fold(0..count, levels, &hashes[1..]), None);
        }
    }
}
