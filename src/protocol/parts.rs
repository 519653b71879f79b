//! The parts of a block: those blocks without which a store that keeps it keeps nothing whole.

use super::{AdapterState, Artifact, WorkError};
use super::{adapter, artifact, task};
use crate::store::{Block, Cid, Codec, dag_cbor, links};

/// All that a block links to, but for our own forms: an artifact names its task and a task its job's model, its adapter
/// and its chunk, and each is whole without those.
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
