//! Reads the bytes of a file, in order, from the blocks of its UnixFS tree. Each block is checked against its CID
//! before its content is used.

use super::{FILE, RAW, UnixFsData};
use crate::store::dag_pb::{PbNode, malformed};
use crate::store::{Block, Cid, Codec, Fetch, StoreError, inline_bytes};
use prost::Message;
use std::ops::Range;

/// The largest number of links on the path from the root of a file's tree to a leaf. Deeper trees are refused. A file
/// of any size stays below the limit if its nodes have 174 links each, which is Kubo's default.
pub const MAX_DEPTH: usize = 16;

/// A subtree of the file's tree. The root block of the subtree has not been read yet.
struct PendingNode {
    cid: Cid,
    /// The position of the subtree's first byte in the file, counted from 0.
    start: u64,
    /// How many bytes of the file are in this subtree, according to its parent node. `None` for the whole tree, which
    /// has no parent node.
    bytes: Option<u64>,
    depth: usize,
}

/// A streaming reader of a file. [`next_block`](Self::next_block) returns the CID of the block that the reader needs.
/// The caller passes the bytes of this block to [`push_block`](Self::push_block), which returns the bytes of the file
/// that the block contains.
pub struct FileReader {
    range: Range<u64>,
    /// The subtrees that have not been read yet, in reverse order: the next subtree to read is the last element.
    pending: Vec<PendingNode>,
}

impl FileReader {
    /// Returns a reader of the file whose root has the CID `root`. The reader returns only the bytes at the positions
    /// in `range`, and does not request subtrees that lie outside this range.
    pub fn new(root: Cid, range: Range<u64>) -> Self {
        Self { range, pending: vec![PendingNode { cid: root, start: 0, bytes: None, depth: 0 }] }
    }

    /// Returns the CID of the block that the reader needs next, or `None` if the reader has read its whole range.
    pub fn next_block(&self) -> Option<Cid> {
        self.pending.last().map(|next| next.cid)
    }

    /// Takes the bytes of the block whose CID [`next_block`](Self::next_block) has returned, and checks them against
    /// this CID. Returns those bytes of the file that are in this block and in the reader's range. The result is empty
    /// if the block is a node with links.
    pub fn push_block(&mut self, bytes: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        let Some(at) = self.pending.pop() else { return Ok(Vec::new()) };
        let bytes = match inline_bytes(&at.cid) {
            Some(inline) => inline.to_vec(),
            None => Block::check(at.cid, bytes)?.into_bytes(),
        };
        let bytes = match Codec::stated(&at.cid) {
            Some(Codec::Raw) => bytes,
            None | Some(Codec::DagCbor) => return Err(StoreError::Codec(at.cid)),
            Some(Codec::DagPb) => {
                let node = PbNode::read(&bytes)?;
                let data = node.data.as_deref().ok_or_else(|| malformed(format!("block {} has no data", at.cid)))?;
                let data = UnixFsData::decode(data).map_err(malformed)?;
                if ![FILE, RAW].contains(&data.kind) {
                    return Err(malformed(format!(
                        "block {} is a UnixFS node of type {}, which is not a file",
                        at.cid, data.kind
                    )));
                }
                if !node.links.is_empty() {
                    self.branch(&at, &node, &data)?;
                    return Ok(Vec::new());
                }
                data.data.unwrap_or_default()
            }
        };
        let length = bytes.len() as u64;
        if let Some(claimed) = at.bytes.filter(|claimed| *claimed != length) {
            return Err(malformed(format!(
                "block {} has {length} bytes of the file, but its parent states {claimed}",
                at.cid
            )));
        }
        // `branch` has checked that this sum does not overflow
        let within = |position: u64| (position.clamp(at.start, at.start + length) - at.start) as usize;
        Ok(bytes[within(self.range.start)..within(self.range.end)].to_vec())
    }

    /// Reads the rest of the reader's range, and returns the bytes of the file that are in it. The function `fetch`
    /// supplies the blocks.
    pub fn read(mut self, fetch: Fetch) -> Result<Vec<u8>, StoreError> {
        let mut file = Vec::new();
        while let Some(cid) = self.next_block() {
            file.extend(self.push_block(fetch(&cid)?)?);
        }
        Ok(file)
    }

    /// Checks the sizes that a node with links states. Then adds to `pending` each linked subtree that overlaps the
    /// reader's range.
    fn branch(&mut self, at: &PendingNode, node: &PbNode, data: &UnixFsData) -> Result<(), StoreError> {
        let wrong = |what: &str| Err(malformed(format!("block {}: {what}", at.cid)));
        if at.depth == MAX_DEPTH {
            return wrong("the file's tree is too deep");
        }
        if data.data.as_ref().is_some_and(|inline| !inline.is_empty()) {
            return wrong("it has both bytes and links");
        }
        if node.links.len() != data.part_bytes.len() || data.part_bytes.contains(&0) {
            return wrong("its sizes do not match its links");
        }
        let sum = data.part_bytes.iter().try_fold(0u64, |sum, part| sum.checked_add(*part));
        let end = sum.and_then(|sum| at.start.checked_add(sum));
        if sum.is_none()
            || end.is_none()
            || sum != data.file_bytes
            || at.bytes.is_some_and(|claimed| Some(claimed) != sum)
        {
            return wrong("the sizes of its parts do not add up to its size");
        }
        let (mut start, first) = (at.start, self.pending.len());
        for (link, &bytes) in node.links.iter().zip(&data.part_bytes) {
            if start < self.range.end && start + bytes > self.range.start {
                let (cid, depth) = (link.cid()?, at.depth + 1);
                self.pending.push(PendingNode { cid, start, bytes: Some(bytes), depth });
            }
            start += bytes;
        }
        self.pending[first..].reverse();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Dag, dag_pb::PbLink, unixfs::FileLayout};
    use proptest::prelude::*;

