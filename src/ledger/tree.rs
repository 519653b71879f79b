//! A Merkle trie over rows, each with a key and a value. Its root is one hash that depends only on the set of rows, not
//! on the order in which they were inserted.
//!
//! The hash of a row's key is the row's path in the trie: each bit selects one side of a fork. The hashes are
//! `leaf = H(0 ‖ path ‖ H(value))` and `fork = H(1 ‖ left ‖ right)`, where `H` is SHA-256; the root of an empty trie is
//! 32 zero bytes. A subtrie with a single row is just the leaf of that row, so equal sets of rows have equal tries.
//! Tries share their common subtries: a copy costs nothing, and a change creates new nodes only along one path.

use sha2::{Digest, Sha256};
use std::sync::Arc;

#[derive(Clone, Debug, Default)]
pub(super) struct Tree(Option<Arc<TrieNode>>);

#[derive(Debug)]
enum TrieNode {
    Leaf { path: [u8; 32], hash: [u8; 32] },
    Fork { hash: [u8; 32], sides: [Tree; 2] },
}

impl Tree {
    pub(super) fn root(&self) -> [u8; 32] {
        match self.0.as_deref() {
            Some(TrieNode::Leaf { hash, .. } | TrieNode::Fork { hash, .. }) => *hash,
            None => [0; 32],
        }
    }

    /// Inserts the row with this key, or replaces its value. If `value` is `None`, removes the row.
    pub(super) fn set(&mut self, key: &[u8], value: Option<&[u8]>) {
        let path = Sha256::digest(key).into();
        *self = match value {
            Some(value) => {
                let hash = Sha256::new().chain_update([0]).chain_update(path).chain_update(Sha256::digest(value));
                self.with(path, Self::from_node(TrieNode::Leaf { path, hash: hash.finalize().into() }), 0)
            }
            None => self.without(path, 0),
        };
    }

    fn with(&self, path: [u8; 32], leaf: Self, depth: usize) -> Self {
        match self.0.as_deref() {
            None => leaf,
            Some(TrieNode::Leaf { path: present, .. }) if *present == path => leaf,
            Some(TrieNode::Leaf { path: present, .. }) => {
                let mut sides = [Self::default(), Self::default()];
                sides[side(present, depth)] = self.clone();
                let at = side(&path, depth);
                sides[at] = sides[at].with(path, leaf, depth + 1);
                Self::fork(sides)
            }
            Some(TrieNode::Fork { sides, .. }) => {
                let (mut sides, at) = (sides.clone(), side(&path, depth));
                sides[at] = sides[at].with(path, leaf, depth + 1);
                Self::fork(sides)
            }
        }
    }

    fn without(&self, path: [u8; 32], depth: usize) -> Self {
        match self.0.as_deref() {
            Some(TrieNode::Leaf { path: present, .. }) if *present == path => Self::default(),
            Some(TrieNode::Fork { sides, .. }) => {
                let (mut sides, at) = (sides.clone(), side(&path, depth));
                sides[at] = sides[at].without(path, depth + 1);
                match [&sides[0], &sides[1]].map(|side| side.0.as_deref()) {
                    [None, Some(TrieNode::Leaf { .. })] => sides[1].clone(),
                    [Some(TrieNode::Leaf { .. }), None] => sides[0].clone(),
                    [None, None] => Self::default(),
                    _ => Self::fork(sides),
                }
            }
            _ => self.clone(),
        }
    }

    fn fork(sides: [Self; 2]) -> Self {
        let hash = Sha256::new().chain_update([1]).chain_update(sides[0].root()).chain_update(sides[1].root());
        Self::from_node(TrieNode::Fork { hash: hash.finalize().into(), sides })
    }

    fn from_node(node: TrieNode) -> Self {
        Self(Some(Arc::new(node)))
    }
}

fn side(path: &[u8; 32], depth: usize) -> usize {
    usize::from(path[depth / 8] >> (7 - depth % 8) & 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn root_of(rows: &BTreeMap<u8, u8>) -> [u8; 32] {
        let mut tree = Tree::default();
        rows.iter().for_each(|(key, value)| tree.set(&[*key], Some(&[*value])));
        tree.root()
    }

    proptest! {
        #[test]
        fn the_root_depends_on_the_rows_only_not_on_their_history(steps: Vec<(u8, Option<u8>)>) {
            let (mut rows, mut tree) = (BTreeMap::new(), Tree::default());
            for (key, value) in steps {
                let before = tree.clone();
                let root = before.root();
                tree.set(&[key], value.as_ref().map(std::slice::from_ref));
                match value {
                    Some(value) => rows.insert(key, value),
                    None => rows.remove(&key),
                };
                prop_assert_eq!(before.root(), root);
                prop_assert_eq!(tree.root(), root_of(&rows));
            }
            if let Some((key, value)) = rows.pop_first() {
                prop_assert_ne!(tree.root(), root_of(&rows));
                rows.insert(key, value ^ 1);
                prop_assert_ne!(tree.root(), root_of(&rows));
            }
        }
    }
}
