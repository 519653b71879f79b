//! UnixFS: a file as a balanced tree of dag-pb nodes over raw leaves, as Kubo builds it for `--cid-version=1`.
//!
//! <https://specs.ipfs.tech/unixfs/>

mod read;
mod write;

pub use read::{FileReader, MAX_DEPTH};
pub use write::{FileBuilder, FileLayout, FilePart};

use prost::Message;

/// The kinds of nodes that hold a file's bytes.
const FILE: i32 = 2;
const RAW: i32 = 0;

/// What a node's data says.
#[derive(Clone, PartialEq, Message)]
struct UnixFsData {
    #[prost(int32, required, tag = "1")]
    kind: i32,
    #[prost(bytes = "vec", optional, tag = "2")]
    data: Option<Vec<u8>>,
    /// Of the file under this node.
    #[prost(uint64, optional, tag = "3")]
    bytes: Option<u64>,
    /// Of the file under each link.
    #[prost(uint64, repeated, packed = "false", tag = "4")]
    parts: Vec<u64>,
}
