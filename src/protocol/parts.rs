//! The parts of a block: the blocks that a store must keep with it so that the object is complete.

use super::{AdapterState, Artifact, WorkError};
use super::{adapter, artifact, task};
use crate::store::{Block, Cid, Codec, dag_cbor, links};

/// Returns the parts of a block.
///
/// These are all blocks that it links to, except in this program's own formats. An artifact also links to its task, and a task
/// to its model, adapter and chunk, but each is complete without them.
pub fn parts(block: &Block) -> Result<Vec<Cid>, WorkError> {
    let bytes = block.bytes();
    let format = if Codec::of(&block.cid())? == Codec::DagCbor { dag_cbor::format_of(bytes) } else { None };
    match format.as_deref() {
        Some(artifact::FORMAT) => Artifact::links(bytes),
        Some(adapter::FORMAT) => AdapterState::links(bytes),
        Some(task::FORMAT) => Ok(Vec::new()),
        _ => Ok(links(block)?),
    }
}
