//! dag-pb, a block format of IPFS that is based on protobuf. A block of this format is a *node*, which consists of
//! data and of links to other blocks.
//!
//! <https://ipld.io/specs/codecs/dag-pb/spec/>

use super::{Block, Cid, Codec, StoreError};
use prost::Message;

/// A link from a dag-pb node to another block.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PbLink {
    #[prost(bytes = "vec", optional, tag = "1")]
    hash: Option<Vec<u8>>,
    #[prost(string, optional, tag = "2")]
    name: Option<String>,
    /// The total size of the linked block and all blocks below it, in bytes.
    #[prost(uint64, optional, tag = "3")]
    size: Option<u64>,
}

impl PbLink {
    /// Returns a link with an empty name, like all links in the tree of a UnixFS file. `size` is the total size of the
    /// linked block and all blocks below it, in bytes.
    pub(super) fn new(cid: &Cid, size: u64) -> Self {
        Self { hash: Some(cid.to_bytes()), name: Some(String::new()), size: Some(size) }
    }

    /// Returns the CID of the linked block.
    pub(super) fn cid(&self) -> Result<Cid, StoreError> {
        let hash = self.hash.as_deref().ok_or_else(|| malformed("a link has no CID"))?;
        Cid::try_from(hash).map_err(malformed)
    }
}

/// A dag-pb node, which is the content of one block: its data, and its links to other blocks.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PbNode {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub(super) data: Option<Vec<u8>>,
    #[prost(message, repeated, tag = "2")]
    pub(super) links: Vec<PbLink>,
}

impl PbNode {
    /// Decodes a node. The encoding need not be canonical.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, StoreError> {
        Self::decode(bytes).map_err(malformed)
    }

    /// Encodes the node in canonical form, and returns it as a block. In this form, the links precede the data although
    /// the links have the higher field number.
    pub(super) fn block(self) -> Result<Block, StoreError> {
        let links = Self { data: None, links: self.links };
        let mut bytes = links.encode_to_vec();
        bytes.extend(Self { data: self.data, links: Vec::new() }.encode_to_vec());
        Block::new(Codec::DagPb, bytes)
    }
}

pub(super) fn malformed(reason: impl ToString) -> StoreError {
    StoreError::Malformed { what: "dag-pb", reason: reason.to_string() }
}
