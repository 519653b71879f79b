//! A block is at most 1 MiB of bytes under the CID `CIDv1(codec, sha2-256(bytes))`.

use cid::{Cid, Version};
use multihash::Multihash;
use sha2::{Digest, Sha256};

/// Largest block: what IPFS nodes pass on without being asked to make an exception.
pub const MAX_BLOCK_BYTES: usize = 1 << 20;

/// The multihash code of sha2-256, the only hash accepted.
const SHA2_256: u64 = 0x12;

/// What a block's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Plain bytes (`raw`, 0x55).
    Raw,
    /// Canonical DAG-CBOR (`dag-cbor`, 0x71).
    DagCbor,
    /// Links and data in protobuf (`dag-pb`, 0x70), what UnixFS is made of.
    DagPb,
}

impl Codec {
    /// All that are kept.
    pub const ALL: [Self; 3] = [Self::Raw, Self::DagCbor, Self::DagPb];

    /// Its multicodec number.
    pub const fn code(self) -> u64 {
        match self {
            Self::Raw => 0x55,
            Self::DagCbor => 0x71,
            Self::DagPb => 0x70,
        }
    }

    /// Its multicodec name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::DagCbor => "dag-cbor",
            Self::DagPb => "dag-pb",
        }
    }

    /// That of a CIDv1 with sha2-256; other CIDs name no block here.
    pub fn of(cid: &Cid) -> Result<Self, StoreError> {
        let codec = Self::ALL.into_iter().find(|codec| codec.code() == cid.codec());
        let sha = cid.version() == Version::V1 && cid.hash().code() == SHA2_256 && cid.hash().size() == 32;
        codec.filter(|_| sha).ok_or(StoreError::Codec(*cid))
    }

    /// The CID of `bytes` read as this codec.
    pub fn cid(self, bytes: &[u8]) -> Cid {
        self.named(&Sha256::digest(bytes).into())
    }

    /// The CID of bytes that have this SHA-256.
    pub fn named(self, sha256: &[u8; 32]) -> Cid {
        let hash = Multihash::wrap(SHA2_256, sha256).expect("32 bytes fit a 64-byte multihash");
        Cid::new_v1(self.code(), hash)
    }
}

/// What can be wrong with blocks and the values made of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// More bytes than a block may have.
    #[error("a block of {bytes} bytes exceeds the limit of {MAX_BLOCK_BYTES}")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// The bytes hash to another CID.
    #[error("the bytes given for {claimed} are those of {found}")]
    Mismatch {
        /// The name they came under.
        claimed: Cid,
        /// The name they have.
        found: Box<Cid>,
    },
    /// A CID that is not v1, sha2-256, and of a codec that the place demands.
    #[error("{0} is not a CIDv1 of the codec and hash expected here")]
    Codec(Cid),
    /// No store has the block.
    #[error("block {0} is not there")]
    Missing(Cid),
    /// A store failed to answer.
    #[error("block {cid} could not be read: {reason}")]
    Unavailable {
        /// The block asked for.
        cid: Cid,
        /// What the store said.
        reason: Box<str>,
    },
    /// Bytes that are not canonical DAG-CBOR of the expected form.
    #[error("not a canonical {what}: {reason}")]
    Malformed {
        /// The form expected.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A split value whose leaves do not add up to its length.
    #[error("a value of {expected} bytes cannot be {leaves} leaves with {found} bytes")]
    Length {
        /// Bytes demanded.
        expected: u64,
        /// Leaves given.
        leaves: usize,
        /// Bytes found.
        found: u64,
    },
}

/// Asks a store for a block's bytes. What it returns need not be trusted: readers check it.
pub type Fetch<'a> = &'a dyn Fn(&Cid) -> Result<Vec<u8>, StoreError>;

/// Bytes and the CID that they hash to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    cid: Cid,
    bytes: Vec<u8>,
}

impl Block {
    /// Names `bytes`.
    pub fn new(codec: Codec, bytes: Vec<u8>) -> Result<Self, StoreError> {
        if bytes.len() > MAX_BLOCK_BYTES {
            return Err(StoreError::TooLarge { bytes: bytes.len() });
        }
        Ok(Self { cid: codec.cid(&bytes), bytes })
    }

    /// Checks `bytes` that came under the name `cid`.
    pub fn check(cid: Cid, bytes: Vec<u8>) -> Result<Self, StoreError> {
        let block = Self::new(Codec::of(&cid)?, bytes)?;
        if block.cid == cid {
            Ok(block)
        } else {
            Err(StoreError::Mismatch { claimed: cid, found: Box::new(block.cid) })
        }
    }

    /// Gets and checks the block `cid`, which must be of `codec`.
    pub fn fetch(codec: Codec, cid: &Cid, fetch: Fetch) -> Result<Self, StoreError> {
        if Codec::of(cid)? != codec {
            return Err(StoreError::Codec(*cid));
        }
        Self::check(*cid, fetch(cid)?)
    }

    /// Its name.
    pub fn cid(&self) -> Cid {
        self.cid
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its bytes, owned.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// A CID in version 1: version 0, which begins with `Qm`, is the same for dag-pb alone.
pub fn version_1(cid: Cid) -> Cid {
    match cid.version() {
        Version::V0 => Cid::new_v1(Codec::DagPb.code(), *cid.hash()),
        Version::V1 => cid,
    }
}

/// A root block and every block that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dag {
    /// The root's CID.
    pub root: Cid,
    /// All blocks, each once, the root last.
    pub blocks: Vec<Block>,
}

impl Dag {
    /// A root over `leaves`; a leaf that occurs twice is kept once.
    pub(crate) fn new(root: Block, mut leaves: Vec<Block>) -> Self {
        leaves.sort_unstable_by_key(Block::cid);
        leaves.dedup_by_key(|leaf| leaf.cid);
        let cid = root.cid();
        leaves.push(root);
        Self { root: cid, blocks: leaves }
    }

    /// Bytes of all blocks.
    pub fn bytes(&self) -> usize {
        self.blocks.iter().map(|block| block.bytes.len()).sum()
    }

    /// The root, and a leaf that the root's hash chooses, so that it is not always the same one: what a store is asked
    /// for again before it counts as one that keeps.
    pub(crate) fn spot_check_cids(&self) -> impl Iterator<Item = Cid> {
        let leaves: Vec<Cid> =
            self.blocks.iter().map(Block::cid).filter(|cid| cid.codec() == Codec::Raw.code()).collect();
        let digest = self.root.hash().digest();
        let chosen = digest.iter().fold(0usize, |sum, byte| (sum << 8 | usize::from(*byte)) & 0xff_ffff);
        let leaf = chosen.checked_rem(leaves.len()).map(|chosen| leaves[chosen]);
        [Some(self.root), leaf].into_iter().flatten()
    }

    /// Serves as a [`Fetch`].
    pub fn get(&self, cid: &Cid) -> Result<Vec<u8>, StoreError> {
        let found = self.blocks.iter().find(|block| block.cid == *cid);
        found.map(|block| block.bytes.clone()).ok_or(StoreError::Missing(*cid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ipfs block put` names these bytes so.
    #[test]
    fn known_cids() {
        let raw = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";
        assert_eq!(Codec::Raw.cid(b"hello world").to_string(), raw);
        let empty_map = "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua";
        assert_eq!(Codec::DagCbor.cid(&[0xa0]).to_string(), empty_map);
    }

    #[test]
    fn tampered_large_and_foreign_blocks_are_refused() {
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
