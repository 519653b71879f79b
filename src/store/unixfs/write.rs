//! Files into blocks, as their bytes come.

use super::{FILE, UnixFsData};
use crate::store::dag_pb::{PbLink, PbNode};
use crate::store::{Block, Cid, Codec, Dag, MAX_BLOCK_BYTES, StoreError};
use prost::Message;

/// Most links of a node, so that it stays within a block.
const MAX_WIDTH: usize = 8192;

/// How a file is cut. The same bytes cut otherwise have another CID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileLayout {
    chunk_bytes: usize,
    width: usize,
}

impl FileLayout {
    /// Leaves of `chunk_bytes`, and `width` links a node.
    pub fn new(chunk_bytes: usize, width: usize) -> Result<Self, StoreError> {
        if (1..=MAX_BLOCK_BYTES).contains(&chunk_bytes) && (2..=MAX_WIDTH).contains(&width) {
            return Ok(Self { chunk_bytes, width });
        }
        let reason = format!(
            "chunks of {chunk_bytes} bytes, {width} links a node; the limits are 1 to {MAX_BLOCK_BYTES} and 2 to {MAX_WIDTH}"
        );
        Err(StoreError::Malformed { what: "layout of a file", reason })
    }
}

impl Default for FileLayout {
    /// Kubo's.
    fn default() -> Self {
        Self { chunk_bytes: 262_144, width: 174 }
    }
}

/// A file, or a subtree of one, that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilePart {
    /// Its root.
    pub cid: Cid,
    /// Bytes of its blocks, each as often as it occurs.
    pub blocks: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// A file on its way into blocks. Holds a chunk, and the unfinished node of each level.
#[derive(Default)]
pub struct FileBuilder {
    layout: FileLayout,
    chunk: Vec<u8>,
    /// Parts that no node names yet; leaves first.
    levels: Vec<Vec<FilePart>>,
}

impl FileBuilder {
    /// An empty file.
    pub fn new(layout: FileLayout) -> Self {
        Self { layout, ..Self::default() }
    }

    /// The next bytes; the blocks that they complete are added to `done`.
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

    /// The end: adds the last blocks, the root last of all, and names it.
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

    fn leaf(&mut self, done: &mut Vec<Block>) -> Result<(), StoreError> {
        let block = Block::new(Codec::Raw, std::mem::take(&mut self.chunk))?;
        let bytes = block.bytes().len() as u64;
        let part = FilePart { cid: block.cid(), blocks: bytes, bytes };
        done.push(block);
        self.add(0, part, done)
    }

    /// Adds a part to a level; where the level is full, its node comes first.
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

    /// The node over all parts of a level, which goes one level up.
    fn node(&mut self, level: usize, done: &mut Vec<Block>) -> Result<(), StoreError> {
        let parts = std::mem::take(&mut self.levels[level]);
        let bytes = parts.iter().map(|part| part.bytes).sum();
        let sizes = parts.iter().map(|part| part.bytes).collect();
        let data = UnixFsData { kind: FILE, data: None, bytes: Some(bytes), parts: sizes };
        let links = parts.iter().map(|part| PbLink::new(&part.cid, part.blocks)).collect();
        let block = PbNode { data: Some(data.encode_to_vec()), links }.block()?;
        let below: u64 = parts.iter().map(|part| part.blocks).sum();
        let part = FilePart { cid: block.cid(), blocks: below + block.bytes().len() as u64, bytes };
        done.push(block);
        self.add(level + 1, part, done)
    }
}

impl Dag {
    /// A whole file.
    pub fn file(layout: FileLayout, bytes: &[u8]) -> Result<Self, StoreError> {
        let (mut builder, mut blocks) = (FileBuilder::new(layout), Vec::new());
        builder.push(bytes, &mut blocks)?;
        builder.finish(&mut blocks)?;
        let root = blocks.pop().expect("a file has a root");
        Ok(Self::new(root, blocks))
    }
}
