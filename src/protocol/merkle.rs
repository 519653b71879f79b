//! Merkle roots, computed with H = SHA-256: `leaf = H(0 ‖ bytes)`, `node = H(1 ‖ left ‖ right)`, and `H(2)` for a tree
//! without leaves.
//!
//! The tree has the shape that RFC 6962 prescribes: if the tree has n leaves, its left subtree has 2^k leaves, where
//! 2^k is the largest power of two below n. Leaves are never duplicated, so two different lists have different roots.

use sha2::{Digest, Sha256};

/// Returns the Merkle root of a list of leaves. The list can be empty.
pub fn merkle_root<L: AsRef<[u8]>>(leaves: &[L]) -> [u8; 32] {
    match leaves {
        [] => Sha256::digest([2]).into(),
        [leaf] => Sha256::new().chain_update([0]).chain_update(leaf).finalize().into(),
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            let hash = Sha256::new().chain_update([1]).chain_update(merkle_root(left));
            hash.chain_update(merkle_root(right)).finalize().into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Checks that the roots of trees with 1, 2, 3 and 8 leaves equal the published roots of RFC 6962 trees, which have
    /// the same shape and the same hash prefixes.
    #[test]
    fn roots_are_those_of_rfc_6962() {
        let leaves: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let root = |count: usize| data_encoding::HEXLOWER.encode(&merkle_root(&leaves[..count]));
        assert_eq!(root(1), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
        assert_eq!(root(2), "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125");
        assert_eq!(root(3), "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77");
        assert_eq!(root(8), "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
    }

    #[test]
    fn lists_of_other_length_order_or_nesting_have_other_roots() {
        let (a, b, c) = (vec![1u8], vec![2u8], vec![3u8]);
        let pair = [&[1][..], &merkle_root(&[&a]), &merkle_root(&[&b])].concat();
        let lists: [Vec<&Vec<u8>>; 8] = [
            vec![],
            vec![&a],
            vec![&a, &a],
            vec![&a, &b],
            vec![&b, &a],
            vec![&a, &b, &c],
            vec![&a, &b, &c, &c],
            vec![&pair],
        ];
        let roots: BTreeSet<_> = lists.iter().map(|list| merkle_root(list)).collect();
        assert_eq!(roots.len(), lists.len());
    }
}
