//! Writes files as UnixFS trees of blocks, in a single pass over the bytes of the file.

use super::{FILE, UnixFsData};
use crate::store::dag_pb::{PbLink, PbNode};
use crate::store::{Block, Cid, Codec, Dag, MAX_BLOCK_BYTES, StoreError};
use prost::Message;

/// The largest number of links that a node may have. A node with this number of links is at most 1 MiB long, which is
/// the limit for a block.
const MAX_WIDTH: usize = 8192;

/// The layout of a file's tree: the size of the leaves, and the largest number of links in a node. The CID of a file
/// depends on its layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileLayout {
    chunk_bytes: usize,
    width: usize,
    /// Whether leaves are raw blocks; otherwise, they are dag-pb nodes without links.
    raw_leaves: bool,
    /// Whether dag-pb nodes have CIDs of version 0; otherwise, they have CIDs of version 1.
    version_0: bool,
}

impl FileLayout {
    /// Returns a layout with leaves of `chunk_bytes` bytes and up to `width` links in each node. Fails if `chunk_bytes`
    /// is not 1 to 2^20, or if `width` is not 2 to 8192.
    pub fn new(chunk_bytes: usize, width: usize) -> Result<Self, StoreError> {
        if (1..=MAX_BLOCK_BYTES).contains(&chunk_bytes) && (2..=MAX_WIDTH).contains(&width) {
            return Ok(Self { chunk_bytes, width, ..Self::default() });
        }
        let reason = format!(
            "the layout has leaves of {chunk_bytes} bytes and up to {width} links in each node, but must have 1 to \
             {MAX_BLOCK_BYTES} bytes and 2 to {MAX_WIDTH} links"
        );
        Err(StoreError::Malformed { what: "file layout", reason })
    }

    /// Returns the same layout, with dag-pb nodes as leaves instead of raw blocks. By default, Kubo uses such leaves if
    /// the CIDs have version 0.
    pub fn with_node_leaves(self) -> Self {
        Self { raw_leaves: false, ..self }
    }

    /// Returns the same layout, with CIDs of version 0 for all dag-pb nodes.
    pub fn with_version_0(self) -> Self {
        Self { version_0: true, ..self }
    }
}

impl Default for FileLayout {
    /// Returns the layout that Kubo uses by default with CIDs of version 1: raw leaves of 256 KiB and up to 174 links in
    /// each node.
    fn default() -> Self {
        Self { chunk_bytes: 262_144, width: 174, raw_leaves: true, version_0: false }
    }
}

/// A file, or a subtree of a file, whose blocks have been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilePart {
    /// The CID of the root block of the file or subtree.
    pub cid: Cid,
    /// The total size of the blocks in the file or subtree, in bytes. A block that occurs several times is counted each
    /// time.
    pub blocks: u64,
    /// The length of the file in bytes or, for a subtree, the number of the file's bytes that it contains.
    pub bytes: u64,
}

/// A streaming writer of a file. It buffers the bytes of one leaf and, for each level of the tree, the links of one
/// incomplete node.
#[derive(Default)]
pub struct FileBuilder {
    layout: FileLayout,
    chunk: Vec<u8>,
    /// For each level of the tree, the parts (subtrees) to which no node links yet. The parts on level 0 are leaves.
    levels: Vec<Vec<FilePart>>,
}

impl FileBuilder {
    /// Returns a writer of a new file, which has no bytes yet.
    pub fn new(layout: FileLayout) -> Self {
        Self { layout, ..Self::default() }
    }

    /// Appends bytes to the file. Each block that is complete with these bytes is appended to `done`.
    pub fn push(&mut self, mut bytes: &[u8], done: &mut Vec<Block>) -> Result<(), StoreError> {
        while !bytes.is_empty() {
            let room = self.layout.chunk_bytes - self.chunk.len();
            let (taken, rest) = bytes.split_at(room.min(bytes.len()));
            self.chunk.extend_from_slice(taken);
            bytes = rest;
            if self.chunk.len() == self.layout.chunk_bytes {
                self.leaf(done)?;
            }
        }
        Ok(())
    }

    /// Ends the file. Appends the remaining blocks to `done`, the root last. Returns the CID of the root, the length of
    /// the file, and the total size of its blocks.
    pub fn finish(mut self, done: &mut Vec<Block>) -> Result<FilePart, StoreError> {
        if !self.chunk.is_empty() || self.levels.is_empty() {
            self.leaf(done)?;
        }
        let mut level = 0;
        loop {
            let top = level + 1 == self.levels.len();
            match &self.levels[level][..] {
                [root] if top => return Ok(*root),
                [] => {}
                _ => self.node(level, done)?,
            }
            level += 1;
        }
    }

