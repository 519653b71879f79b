//! The block: at most 1 MiB of bytes with the CID `CIDv1(codec, sha2-256(bytes))`.

use cid::{Cid, Version};
use multihash::Multihash;
use sha2::{Digest, Sha256};

/// The largest size of a block in bytes: the limit up to which IPFS nodes transfer blocks by default.
pub const MAX_BLOCK_BYTES: usize = 1 << 20;

/// The multihash code of sha2-256, the only hash accepted.
const SHA2_256: u64 = 0x12;

/// The format of a block's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Plain bytes (`raw`, 0x55).
    Raw,
    /// Canonical DAG-CBOR (`dag-cbor`, 0x71).
    DagCbor,
    /// Links and data in protobuf (`dag-pb`, 0x70), the format of UnixFS nodes.
    DagPb,
}

impl Codec {
    /// All supported codecs.
    pub const ALL: [Self; 3] = [Self::Raw, Self::DagCbor, Self::DagPb];

    /// Returns the multicodec number.
    pub const fn code(self) -> u64 {
        match self {
            Self::Raw => 0x55,
            Self::DagCbor => 0x71,
            Self::DagPb => 0x70,
        }
    }

    /// Returns the multicodec name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::DagCbor => "dag-cbor",
            Self::DagPb => "dag-pb",
        }
    }

    /// Returns the codec of a CID, or an error unless it is a CIDv1 of a supported codec with a sha2-256 hash.
    pub fn of(cid: &Cid) -> Result<Self, StoreError> {
        let codec = Self::ALL.into_iter().find(|codec| codec.code() == cid.codec());
        let sha = cid.version() == Version::V1 && cid.hash().code() == SHA2_256 && cid.hash().size() == 32;
        codec.filter(|_| sha).ok_or(StoreError::Codec(*cid))
    }

    /// Returns the CID of `bytes` in this codec.
    pub fn cid(self, bytes: &[u8]) -> Cid {
        self.named(&Sha256::digest(bytes).into())
    }

    /// Returns the CID, in this codec, of the bytes whose SHA-256 is `sha256`.
    pub fn named(self, sha256: &[u8; 32]) -> Cid {
        let hash = Multihash::wrap(SHA2_256, sha256).expect("32 bytes fit a 64-byte multihash");
        Cid::new_v1(self.code(), hash)
    }
}

/// The errors of blocks, and of values that are decoded from blocks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A block has too many bytes.
    #[error("a block has {bytes} bytes, which exceeds the limit of {MAX_BLOCK_BYTES}")]
    TooLarge {
        /// Size of the block.
        bytes: usize,
    },
    /// The bytes of a block do not have the hash in its CID.
    #[error("the bytes received for block {claimed} have the CID {found}")]
    Mismatch {
        /// CID that was requested or stated.
        claimed: Cid,
        /// CID of the bytes.
        found: Box<Cid>,
    },
    /// A CID is not of version 1 with a sha2-256 hash and the codec that the reader expects.
    #[error("{0} is not a CIDv1 with sha2-256 and the expected codec")]
    Codec(Cid),
    /// The block was not found.
    #[error("block {0} was not found")]
    Missing(Cid),
    /// A store failed to return the block.
    #[error("block {cid} could not be read: {reason}")]
    Unavailable {
        /// CID of the block.
        cid: Cid,
        /// Error message of the store.
        reason: Box<str>,
    },
    /// Bytes are not in the expected format.
    #[error("invalid {what}: {reason}")]
    Malformed {
        /// Name of the expected format.
        what: &'static str,
        /// Description of the problem.
        reason: String,
    },
    /// The leaves of a split value do not have the sizes that its length requires.
    #[error("a value of {expected} bytes cannot consist of {leaves} leaves, whose first ones have {found} bytes")]
    Length {
        /// Length of the value in bytes.
        expected: u64,
        /// Number of leaves.
        leaves: usize,
        /// Number of bytes in the leaves that were read before the error.
        found: u64,
    },
}

/// A function that returns the bytes of the block with a given CID. The bytes need not be trusted, because readers
/// check them against the CID.
pub type Fetch<'a> = &'a dyn Fn(&Cid) -> Result<Vec<u8>, StoreError>;

/// Bytes and their CID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    cid: Cid,
    bytes: Vec<u8>,
}

impl Block {
    /// Builds the block of `bytes` in a codec.
    pub fn new(codec: Codec, bytes: Vec<u8>) -> Result<Self, StoreError> {
        if bytes.len() > MAX_BLOCK_BYTES {
            return Err(StoreError::TooLarge { bytes: bytes.len() });
        }
        Ok(Self { cid: codec.cid(&bytes), bytes })
    }

