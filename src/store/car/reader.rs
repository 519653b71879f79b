//! Reads CAR files while their bytes arrive.

use super::CarHeader;
use crate::store::{Block, Cid, Codec, MAX_BLOCK_BYTES, StoreError, block::is_sha256, inline_bytes};
use unsigned_varint::decode;

/// The largest size of a CAR header, in bytes. A header of this size has room for the CIDs of a few hundred roots.
const MAX_HEADER_BYTES: usize = 16 << 10;
/// The largest size of a section, in bytes. It leaves room for a block of the largest size and for a CID of at most 128
/// bytes.
const MAX_SECTION_BYTES: usize = MAX_BLOCK_BYTES + 128;
/// The largest number of bytes that the reader adds to its buffer at a time. After it has added them, it parses the
/// sections that are complete, and removes these sections from the buffer.
const PIECE_BYTES: usize = 1 << 20;
/// The number of bytes before the second header of a CAR file of version 2: one byte that states the length of the
/// first header, and the 10 bytes of the first header.
const PRAGMA_BYTES: u64 = 11;
/// The size of the second header of a CAR file of version 2, in bytes: 16 bytes of flags, and three numbers of 8 bytes
/// each.
const HEADER_2_BYTES: usize = 40;
/// The largest number of skipped blocks whose CIDs [`CarReader::skipped`] returns.
const MAX_SKIPPED: usize = 100;

/// A streaming parser of CAR files. It buffers at most one incomplete section and 1 MiB of further bytes. It checks the
/// bytes of each block against the block's CID before it returns the block.
pub struct CarReader {
    /// The number of bytes of the file that may still follow. Parsing fails if more bytes follow.
    remaining_bytes: usize,
    pending: Vec<u8>,
    stage: Stage,
    roots: Vec<Cid>,
    /// A CAR file of version 2 wraps a CAR file of version 1. This is the number of bytes of the wrapped file that have
    /// not been parsed yet. `None` until the second header of the file of version 2 has been read, and always if the
    /// whole file is of version 1.
    wrapped_bytes: Option<u64>,
    is_tolerant: bool,
    skipped: Vec<Cid>,
}

/// The part of a CAR file that the reader parses next.
#[derive(Clone, Copy, PartialEq)]
enum Stage {
    /// The header.
    Header,
    /// The second header of a CAR file of version 2.
    Header2,
    /// Padding of this many bytes in a CAR file of version 2. After it, the wrapped file of version 1 begins.
    Padding(u64),
    /// A section.
    Sections,
    /// The index at the end of a CAR file of version 2. It is ignored.
    Index,
}

impl CarReader {
    /// Returns a parser that accepts a file of at most `max_bytes` bytes.
    pub fn new(max_bytes: usize) -> Self {
        Self {
            remaining_bytes: max_bytes,
            pending: Vec::new(),
            stage: Stage::Header,
            roots: Vec::new(),
            wrapped_bytes: None,
            is_tolerant: false,
            skipped: Vec::new(),
        }
    }

    /// Makes the parser accept blocks of formats that this program does not support. A block with a SHA-256 hash and an
    /// unknown codec is checked, and returned with the codec `raw`. A block with another hash cannot be checked, and is
    /// skipped.
    pub fn tolerant(self) -> Self {
        Self { is_tolerant: true, ..self }
    }

    /// Parses the next bytes of the file. Each block that is complete with these bytes is checked against its CID and
    /// appended to `done`. A section with an identity CID, which contains the data itself, is checked too, but not
    /// appended. Fails if the file is malformed or too long, or if a block does not match its CID.
    pub fn push(&mut self, bytes: &[u8], done: &mut Vec<Block>) -> Result<(), StoreError> {
        let too_large = || malformed("it is longer than the limit");
        self.remaining_bytes = self.remaining_bytes.checked_sub(bytes.len()).ok_or_else(too_large)?;
        for piece in bytes.chunks(PIECE_BYTES) {
            self.pending.extend_from_slice(piece);
            let pending = std::mem::take(&mut self.pending);
            let mut rest = &pending[..];
            while self.parse(&mut rest, done)? {}
            let taken = pending.len() - rest.len();
            self.pending = pending;
            self.pending.drain(..taken);
        }
        Ok(())
    }

