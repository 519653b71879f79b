//! dag-pb: a node is links, then data, in protobuf.
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
    /// Bytes of all blocks under it.
    #[prost(uint64, optional, tag = "3")]
    size: Option<u64>,
}

impl PbLink {
    /// A link without a name, as files have them.
    pub(super) fn new(cid: &Cid, size: u64) -> Self {
        Self { hash: Some(cid.to_bytes()), name: Some(String::new()), size: Some(size) }
    }

    /// Where it leads, in version 1.
    pub(super) fn cid(&self) -> Result<Cid, StoreError> {
        let hash = self.hash.as_deref().ok_or_else(|| malformed("a link without a CID"))?;
        Cid::try_from(hash).map(version_1).map_err(malformed)
    }
}

/// A node.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PbNode {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub(super) data: Option<Vec<u8>>,
    #[prost(message, repeated, tag = "2")]
    pub(super) links: Vec<PbLink>,
}

impl PbNode {
    /// Reads the bytes of a node.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, StoreError> {
        Self::decode(bytes).map_err(malformed)
    }

    /// The canonical bytes, where links come before data although their number is the higher.
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