    /// Builds a block from bytes that were received for `cid`. Returns an error if the bytes have another CID.
    pub fn check(cid: Cid, bytes: Vec<u8>) -> Result<Self, StoreError> {
        let block = Self::new(Codec::of(&cid)?, bytes)?;
        if block.cid == cid {
            Ok(block)
        } else {
            Err(StoreError::Mismatch { claimed: cid, found: Box::new(block.cid) })
        }
    }

    /// Fetches and checks the block `cid`, which must have the codec `codec`.
    pub fn fetch(codec: Codec, cid: &Cid, fetch: Fetch) -> Result<Self, StoreError> {
        if Codec::of(cid)? != codec {
            return Err(StoreError::Codec(*cid));
        }
        Self::check(*cid, fetch(cid)?)
    }

    /// Returns the block's CID.
    pub fn cid(&self) -> Cid {
        self.cid
    }

    /// Returns the block's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Consumes the block and returns its bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Converts a CID to version 1. Version 0, which begins with `Qm`, implies the codec dag-pb.
pub fn version_1(cid: Cid) -> Cid {
    match cid.version() {
        Version::V0 => Cid::new_v1(Codec::DagPb.code(), *cid.hash()),
        Version::V1 => cid,
    }
}

/// A root block and the blocks under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dag {
    /// CID of the root block.
    pub root: Cid,
    /// All blocks, each once, with the root last.
    pub blocks: Vec<Block>,
}

impl Dag {
    /// Builds a DAG from a root and its leaves. A leaf that occurs twice is kept once.
    pub(crate) fn new(root: Block, mut leaves: Vec<Block>) -> Self {
        leaves.sort_unstable_by_key(Block::cid);
        leaves.dedup_by_key(|leaf| leaf.cid);
        let cid = root.cid();
        leaves.push(root);
        Self { root: cid, blocks: leaves }
    }

    /// Returns the total size of all blocks in bytes.
    pub fn bytes(&self) -> usize {
        self.blocks.iter().map(|block| block.bytes.len()).sum()
    }

    /// Returns the CID of the root and, if there are leaves, the CID of one leaf that the root's hash selects.
    ///
    /// A client requests these blocks from a store to check that the store has kept the DAG.
    pub(crate) fn spot_check_cids(&self) -> impl Iterator<Item = Cid> {
        let leaves: Vec<Cid> =
            self.blocks.iter().map(Block::cid).filter(|cid| cid.codec() == Codec::Raw.code()).collect();
        let digest = self.root.hash().digest();
        let chosen = digest.iter().fold(0usize, |sum, byte| (sum << 8 | usize::from(*byte)) & 0xff_ffff);
        let leaf = chosen.checked_rem(leaves.len()).map(|chosen| leaves[chosen]);
        [Some(self.root), leaf].into_iter().flatten()
    }

    /// Returns the bytes of a block, as a [`Fetch`] does.
    pub fn get(&self, cid: &Cid) -> Result<Vec<u8>, StoreError> {
        let found = self.blocks.iter().find(|block| block.cid == *cid);
        found.map(|block| block.bytes.clone()).ok_or(StoreError::Missing(*cid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares CIDs with those that `ipfs block put` returns.
    #[test]
    fn cids_are_those_of_ipfs() {
        let raw = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";
        assert_eq!(Codec::Raw.cid(b"hello world").to_string(), raw);
        let empty_map = "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua";
        assert_eq!(Codec::DagCbor.cid(&[0xa0]).to_string(), empty_map);
    }

    #[test]
    fn altered_and_large_blocks_and_unsupported_cids_are_refused() {
        let block = Block::new(Codec::Raw, vec![7; 100]).unwrap();
        for bit in 0..800 {
            let mut bytes = block.bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(Block::check(block.cid(), bytes), Err(StoreError::Mismatch { .. })));
        }
        assert!(matches!(Block::new(Codec::Raw, vec![0; MAX_BLOCK_BYTES + 1]), Err(StoreError::TooLarge { .. })));
        let identity = Cid::new_v1(0x55, Multihash::wrap(0, b"abc").unwrap());
        assert_eq!(Block::check(identity, b"abc".to_vec()), Err(StoreError::Codec(identity)));
        let dag_json = Cid::new_v1(0x0129, *block.cid().hash());
        assert_eq!(Block::check(dag_json, block.bytes().to_vec()), Err(StoreError::Codec(dag_json)));
        let old = Cid::new_v0(*block.cid().hash()).unwrap();
        assert_eq!(Block::check(old, block.bytes().to_vec()), Err(StoreError::Codec(old)));
        assert_eq!(version_1(old), Codec::DagPb.cid(block.bytes()));
        let wrong = Block::fetch(Codec::DagCbor, &block.cid(), &|_| Ok(block.bytes().to_vec()));
        assert_eq!(wrong, Err(StoreError::Codec(block.cid())));
    }
}
