//! UnixFS: files as balanced trees of dag-pb nodes over raw leaves, in the layout of Kubo with `--cid-version=1`.
//!
//! <https://specs.ipfs.tech/unixfs/>

mod read;
mod write;

pub use read::{FileReader, MAX_DEPTH};
pub use write::{FileBuilder, FileLayout, FilePart};

use prost::Message;

/// The UnixFS types of nodes that contain a file's bytes.
const FILE: i32 = 2;
const RAW: i32 = 0;

/// The UnixFS data of a dag-pb node.
#[derive(Clone, PartialEq, Message)]
struct UnixFsData {
    #[prost(int32, required, tag = "1")]
    kind: i32,
    #[prost(bytes = "vec", optional, tag = "2")]
    data: Option<Vec<u8>>,
    /// Number of the file's bytes under this node.
    #[prost(uint64, optional, tag = "3")]
    file_bytes: Option<u64>,
    /// Number of the file's bytes under each link.
    #[prost(uint64, repeated, packed = "false", tag = "4")]
    part_bytes: Vec<u64>,
}