    /// Writes the buffered bytes as a leaf, and adds the leaf to level 0 of the tree.
    fn leaf(&mut self, done: &mut Vec<Block>) -> Result<(), StoreError> {
        let chunk = std::mem::take(&mut self.chunk);
        let bytes = chunk.len() as u64;
        let block = if self.layout.raw_leaves {
            Block::new(Codec::Raw, chunk)?
        } else {
            let data = Some(chunk).filter(|chunk| !chunk.is_empty());
            self.block(UnixFsData { kind: FILE, data, file_bytes: Some(bytes), part_bytes: Vec::new() }, Vec::new())?
        };
        let part = FilePart { cid: block.cid(), blocks: block.bytes().len() as u64, bytes };
        done.push(block);
        self.add(0, part, done)
    }

    /// Adds a part (a leaf or a subtree) to a level of the tree. If the level already has as many parts as a node may
    /// have links, a node that links to these parts is written first, and the level is emptied.
    fn add(&mut self, level: usize, part: FilePart, done: &mut Vec<Block>) -> Result<(), StoreError> {
        if level == self.levels.len() {
            self.levels.push(Vec::new());
        }
        if self.levels[level].len() == self.layout.width {
            self.node(level, done)?;
        }
        self.levels[level].push(part);
        Ok(())
    }

    /// Writes a node that links to all parts (leaves or subtrees) of a level, and empties this level. The subtree whose
    /// root is the new node is added to the next level.
    fn node(&mut self, level: usize, done: &mut Vec<Block>) -> Result<(), StoreError> {
        let parts = std::mem::take(&mut self.levels[level]);
        let bytes = parts.iter().map(|part| part.bytes).sum();
        let sizes = parts.iter().map(|part| part.bytes).collect();
        let data = UnixFsData { kind: FILE, data: None, file_bytes: Some(bytes), part_bytes: sizes };
        let links = parts.iter().map(|part| PbLink::new(&part.cid, part.blocks)).collect();
        let block = self.block(data, links)?;
        let below: u64 = parts.iter().map(|part| part.blocks).sum();
        let part = FilePart { cid: block.cid(), blocks: below + block.bytes().len() as u64, bytes };
        done.push(block);
        self.add(level + 1, part, done)
    }

    /// Returns the block of a dag-pb node with the given data and links.
    fn block(&self, data: UnixFsData, links: Vec<PbLink>) -> Result<Block, StoreError> {
        let block = PbNode { data: Some(data.encode_to_vec()), links }.block()?;
        Ok(if self.layout.version_0 { block.with_version_0() } else { block })
    }
}

impl Dag {
    /// Returns the DAG of a file, where `bytes` is the content of the file.
    pub fn file(layout: FileLayout, bytes: &[u8]) -> Result<Self, StoreError> {
        let (mut builder, mut blocks) = (FileBuilder::new(layout), Vec::new());
        builder.push(bytes, &mut blocks)?;
        builder.finish(&mut blocks)?;
        let root = blocks.pop().expect("a file has a root");
        Ok(Self::new(root, blocks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::unixfs::FileReader;

    /// Checks that two files of one block each, an empty one and one that contains `hello world`, have the CIDs of
    /// version 0 that `ipfs add` prints.
    #[test]
    fn files_of_version_0_have_the_cids_of_ipfs() {
        let layout = FileLayout::default().with_node_leaves().with_version_0();
        let cid = |bytes: &[u8]| Dag::file(layout, bytes).unwrap().root.to_string();
        assert_eq!(cid(b""), "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH");
        assert_eq!(cid(b"hello world"), "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD");
    }

    #[test]
    fn files_of_every_layout_are_read_back() {
        let layout = FileLayout::new(10, 3).unwrap();
        let bytes: Vec<u8> = (0..200).collect();
        for layout in
            [layout, layout.with_node_leaves(), layout.with_version_0(), layout.with_node_leaves().with_version_0()]
        {
            for bytes in [&bytes[..], &bytes[..10], &bytes[..0]] {
                let dag = Dag::file(layout, bytes).unwrap();
                assert_eq!(FileReader::new(dag.root, 0..u64::MAX).read(&|cid| dag.get(cid)), Ok(bytes.to_vec()));
            }
        }
    }
}
