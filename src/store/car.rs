//! CAR version 1: a file format that stores the blocks of a DAG in one file.
//!
//! The file begins with a header, which states the CID of the root. Each block follows as a *section*, which consists
//! of a length, the block's CID, and the block's bytes.
//!
//! <https://ipld.io/specs/transport/car/carv1/>

use super::{Block, Cid, Dag, MAX_BLOCK_BYTES, StoreError, version_1};
use serde::{Deserialize, Serialize};
use unsigned_varint::{decode, encode};

/// The largest size of a CAR file, in bytes (256 MiB). Larger files are refused.
pub const MAX_CAR_BYTES: usize = 256 << 20;
/// The largest size of a CAR header, in bytes. A header of this size has room for the CIDs of a few hundred roots.
const MAX_HEADER_BYTES: usize = 16 << 10;
/// The largest size of a section, in bytes. It leaves room for a block of the largest size and for a CID of at most 128
/// bytes.
const MAX_SECTION_BYTES: usize = MAX_BLOCK_BYTES + 128;
/// The largest number of bytes that the reader adds to its buffer at a time. After it has added them, it parses the
/// sections that are complete, and removes these sections from the buffer.
const PIECE_BYTES: usize = 1 << 20;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CarHeader {
    roots: Vec<Cid>,
    version: u64,
}

/// Returns the header of a CAR file that has the single root `root`.
pub fn car_header(root: Cid) -> Vec<u8> {
    let header = CarHeader { roots: vec![root], version: 1 };
    let header = serde_ipld_dagcbor::to_vec(&header).expect("CIDs and integers can be encoded");
    let mut car = Vec::with_capacity(header.len() + 2);
    section(&mut car, &[&header]);
    car
}

/// Encodes a block as a section of a CAR file: a length, the block's CID, and the block's bytes.
pub fn car_section(block: &Block) -> Vec<u8> {
    let mut car = Vec::with_capacity(block.bytes().len() + 64);
    section(&mut car, &[&block.cid().to_bytes(), block.bytes()]);
    car
}

/// A streaming parser of CAR files. It buffers at most one incomplete section and 1 MiB of further bytes. It checks the
/// bytes of each block against the block's CID before it returns the block.
pub struct CarReader {
    /// The number of bytes of the file that may still follow. Parsing fails if more bytes follow.
    remaining_bytes: usize,
    pending: Vec<u8>,
    roots: Option<Vec<Cid>>,
}

impl CarReader {
    /// Returns a parser that accepts a file of at most `max_bytes` bytes.
    pub fn new(max_bytes: usize) -> Self {
        Self { remaining_bytes: max_bytes, pending: Vec::new(), roots: None }
    }

    /// Parses the next bytes of the file. Each block that is complete with these bytes is checked against its CID and
    /// appended to `done`. Fails if the file is malformed or too long, or if a block does not match its CID.
    pub fn push(&mut self, bytes: &[u8], done: &mut Vec<Block>) -> Result<(), StoreError> {
        let too_large = || malformed("it is longer than the limit");
        self.remaining_bytes = self.remaining_bytes.checked_sub(bytes.len()).ok_or_else(too_large)?;
        for piece in bytes.chunks(PIECE_BYTES) {
            self.pending.extend_from_slice(piece);
            let mut rest = &self.pending[..];
            loop {
                let most = if self.roots.is_none() { MAX_HEADER_BYTES } else { MAX_SECTION_BYTES };
                let Some(section) = take(&mut rest, most)? else { break };
                match self.roots {
                    None => self.roots = Some(roots(section)?),
                    Some(_) => done.push(block(section)?),
                }
            }
            let taken = self.pending.len() - rest.len();
            self.pending.drain(..taken);
        }
        Ok(())
    }

    /// Ends parsing, and returns the CIDs of the roots that the header states, converted to version 1. Fails if the
    /// file is incomplete.
    pub fn finish(self) -> Result<Vec<Cid>, StoreError> {
        match self.roots {
            Some(roots) if self.pending.is_empty() => Ok(roots),
            Some(_) => Err(malformed("it ends inside a block")),
            None => Err(malformed("it ends inside the header")),
        }
    }
}

impl Dag {
    /// Encodes the DAG as a CAR file. The blocks have the order of [`Dag::blocks`].
    pub fn to_car(&self) -> Vec<u8> {
        let mut car = car_header(self.root);
        car.reserve(self.bytes() + 64 * self.blocks.len());
        for block in &self.blocks {
            section(&mut car, &[&block.cid().to_bytes(), block.bytes()]);
        }
        car
    }

    /// Decodes a CAR file. Every block is checked against its CID. Fails unless the file has exactly one root and
    /// contains the root block.
    pub fn from_car(car: &[u8]) -> Result<Self, StoreError> {
        let (mut reader, mut blocks) = (CarReader::new(MAX_CAR_BYTES), Vec::new());
        reader.push(car, &mut blocks)?;
        let [root] = reader.finish()?[..] else { return Err(malformed("it does not have exactly one root")) };
        if !blocks.iter().any(|block| block.cid() == root) {
            return Err(StoreError::Missing(root));
        }
        Ok(Self { root, blocks })
    }
}

