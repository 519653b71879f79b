//! Blocks: pieces of data of at most 1 MiB, each addressed by the CID `CIDv1(codec, sha2-256(bytes))`. Blocks of other
//! programs may have a CID of version 0, which contains the hash alone and stands for the codec `dag-pb`.

use cid::Cid;
use multihash::Multihash;
use sha2::{Digest, Sha256};

/// The largest size of a block, in bytes (1 MiB). By default, IPFS nodes transfer blocks up to this size.
pub const MAX_BLOCK_BYTES: usize = 1 << 20;

/// The multihash code of SHA-256, the only hash function that is accepted in the CID of a block.
const SHA2_256: u64 = 0x12;
/// The multihash code of the identity function. A CID with this code contains the data itself instead of its hash.
const IDENTITY: u64 = 0;

/// The format in which the bytes of a block are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Bytes without any structure (multicodec `raw`, 0x55).
    Raw,
    /// Canonical DAG-CBOR (multicodec `dag-cbor`, 0x71).
    DagCbor,
    /// Links and data, encoded in protobuf (multicodec `dag-pb`, 0x70). Files in the IPFS format UnixFS consist of such
    /// blocks.
    DagPb,
}

impl Codec {
    /// All codecs that are supported.
    pub const ALL: [Self; 3] = [Self::Raw, Self::DagCbor, Self::DagPb];

    /// Returns the multicodec number of the codec, such as 0x55 for `raw`.
    pub const fn code(self) -> u64 {
        match self {
            Self::Raw => 0x55,
            Self::DagCbor => 0x71,
            Self::DagPb => 0x70,
        }
    }

    /// Returns the multicodec name of the codec, such as `raw`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::DagCbor => "dag-cbor",
            Self::DagPb => "dag-pb",
        }
    }

    /// Returns the codec of the block that a CID identifies. Fails if the codec is not supported, or if the hash of the
    /// CID is not SHA-256.
    pub fn of(cid: &Cid) -> Result<Self, StoreError> {
        Self::stated(cid).filter(|_| is_sha256(cid)).ok_or(StoreError::Codec(*cid))
    }

    /// Returns the codec that a CID states, even if the hash in the CID is not SHA-256. Returns `None` if the codec is
    /// not supported.
    pub fn stated(cid: &Cid) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.code() == cid.codec())
    }

    /// Returns the CID of a block that consists of `bytes` in this codec.
    pub fn cid(self, bytes: &[u8]) -> Cid {
        self.named(&Sha256::digest(bytes).into())
    }

    /// Returns the CID of a block in this codec, given the SHA-256 hash of the block's bytes.
    pub fn named(self, sha256: &[u8; 32]) -> Cid {
        let hash = Multihash::wrap(SHA2_256, sha256).expect("32 bytes fit a 64-byte multihash");
        Cid::new_v1(self.code(), hash)
    }
}

/// Error returned when a block cannot be built, fetched or decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A block has more than [`MAX_BLOCK_BYTES`] bytes.
    #[error("a block has {bytes} bytes, which exceeds the limit of {MAX_BLOCK_BYTES} bytes")]
    TooLarge {
        /// The size of the block that was refused, in bytes.
        bytes: usize,
    },
    /// The bytes that were received for a block do not have the hash that the block's CID states.
    #[error("the bytes received for block {claimed} have the CID {found}")]
    Mismatch {
        /// The CID that the received bytes should have.
        claimed: Cid,
        /// The CID that the received bytes do have.
        found: Box<Cid>,
    },
    /// A CID was refused, because its hash is not SHA-256, or its codec is not the expected one.
    #[error("CID {0} is refused: it must have a SHA-256 hash and the expected codec")]
    Codec(Cid),
    /// No block with this CID was found.
    #[error("block {0} was not found")]
    Missing(Cid),
    /// A block store reported an error when a block was requested from it.
    #[error("block {cid} could not be read: {reason}")]
    Unavailable {
        /// The CID of the requested block.
        cid: Cid,
        /// The error message of the block store.
        reason: Box<str>,
    },
    /// Bytes or parameters do not have the expected format.
    #[error("invalid {what}: {reason}")]
    Malformed {
        /// The name of the expected format, such as `dag-pb`.
        what: &'static str,
        /// What is wrong with the bytes or parameters.
        reason: String,
    },
    /// The leaves (blocks) into which a value was split do not fit the length of the value: there are too many or too
    /// few leaves, or a leaf has the wrong size.
    #[error(
        "{leaves} leaves do not form a value of {expected} bytes: their number or one of their sizes is wrong (noticed \
         after {found} bytes)"
    )]
    Length {
        /// The length of the whole value, in bytes.
        expected: u64,
        /// The number of leaves that were given for the value.
        leaves: usize,
        /// The number of bytes that had been read from the leaves when the wrong number or size was found.
        found: u64,
    },
}

/// A function that returns the bytes of a block, given the block's CID. It need not be trusted: the code that calls it
/// checks the bytes against the CID.
pub type Fetch<'a> = &'a dyn Fn(&Cid) -> Result<Vec<u8>, StoreError>;

/// A block of data: at most 1 MiB of bytes, and the CID that follows from these bytes and their codec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    cid: Cid,
    bytes: Vec<u8>,
}

