//! The pin list: a block that lists the blocks of a DAG as raw blocks, so that a pin of the list keeps exactly these
//! blocks and follows no link in them.
//!
//! An artifact links to its task, and the task to its model, so a recursive pin of the artifact would include both. A
//! store identifies blocks by their hash, so it finds a block both under the block's own CID and under the CID with the
//! same hash and the codec `raw`.

use super::{Block, Cid, Codec, Dag, StoreError, dag_cbor};

const FORMAT: &str = "r3mes/pin_list/1";

impl Dag {
    /// Returns the pin list of all blocks of this DAG.
    pub fn pin_list(&self) -> Result<Block, StoreError> {
        let raw = |block: &Block| Cid::new_v1(Codec::Raw.code(), *block.cid().hash());
        dag_cbor::block(FORMAT, &self.blocks.iter().map(raw).collect::<Vec<_>>())
    }
}