/// Appends a section to `car`, the bytes of a CAR file. The content of the section is the concatenation of `parts`.
fn section(car: &mut Vec<u8>, parts: &[&[u8]]) {
    let bytes: usize = parts.iter().map(|part| part.len()).sum();
    car.extend_from_slice(encode::usize(bytes, &mut encode::usize_buffer()));
    parts.iter().for_each(|part| car.extend_from_slice(part));
}

/// Removes the next section from the front of `rest`, and returns the content of the section (all bytes after its
/// length). Returns `None` if the section is incomplete. Fails if the section has more than `most` bytes.
fn take<'a>(rest: &mut &'a [u8], most: usize) -> Result<Option<&'a [u8]>, StoreError> {
    let (bytes, after) = match decode::usize(rest) {
        Err(decode::Error::Insufficient) => return Ok(None),
        decoded => decoded.map_err(malformed)?,
    };
    if bytes > most {
        return Err(malformed(format!("a section has {bytes} bytes, which exceeds the limit of {most} bytes")));
    }
    let Some((section, after)) = after.split_at_checked(bytes) else { return Ok(None) };
    *rest = after;
    Ok(Some(section))
}

fn roots(header: &[u8]) -> Result<Vec<Cid>, StoreError> {
    let header: CarHeader = serde_ipld_dagcbor::from_slice(header).map_err(malformed)?;
    let CarHeader { roots, version: 1 } = header else { return Err(malformed("only version 1 is supported")) };
    Ok(roots.into_iter().map(version_1).collect())
}

fn block(mut section: &[u8]) -> Result<Block, StoreError> {
    let cid = Cid::read_bytes(&mut section).map_err(malformed)?;
    Block::check(version_1(cid), section.to_vec())
}

fn malformed(reason: impl ToString) -> StoreError {
    StoreError::Malformed { what: "CAR version 1", reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Codec, dag_cbor};
    use proptest::prelude::*;

    fn dag() -> Dag {
        let leaves: Vec<_> = (0..3).map(|i| Block::new(Codec::Raw, vec![i; 70 * i as usize]).unwrap()).collect();
        let links: Vec<_> = leaves.iter().map(Block::cid).collect();
        Dag::new(dag_cbor::block("test", &links).unwrap(), leaves)
    }

    #[test]
    fn a_written_file_is_read_back() {
        assert_eq!(Dag::from_car(&dag().to_car()), Ok(dag()));
    }

    /// Checks that a written header and section have exactly the bytes that the CAR specification prescribes.
    #[test]
    fn the_format_is_the_specified_one() {
        let root = Block::new(Codec::Raw, b"abc".to_vec()).unwrap();
        let cid = root.cid().to_bytes();
        let car = Dag::new(root, Vec::new()).to_car();
        let header = [&b"\x3a\xa2\x65roots\x81\xd8\x2a\x58\x25\x00"[..], &cid, b"\x67version\x01"].concat();
        assert_eq!(car[..header.len()], header);
        assert_eq!(car[header.len()..], [&[39u8][..], &cid, b"abc"].concat());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let car = dag().to_car();
        for bit in 0..8 * car.len() {
            let mut flipped = car.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(Dag::from_car(&flipped), Ok(dag()), "bit {bit} was flipped");
        }
        for length in 0..car.len() {
            assert_ne!(Dag::from_car(&car[..length]), Ok(dag()), "the file was cut to {length} bytes");
        }
    }

    /// Checks that a file can be parsed in pieces of any length, that a file above its size limit is refused, and that
    /// a section above its size limit is refused.
    #[test]
    fn files_are_parsed_in_pieces() {
        let car = dag().to_car();
        for step in [1, 7, 100, car.len()] {
            let (mut reader, mut blocks) = (CarReader::new(car.len()), Vec::new());
            for piece in car.chunks(step) {
                reader.push(piece, &mut blocks).unwrap();
                assert!(reader.pending.len() <= 200);
            }
            assert_eq!((reader.finish(), blocks), (Ok(vec![dag().root]), dag().blocks));
        }
        let short = CarReader::new(car.len() - 1).push(&car, &mut Vec::new());
        assert!(short.unwrap_err().to_string().contains("longer"));
        let oversized = [car_header(dag().root), vec![0xff, 0xff, 0xff, 0x7f]].concat();
        let refused = CarReader::new(MAX_CAR_BYTES).push(&oversized, &mut Vec::new());
        assert!(refused.unwrap_err().to_string().contains("limit"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0..400usize) {
            let _ = Dag::from_car(&bytes);
            let car = dag().to_car();
            let spliced = [&car[..cut.min(car.len())], &bytes].concat();
            if let Ok(read) = Dag::from_car(&spliced) {
                prop_assert!(read.blocks.iter().all(|block| Block::check(block.cid(), block.bytes().to_vec()).is_ok()));
            }
        }
    }
}