impl Block {
    /// Builds a block from its bytes and their codec. Fails if there are more than [`MAX_BLOCK_BYTES`] bytes.
    pub fn new(codec: Codec, bytes: Vec<u8>) -> Result<Self, StoreError> {
        if bytes.len() > MAX_BLOCK_BYTES {
            return Err(StoreError::TooLarge { bytes: bytes.len() });
        }
        Ok(Self { cid: codec.cid(&bytes), bytes })
    }

    /// Builds a block from bytes that were received for the CID `cid`. Fails if the bytes have a different CID.
    pub fn check(cid: Cid, bytes: Vec<u8>) -> Result<Self, StoreError> {
        let block = Self::new(Codec::of(&cid)?, bytes)?;
        if block.cid.hash() == cid.hash() {
            Ok(Self { cid, ..block })
        } else {
            Err(StoreError::Mismatch { claimed: cid, found: Box::new(block.cid) })
        }
    }

    /// Fetches the block with the CID `cid`. Fails if the CID states a codec other than `codec`, or if the fetched
    /// bytes have a different CID.
    pub fn fetch(codec: Codec, cid: &Cid, fetch: Fetch) -> Result<Self, StoreError> {
        if Codec::of(cid)? != codec {
            return Err(StoreError::Codec(*cid));
        }
        Self::check(*cid, fetch(cid)?)
    }

    /// Converts the CID of the block to version 0 if the codec of the block is `dag-pb`. Otherwise, returns the block
    /// unchanged, because a CID of version 0 states no codec and always stands for `dag-pb`.
    pub fn with_version_0(self) -> Self {
        match Cid::new_v0(*self.cid.hash()) {
            Ok(cid) if self.cid.codec() == Codec::DagPb.code() => Self { cid, ..self },
            _ => self,
        }
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

/// Returns the data that a CID contains instead of a hash (an *identity CID*), or `None` if the CID contains a hash.
pub fn inline_bytes(cid: &Cid) -> Option<&[u8]> {
    (cid.hash().code() == IDENTITY).then(|| cid.hash().digest())
}

/// Returns whether the hash in a CID is a SHA-256 hash.
pub(super) fn is_sha256(cid: &Cid) -> bool {
    cid.hash().code() == SHA2_256 && cid.hash().size() == 32
}

/// A directed acyclic graph (DAG) of blocks: a root block, and all blocks to which it links directly or through other
/// blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dag {
    /// The CID of the root block, which identifies the whole DAG.
    pub root: Cid,
    /// All blocks of the DAG, including the root. In a DAG that this program has built, each block occurs once, and the
    /// root is the last one. A DAG that was read from a CAR file has the blocks in the order of the file.
    pub blocks: Vec<Block>,
}

impl Dag {
    /// Builds a DAG from its root block and all other blocks, which are passed as `leaves`. If one of them occurs
    /// several times, the DAG contains it only once.
    pub(crate) fn new(root: Block, mut leaves: Vec<Block>) -> Self {
        leaves.sort_unstable_by_key(Block::cid);
        leaves.dedup_by_key(|leaf| leaf.cid);
        let cid = root.cid();
        leaves.push(root);
        Self { root: cid, blocks: leaves }
    }

    /// Returns the sum of the sizes of all blocks, in bytes.
    pub fn bytes(&self) -> usize {
        self.blocks.iter().map(|block| block.bytes.len()).sum()
    }

    /// Returns the CIDs of the blocks with which a client checks that a block store has kept this DAG: the root and, if
    /// the DAG has raw blocks, one raw block that the root's hash selects.
    ///
    /// The client requests these blocks from the store.
    pub(crate) fn spot_check_cids(&self) -> impl Iterator<Item = Cid> {
        let leaves: Vec<Cid> =
            self.blocks.iter().map(Block::cid).filter(|cid| cid.codec() == Codec::Raw.code()).collect();
        let digest = self.root.hash().digest();
        let chosen = digest.iter().fold(0usize, |sum, byte| (sum << 8 | usize::from(*byte)) & 0xff_ffff);
        let leaf = chosen.checked_rem(leaves.len()).map(|chosen| leaves[chosen]);
        [Some(self.root), leaf].into_iter().flatten()
    }

    /// Returns the bytes of the block with the CID `cid`. Fails if the DAG does not contain this block. The method can
    /// be used as a [`Fetch`] function.
    pub fn get(&self, cid: &Cid) -> Result<Vec<u8>, StoreError> {
        let found = self.blocks.iter().find(|block| block.cid == *cid);
        found.map(|block| block.bytes.clone()).ok_or(StoreError::Missing(*cid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that the CIDs of two example blocks are the ones that `ipfs block put` returns.
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
        assert_eq!(Block::check(old, block.bytes().to_vec()).unwrap().cid(), old);
        let node = Block::new(Codec::DagPb, block.bytes().to_vec()).unwrap();
        assert_eq!(node.with_version_0().cid(), old);
        assert_eq!(inline_bytes(&identity), Some(&b"abc"[..]));
        assert_eq!(inline_bytes(&old), None);
        let wrong = Block::fetch(Codec::DagCbor, &block.cid(), &|_| Ok(block.bytes().to_vec()));
        assert_eq!(wrong, Err(StoreError::Codec(block.cid())));
    }
}
