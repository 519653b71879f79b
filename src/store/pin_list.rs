//! The pin list: a block that lists the blocks of a DAG as raw blocks, so that a pin of the list keeps exactly these blocks and
//! follows no link in them.
//!
//! An artifact links to its task, and the task to its model, so a recursive pin of the artifact would include both. A store
//! identifies blocks by their hash, so the CID of a block with the codec `raw` finds it as well as its own CID.

use super::{Block, Cid, Codec, Dag, StoreError, dag_cbor};

const FORMAT: &str = "r3mes/pin_list/1";

impl Dag {
    /// Returns the pin list of all blocks.
    pub fn pin_list(&self) -> Result<Block, StoreError> {
        let raw = |block: &Block| Cid::new_v1(Codec::Raw.code(), *block.cid().hash());
        dag_cbor::block(FORMAT, &self.blocks.iter().map(raw).collect::<Vec<_>>())
    }
}
