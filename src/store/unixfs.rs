//! UnixFS, the IPFS format of files. A file is stored as a balanced tree of blocks: the leaves are raw blocks, and the
//! other nodes are dag-pb blocks. The layout is the one that Kubo uses with the option `--cid-version=1`.
//!
//! <https://specs.ipfs.tech/unixfs/>

mod read;
mod write;

pub use read::{FileReader, MAX_DEPTH};
pub use write::{FileBuilder, FileLayout, FilePart};

use prost::Message;

/// The code of the UnixFS type `File`. The nodes of a file's tree have this type.
const FILE: i32 = 2;
/// The code of the UnixFS type `Raw`. A node without links may have this type instead of `File`.
const RAW: i32 = 0;

/// The UnixFS message in the data field of a dag-pb node.
#[derive(Clone, PartialEq, Message)]
struct UnixFsData {
    #[prost(int32, required, tag = "1")]
    kind: i32,
    #[prost(bytes = "vec", optional, tag = "2")]
    data: Option<Vec<u8>>,
    /// How many bytes of the file are in the subtree whose root is this node.
    #[prost(uint64, optional, tag = "3")]
    file_bytes: Option<u64>,
    /// For each link of the node, in order: how many bytes of the file are in the linked subtree.
    #[prost(uint64, repeated, packed = "false", tag = "4")]
    part_bytes: Vec<u64>,
}
