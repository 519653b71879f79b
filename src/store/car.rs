//! CAR: a file format that stores the blocks of a DAG in one file. This program writes version 1, and also reads version
//! 2, which wraps a file of version 1 and adds an index.
//!
//! The file begins with a header, which states the CID of the root. Each block follows as a *section*, which consists
//! of a length, the block's CID, and the block's bytes.
//!
//! <https://ipld.io/specs/transport/car/>

mod reader;

pub use reader::CarReader;

use super::{Block, Cid, Dag, StoreError};
use serde::{Deserialize, Serialize};
use unsigned_varint::encode;

/// The largest size of a CAR file, in bytes (256 MiB). Larger files are refused.
pub const MAX_CAR_BYTES: usize = 256 << 20;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CarHeader {
    /// The CIDs of the roots. `None` in the first header of a CAR file of version 2. Such a file wraps a file of
    /// version 1, and the header of the wrapped file states the roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    roots: Option<Vec<Cid>>,
    version: u64,
}

/// Returns the header of a CAR file that has the single root `root`.
pub fn car_header(root: Cid) -> Vec<u8> {
    let header = CarHeader { roots: Some(vec![root]), version: 1 };
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
        let [root] = reader.finish()?[..] else { return Err(reader::malformed("it does not have exactly one root")) };
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

    /// Checks that a CAR file can be parsed in pieces of any length, and that a file or a section above its size limit
    /// is refused.
    #[test]
    fn files_are_parsed_in_pieces() {
        let car = dag().to_car();
        for step in [1, 7, 100, car.len()] {
            let (mut reader, mut blocks) = (CarReader::new(car.len()), Vec::new());
            for piece in car.chunks(step) {
                reader.push(piece, &mut blocks).unwrap();
                assert!(reader.buffered() <= 200);
            }
            assert_eq!((reader.finish(), blocks), (Ok(vec![dag().root]), dag().blocks));
        }
        let short = CarReader::new(car.len() - 1).push(&car, &mut Vec::new());
        assert!(short.unwrap_err().to_string().contains("longer"));
        let oversized = [car_header(dag().root), vec![0xff, 0xff, 0xff, 0x7f]].concat();
        let refused = CarReader::new(MAX_CAR_BYTES).push(&oversized, &mut Vec::new());
        assert!(refused.unwrap_err().to_string().contains("limit"));
    }

    /// Returns a CAR file of version 2. It consists of headers, padding, `inner` (the wrapped CAR file of version 1),
    /// and an index.
    fn version_2(inner: &[u8]) -> Vec<u8> {
        let (offset, size) = (51u64 + 7, inner.len() as u64);
        let head = [&b"\x0a\xa1\x67version\x02"[..], &[0; 16]].concat();
        let numbers = [offset, size, offset + size].map(u64::to_le_bytes).concat();
        [&head[..], &numbers, &[0; 7], inner, b"an index"].concat()
    }

    #[test]
    fn a_file_of_version_2_is_read_as_the_file_that_it_wraps() {
        let car = version_2(&dag().to_car());
        assert_eq!(Dag::from_car(&car), Ok(dag()));
        for step in [1, 7, 51] {
            let (mut reader, mut blocks) = (CarReader::new(car.len()), Vec::new());
            car.chunks(step).for_each(|piece| reader.push(piece, &mut blocks).unwrap());
            assert_eq!((reader.finish(), blocks), (Ok(vec![dag().root]), dag().blocks));
        }
        let end = car.len() - b"an index".len();
        assert!((0..end).all(|length| Dag::from_car(&car[..length]).is_err()));
        let twice = version_2(&car);
        assert!(Dag::from_car(&twice).is_err(), "version 2 inside version 2");
        let mut longer = car.clone();
        longer[35] += 1;
        assert!(Dag::from_car(&longer).is_err(), "the wrapped file ends within a section");
    }

    #[test]
    fn blocks_of_other_formats_are_refused_or_told_apart() {
        let section = |cid: Cid, bytes: &[u8]| {
            let mut car = Vec::new();
            section(&mut car, &[&cid.to_bytes(), bytes]);
            car
        };
        let sha256 = *Codec::Raw.cid(b"json").hash();
        let (json, identity, blake3) = (
            Cid::new_v1(0x0129, sha256),
            Cid::new_v1(0x55, multihash::Multihash::wrap(0, b"inline").unwrap()),
            Cid::new_v1(0x55, multihash::Multihash::wrap(0x1e, &[7; 32]).unwrap()),
        );
        let strict = |more: &[u8]| Dag::from_car(&[&dag().to_car(), more].concat());
        assert_eq!(strict(&section(json, b"json")), Err(StoreError::Codec(json)));
        assert_eq!(strict(&section(blake3, b"?")), Err(StoreError::Codec(blake3)));
        assert_eq!(strict(&section(identity, b"inline")), Ok(dag()));
        assert!(strict(&section(identity, b"other")).is_err());
        let car = [dag().to_car(), section(json, b"json"), section(blake3, b"?")].concat();
        let (mut reader, mut blocks) = (CarReader::new(car.len()).tolerant(), Vec::new());
        reader.push(&car, &mut blocks).unwrap();
        assert_eq!(reader.skipped(), [blake3]);
        assert_eq!(blocks.last().map(Block::cid), Some(Codec::Raw.cid(b"json")));
        let wrong = [dag().to_car(), section(json, b"jsom")].concat();
        assert!(CarReader::new(wrong.len()).tolerant().push(&wrong, &mut Vec::new()).is_err());
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
