//! The parts of a block: the blocks that a store must keep with it, so that the object encoded in the block is
//! complete.

use super::{AdapterState, Artifact, ProtocolError};
use super::{adapter, artifact, task};
use crate::store::{Block, Cid, Codec, dag_cbor, links};

/// Returns the parts of a block.
///
/// In general these are all blocks that the block links to. Some formats of this program have links that are not parts:
/// an artifact links to its task, and a task to its model, adapter and chunk, but artifact and task are complete
/// without them.
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
