//! CAR version 1: a DAG as one file. A header that names the root, then each block behind its length and its CID.
//!
//! <https://ipld.io/specs/transport/car/carv1/>

use super::{Block, Cid, Dag, StoreError};
use serde::{Deserialize, Serialize};
use unsigned_varint::{decode, encode};

/// Most bytes of a file that is read.
const MAX_CAR_BYTES: usize = 256 << 20;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    roots: Vec<Cid>,
    version: u64,
}

impl Dag {
    /// As one file.
    pub fn to_car(&self) -> Vec<u8> {
        let header = Header { roots: vec![self.root], version: 1 };
        let header = serde_ipld_dagcbor::to_vec(&header).expect("a list of CIDs and a number");
        let mut car = Vec::with_capacity(self.bytes() + 64 * (self.blocks.len() + 2));
        section(&mut car, &[&header]);
        for block in &self.blocks {
            section(&mut car, &[&block.cid().to_bytes(), block.bytes()]);
        }
        car
    }

    /// Reads a file with one root, which must be there; every block is checked against its CID.
    pub fn from_car(car: &[u8]) -> Result<Self, StoreError> {
        if car.len() > MAX_CAR_BYTES {
            return Err(StoreError::TooLarge { bytes: car.len() });
        }
        let mut rest = car;
        let header = take(&mut rest)?;
        let header: Header = serde_ipld_dagcbor::from_slice(header).map_err(malformed)?;
        let Header { roots, version: 1 } = header else { return Err(malformed("only version 1 is read")) };
        let [root] = roots[..] else { return Err(malformed("one root is read")) };
        let mut blocks = Vec::new();
        while !rest.is_empty() {
            let mut bytes = take(&mut rest)?;
            let cid = Cid::read_bytes(&mut bytes).map_err(malformed)?;
            blocks.push(Block::check(cid, bytes.to_vec())?);
        }
        if !blocks.iter().any(|block| block.cid() == root) {
            return Err(StoreError::Missing(root));
        }
        Ok(Self { root, blocks })
    }
}

fn section(car: &mut Vec<u8>, parts: &[&[u8]]) {
    let bytes: usize = parts.iter().map(|part| part.len()).sum();
    car.extend_from_slice(encode::usize(bytes, &mut encode::usize_buffer()));
    parts.iter().for_each(|part| car.extend_from_slice(part));
}

fn take<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], StoreError> {
    let (bytes, after) = decode::usize(rest).map_err(malformed)?;
    let (section, after) = after.split_at_checked(bytes).ok_or_else(|| malformed("it ends within a block"))?;
    *rest = after;
    Ok(section)
}

fn malformed(reason: impl ToString) -> StoreError {
    StoreError::Malformed { what: "CAR version 1", reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Codec, dag_cbor};

    fn dag() -> Dag {
        let leaves: Vec<_> = (0..3).map(|i| Block::new(Codec::Raw, vec![i; 70 * i as usize]).unwrap()).collect();
        let links: Vec<_> = leaves.iter().map(Block::cid).collect();
        Dag::new(dag_cbor::block("test", &links).unwrap(), leaves)
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(Dag::from_car(&dag().to_car()), Ok(dag()));
    }

    /// Header and frame, byte by byte.
    #[test]
    fn the_form_is_the_specified_one() {
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
            assert_ne!(Dag::from_car(&flipped), Ok(dag()), "bit {bit}");
        }
        for length in 0..car.len() {
            assert_ne!(Dag::from_car(&car[..length]), Ok(dag()), "{length} bytes");
        }
    }
}
