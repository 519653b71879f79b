//! The parts of a block of data: the other blocks that a store must keep with it, because the object that the block
//! encodes is incomplete without them.

use super::{AdapterState, Artifact, ProtocolError};
use super::{adapter, artifact, task};
use crate::store::{Block, Cid, Codec, dag_cbor, links};

/// Returns the CIDs of the parts of a block: the other blocks without which the object in the block is incomplete.
///
/// In general, all blocks to which the block links are its parts. Some formats of this program also have links to
/// blocks that are not parts: an artifact links to its task, and a task links to its model, adapter and chunk.
/// Artifacts and tasks are complete without these blocks.
pub fn parts(block: &Block) -> Result<Vec<Cid>, ProtocolError> {
    let bytes = block.bytes();
    let format = if Codec::of(&block.cid())? == Codec::DagCbor { dag_cbor::format_of(bytes) } else { None };
    match format.as_deref() {
        Some(artifact::FORMAT) => Artifact::links(bytes),
        Some(adapter::FORMAT) => AdapterState::links(bytes),
        Some(task::FORMAT) => Ok(Vec::new()),
        _ => Ok(links(block)?),
    }
}
