//! Writes files as blocks, in one pass over their bytes.

use super::{FILE, UnixFsData};
use crate::store::dag_pb::{PbLink, PbNode};
use crate::store::{Block, Cid, Codec, Dag, MAX_BLOCK_BYTES, StoreError};
use prost::Message;

/// The largest number of links in a node, so that the node fits a block.
const MAX_WIDTH: usize = 8192;

/// The size of a file's leaves, and the number of links in its nodes. The same file has different CIDs in different
/// layouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileLayout {
    chunk_bytes: usize,
    width: usize,
}

impl FileLayout {
    /// Returns a layout with leaves of `chunk_bytes` bytes and up to `width` links in each node.
    pub fn new(chunk_bytes: usize, width: usize) -> Result<Self, StoreError> {
        if (1..=MAX_BLOCK_BYTES).contains(&chunk_bytes) && (2..=MAX_WIDTH).contains(&width) {
            return Ok(Self { chunk_bytes, width });
        }
        let reason = format!(
            "{chunk_bytes} bytes in each chunk and {width} links in each node; the limits are 1 to {MAX_BLOCK_BYTES} and 2 to {MAX_WIDTH}"
        );
        Err(StoreError::Malformed { what: "file layout", reason })
    }
}

impl Default for FileLayout {
    /// Kubo's default: leaves of 256 KiB and 174 links in each node.
    fn default() -> Self {
        Self { chunk_bytes: 262_144, width: 174 }
    }
}

/// A written file, or a written subtree of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilePart {
    /// CID of the root of the file or subtree.
    pub cid: Cid,
    /// Total size of the blocks in bytes; a block that occurs several times is counted each time.
    pub blocks: u64,
    /// Number of the file's bytes in this part.
    pub bytes: u64,
}

/// A streaming writer of a file. It buffers one chunk, and the links of the unfinished node of each level.
#[derive(Default)]
pub struct FileBuilder {
    layout: FileLayout,
    chunk: Vec<u8>,
    /// For each level of the tree, the parts that no node links to yet. Level 0 has the leaves.
    levels: Vec<Vec<FilePart>>,
}

impl FileBuilder {
    /// Returns a writer of a file that is empty so far.
    pub fn new(layout: FileLayout) -> Self {
        Self { layout, ..Self::default() }
    }

    /// Appends bytes to the file. The blocks that are complete with these bytes are added to `done`.
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

    /// Ends the file: adds the remaining blocks to `done`, with the root as the last one, and returns the root's CID
    /// and the file's sizes.
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

    /// Writes the buffered chunk as a leaf.
    fn leaf(&mut self, done: &mut Vec<Block>) -> Result<(), StoreError> {
        let block = Block::new(Codec::Raw, std::mem::take(&mut self.chunk))?;
        let bytes = block.bytes().len() as u64;
        let part = FilePart { cid: block.cid(), blocks: bytes, bytes };
        done.push(block);
        self.add(0, part, done)
    }

    /// Adds a part to a level. If the level is full, its node is written first.
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

    /// Writes the node over all parts of a level, and adds it to the next level.
    fn node(&mut self, level: usize, done: &mut Vec<Block>) -> Result<(), StoreError> {
        let parts = std::mem::take(&mut self.levels[level]);
        let bytes = parts.iter().map(|part| part.bytes).sum();
        let sizes = parts.iter().map(|part| part.bytes).collect();
        let data = UnixFsData { kind: FILE, data: None, file_bytes: Some(bytes), part_bytes: sizes };
        let links = parts.iter().map(|part| PbLink::new(&part.cid, part.blocks)).collect();
        let block = PbNode { data: Some(data.encode_to_vec()), links }.block()?;
        let below: u64 = parts.iter().map(|part| part.blocks).sum();
        let part = FilePart { cid: block.cid(), blocks: below + block.bytes().len() as u64, bytes };
        done.push(block);
        self.add(level + 1, part, done)
    }
}

impl Dag {
    /// Returns the DAG of a file.
    pub fn file(layout: FileLayout, bytes: &[u8]) -> Result<Self, StoreError> {
        let (mut builder, mut blocks) = (FileBuilder::new(layout), Vec::new());
        builder.push(bytes, &mut blocks)?;
        builder.finish(&mut blocks)?;
        let root = blocks.pop().expect("a file has a root");
        Ok(Self::new(root, blocks))
    }
}