    /// Parses the next part of the file (a header, padding, a section or the index), which begins at the front of
    /// `rest`, and removes it from `rest`. Returns false if more bytes must arrive before parsing can continue.
    fn parse(&mut self, rest: &mut &[u8], done: &mut Vec<Block>) -> Result<bool, StoreError> {
        match self.stage {
            Stage::Header => {
                let Some(header) = self.section(rest, MAX_HEADER_BYTES)? else { return Ok(false) };
                let header: CarHeader = serde_ipld_dagcbor::from_slice(header).map_err(malformed)?;
                (self.roots, self.stage) = match (header, self.wrapped_bytes) {
                    (CarHeader { version: 1, roots: Some(roots) }, Some(0)) => (roots, Stage::Index),
                    (CarHeader { version: 1, roots: Some(roots) }, _) => (roots, Stage::Sections),
                    (CarHeader { version: 2, roots: None }, None) => (Vec::new(), Stage::Header2),
                    _ => return Err(malformed("its header is not one of version 1 or 2")),
                };
            }
            Stage::Header2 => {
                let Some((header, after)) = rest.split_at_checked(HEADER_2_BYTES) else { return Ok(false) };
                *rest = after;
                let (numbers, _) = header[16..].as_chunks::<8>();
                let padding = u64::from_le_bytes(numbers[0]).checked_sub(PRAGMA_BYTES + HEADER_2_BYTES as u64);
                self.stage = Stage::Padding(padding.ok_or_else(|| malformed("it begins within its header"))?);
                self.wrapped_bytes = Some(u64::from_le_bytes(numbers[1]));
            }
            Stage::Padding(bytes) => {
                let taken = bytes.min(rest.len() as u64);
                *rest = &rest[taken as usize..];
                self.stage = if taken == bytes { Stage::Header } else { Stage::Padding(bytes - taken) };
                return Ok(taken == bytes);
            }
            Stage::Sections => {
                let Some(section) = self.section(rest, MAX_SECTION_BYTES)? else { return Ok(false) };
                self.block(section, done)?;
                if self.wrapped_bytes == Some(0) {
                    self.stage = Stage::Index;
                }
            }
            Stage::Index => {
                *rest = &[];
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes the next section from the front of `rest`, and returns the content of the section (all bytes after its
    /// length). Returns `None` if the section is incomplete. Fails if the content has more than `most` bytes. In a file
    /// of version 2, also fails if the wrapped file of version 1 ends within the section.
    fn section<'a>(&mut self, rest: &mut &'a [u8], most: usize) -> Result<Option<&'a [u8]>, StoreError> {
        let (bytes, after) = match decode::usize(rest) {
            Err(decode::Error::Insufficient) => return Ok(None),
            decoded => decoded.map_err(malformed)?,
        };
        if bytes > most {
            let reason = format!("a section of the CAR has {bytes} bytes, which exceeds the limit of {most} bytes");
            return Err(malformed(reason));
        }
        let Some((section, after)) = after.split_at_checked(bytes) else { return Ok(None) };
        if let Some(wrapped) = &mut self.wrapped_bytes {
            let left = wrapped.checked_sub((rest.len() - after.len()) as u64);
            *wrapped = left.ok_or_else(|| malformed("the wrapped file ends within a section"))?;
        }
        *rest = after;
        Ok(Some(section))
    }

    fn block(&mut self, mut section: &[u8], done: &mut Vec<Block>) -> Result<(), StoreError> {
        let cid = Cid::read_bytes(&mut section).map_err(malformed)?;
        if let Some(inline) = inline_bytes(&cid) {
            return if inline == section { Ok(()) } else { Err(malformed(format!("{cid} has other bytes"))) };
        }
        match Block::check(cid, section.to_vec()) {
            Err(StoreError::Codec(_)) if self.is_tolerant && is_sha256(&cid) => {
                let opaque = Cid::new_v1(Codec::Raw.code(), *cid.hash());
                done.push(Block::check(opaque, section.to_vec())?);
            }
            Err(StoreError::Codec(_)) if self.is_tolerant => {
                if self.skipped.len() < MAX_SKIPPED {
                    self.skipped.push(cid);
                }
            }
            block => done.push(block?),
        }
        Ok(())
    }

    /// Returns the CIDs of the blocks that were [skipped](Self::tolerant) because their hashes are not SHA-256. At most
    /// 100 CIDs are returned.
    pub fn skipped(&self) -> &[Cid] {
        &self.skipped
    }

    /// Ends parsing, and returns the CIDs of the roots that the header states. Fails if the file is incomplete.
    pub fn finish(self) -> Result<Vec<Cid>, StoreError> {
        let is_complete = match self.wrapped_bytes {
            None => self.stage == Stage::Sections,
            Some(_) => self.stage == Stage::Index,
        };
        match is_complete && self.pending.is_empty() {
            true => Ok(self.roots),
            false => Err(malformed("it is incomplete")),
        }
    }

    #[cfg(test)]
    pub(super) fn buffered(&self) -> usize {
        self.pending.len()
    }
}

pub(super) fn malformed(reason: impl ToString) -> StoreError {
    StoreError::Malformed { what: "CAR file", reason: reason.to_string() }
}