    fn read(dag: &Dag, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        FileReader::new(dag.root, range).read(&|cid| dag.get(cid))
    }

    fn numbered(bytes: usize) -> Vec<u8> {
        (0..bytes as u32).flat_map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()).take(bytes).collect()
    }

    /// Checks that the CIDs of two files, an empty one and one that contains `hello world\n`, are the CIDs that Kubo
    /// prints for `ipfs add --cid-version=1`.
    #[test]
    fn cids_are_those_of_kubo() {
        let of = |bytes: &[u8]| Dag::file(FileLayout::default(), bytes).unwrap().root.to_string();
        assert_eq!(of(b""), "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku");
        assert_eq!(of(b"hello world\n"), "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4");
    }

    proptest! {
        #[test]
        fn written_files_are_read_back_by_range(bytes in 0..2000usize, chunk in 1..40usize, width in 2..6usize, cut in 0..2100u64) {
            let (file, layout) = (numbered(bytes), FileLayout::new(chunk, width).unwrap());
            let dag = Dag::file(layout, &file).unwrap();
            prop_assert_eq!(read(&dag, 0..u64::MAX).unwrap(), file.clone());
            let start = (cut as usize).min(bytes);
            let end = (start + 77).min(bytes);
            prop_assert_eq!(read(&dag, cut..cut.saturating_add(77)).unwrap(), file[start..end].to_vec());
            let pushed = |step: usize| {
                let (mut builder, mut blocks) = (super::super::FileBuilder::new(layout), Vec::new());
                for piece in file.chunks(step) {
                    builder.push(piece, &mut blocks).unwrap();
                }
                builder.finish(&mut blocks).unwrap().cid
            };
            prop_assert!([1, 3, 1000].into_iter().all(|step| pushed(step) == dag.root));
        }

        #[test]
        fn random_nodes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), sizes in prop::collection::vec(any::<u64>(), 0..4)) {
            let block = Block::new(Codec::DagPb, bytes).unwrap();
            let _ = FileReader::new(block.cid(), 0..u64::MAX).push_block(block.bytes().to_vec());
            let links = sizes.iter().map(|_| PbLink::new(&block.cid(), 1)).collect();
            let sum = sizes.iter().fold(0u64, |sum, size| sum.wrapping_add(*size));
            let data = UnixFsData { kind: FILE, data: None, file_bytes: Some(sum), part_bytes: sizes.clone() };
            let node = PbNode { data: Some(data.encode_to_vec()), links }.block().unwrap();
            let dag = Dag::new(node, vec![block]);
            let _ = read(&dag, 0..u64::MAX);
        }
    }

    #[test]
    fn nodes_with_wrong_sizes_are_refused() {
        let leaf = Block::new(Codec::Raw, vec![7; 10]).unwrap();
        let over = |parts: Vec<u64>, bytes: u64| {
            let links = parts.iter().map(|_| PbLink::new(&leaf.cid(), 10)).collect();
            let data = UnixFsData { kind: FILE, data: None, file_bytes: Some(bytes), part_bytes: parts };
            let node = PbNode { data: Some(data.encode_to_vec()), links }.block().unwrap();
            read(&Dag::new(node, vec![leaf.clone()]), 0..u64::MAX)
        };
        assert_eq!(over(vec![10, 10], 20), Ok(vec![7; 20]));
        for (parts, bytes) in
            [(vec![10, 10], 21), (vec![11], 11), (vec![9], 9), (vec![0, 10], 10), (vec![u64::MAX, 2], 1)]
        {
            assert!(
                matches!(over(parts.clone(), bytes), Err(StoreError::Malformed { .. })),
                "parts of {parts:?} bytes, {bytes} bytes in all"
            );
        }
    }

    /// Checks that a chain of nodes with one link each is read if it has at most [`MAX_DEPTH`] nodes, and refused if it
    /// has more.
    #[test]
    fn trees_that_are_too_deep_are_refused() {
        let mut blocks = vec![Block::new(Codec::Raw, vec![7]).unwrap()];
        for depth in 1..=MAX_DEPTH + 1 {
            let data = UnixFsData { kind: FILE, data: None, file_bytes: Some(1), part_bytes: vec![1] };
            let links = vec![PbLink::new(&blocks[depth - 1].cid(), 1)];
            let node = PbNode { data: Some(data.encode_to_vec()), links }.block().unwrap();
            let found = read(&Dag::new(node.clone(), blocks.clone()), 0..u64::MAX);
            assert_eq!(found.is_ok(), depth <= MAX_DEPTH, "depth {depth}");
            blocks.push(node);
        }
    }
}
