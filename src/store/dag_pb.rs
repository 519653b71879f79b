//! dag-pb: nodes that consist of links and data, encoded in protobuf.
//!
//! <https://ipld.io/specs/codecs/dag-pb/spec/>

use super::{Block, Cid, Codec, StoreError, version_1};
use prost::Message;

/// A link to another node.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PbLink {
    #[prost(bytes = "vec", optional, tag = "1")]
    hash: Option<Vec<u8>>,
    #[prost(string, optional, tag = "2")]
    name: Option<String>,
    /// Total size of the blocks under the link, in bytes.
    #[prost(uint64, optional, tag = "3")]
    size: Option<u64>,
}

impl PbLink {
    /// Returns a link without a name, as the nodes of files have. `size` is the total size of the blocks under the
    /// link.
    pub(super) fn new(cid: &Cid, size: u64) -> Self {
        Self { hash: Some(cid.to_bytes()), name: Some(String::new()), size: Some(size) }
    }

    /// Returns the CID of the linked node, in version 1.
    pub(super) fn cid(&self) -> Result<Cid, StoreError> {
        let hash = self.hash.as_deref().ok_or_else(|| malformed("a link has no CID"))?;
        Cid::try_from(hash).map(version_1).map_err(malformed)
    }
}

/// A dag-pb node: its data and its links to other nodes.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PbNode {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub(super) data: Option<Vec<u8>>,
    #[prost(message, repeated, tag = "2")]
    pub(super) links: Vec<PbLink>,
}

impl PbNode {
    /// Decodes a node, in canonical form or not.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, StoreError> {
        Self::decode(bytes).map_err(malformed)
    }

    /// Returns the node as a block of canonical bytes, in which links precede data although their field number is
    /// higher.
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
